//! Reads frames off a stream into a buffer that grows only as bytes arrive.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::error::Error;
use crate::wire::WireError;
use crate::wire::frame::{self, Frame};

/// Room made for a read when there is less than a quarter of it left.
const READ_BYTES: usize = 64 * 1024;

/// Frames of one stream. `next` may be dropped at any await without losing bytes.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    body_bytes_max: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(stream: R, body_bytes_max: usize) -> Self {
        Self { stream, buffer: BytesMut::new(), body_bytes_max }
    }

    /// Raises the cap, once the other side is known.
    pub(crate) fn set_body_bytes_max(&mut self, body_bytes_max: usize) {
        self.body_bytes_max = body_bytes_max;
    }

    /// Bytes held at the moment.
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// The next frame that is already here, without waiting.
    pub(crate) fn take_buffered(&mut self) -> Result<Option<Frame>, WireError> {
        frame::take_frame(&mut self.buffer, self.body_bytes_max)
    }

    /// Waits for more bytes and says how many came.
    ///
    /// # Errors
    /// The stream broke, ended ([`Error::Closed`]) or ended inside a frame.
    pub(crate) async fn fill(&mut self) -> Result<usize, Error> {
        let missing = frame::missing_bytes(&self.buffer, self.body_bytes_max)?;
        self.reserve(missing);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) if self.buffer.is_empty() => Err(Error::Closed),
            Ok(0) => Err(WireError::Truncated { bytes: self.buffer.len() as u64 }.into()),
            Ok(bytes) => Ok(bytes),
            Err(source) if source.kind() == io::ErrorKind::ConnectionReset => Err(Error::Closed),
            Err(source) => Err(Error::io("read", source)),
        }
    }

    /// The next frame.
    ///
    /// # Errors
    /// As [`Self::fill`], and whatever is wrong with the frame.
    pub(crate) async fn next(&mut self) -> Result<Frame, Error> {
        loop {
            if let Some(frame) = self.take_buffered()? {
                return Ok(frame);
            }
            self.fill().await?;
        }
    }

    /// A claimed length never allocates more than has already arrived: the buffer at most doubles.
    fn reserve(&mut self, missing: usize) {
        let spare = self.buffer.capacity() - self.buffer.len();
        let wanted = missing.min(self.buffer.len());
        if spare < wanted.max(READ_BYTES / 4) {
            self.buffer.reserve(wanted.max(READ_BYTES));
        }
    }
}
