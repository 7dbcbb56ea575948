//! Writes frames to a stream, many to a write.

use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::error::{Error, Result};
use crate::wire::frame::{FrameKind, write_frame};

/// About how many bytes one write carries; larger frames go alone.
pub(crate) const WRITE_BYTES: usize = 256 * 1024;

/// A buffer that grew above this for a large frame is given back.
const BUFFER_BYTES_MAX: usize = 1 << 20;

const _: () = assert!(WRITE_BYTES <= BUFFER_BYTES_MAX);

/// Frames on their way to one stream.
#[derive(Debug)]
pub(crate) struct FrameWriter<W> {
    stream: W,
    buffer: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(crate) fn new(stream: W) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Adds a frame to the next write; `body` appends its body.
    pub(crate) fn push(&mut self, kind: FrameKind, body: impl FnOnce(&mut Vec<u8>)) {
        write_frame(&mut self.buffer, kind, body);
    }

    /// Writes everything that was pushed, in one go, and says how many bytes that was. Dropped before its
    /// end, the stream may be left inside a frame: it must not be used any more.
    pub(crate) async fn write(&mut self) -> Result<usize> {
        let fail = |source| Error::io("write", source);
        self.stream.write_all(&self.buffer).await.map_err(fail)?;
        self.stream.flush().await.map_err(fail)?;
        let bytes = self.buffer.len();
        self.buffer.clear();
        if self.buffer.capacity() > BUFFER_BYTES_MAX {
            self.buffer = Vec::new();
        }
        Ok(bytes)
    }

    /// The stream itself, for tests that write what is no frame.
    pub(crate) fn into_stream(self) -> W {
        self.stream
    }

    /// Tells the other side that nothing more comes.
    pub(crate) async fn close(&mut self) -> Result<()> {
        self.stream.shutdown().await.map_err(|source| Error::io("close", source))
    }
}
