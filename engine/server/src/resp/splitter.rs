//! Cuts the bytes of a connection into requests: flat arrays of bulk strings, and inline lines.
//!
//! Not recursive, and incremental: what was scanned once is not scanned again, however the bytes arrive. Counts
//! and lengths are checked against [`Limits`] before memory is taken for them. Arguments are slices of the
//! read buffer. Stricter than Redis in one point: every line and every bulk string must end in CRLF.
//!
//! The texts of [`ProtocolError`] are those of Redis, where Redis has one.

use std::mem;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::inline::{self, UnbalancedQuotes};
use super::limits::Limits;

/// What a client may send that has not given the password yet, as in Redis.
const STRANGER_ELEMENTS_MAX: usize = 10;
const STRANGER_BULK_BYTES_MAX: usize = 16 * 1024;

/// A begun request of no more bytes than this is moved to memory of its size while its rest is waited for.
const WAITING_BYTES_SMALL: usize = 1024;

/// How many arguments memory is set aside for before they have arrived.
const ARGUMENTS_EXPECTED_MAX: usize = 16;

/// One request: the command's name and its arguments, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The name, then the arguments.
    pub args: Vec<Bytes>,
    /// Bytes it took on the wire.
    pub bytes: usize,
}

/// The client does not speak the protocol, or is over a limit. The connection ends after the error is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// `*` is followed by something that is no number, or by more than the limit.
    #[error("Protocol error: invalid multibulk length")]
    MultibulkLength,
    /// The line after `*` does not end.
    #[error("Protocol error: too big mbulk count string")]
    MultibulkLine,
    /// `$` is followed by something that is no length, or by more than the limit.
    #[error("Protocol error: invalid bulk length")]
    BulkLength,
    /// The line after `$` does not end.
    #[error("Protocol error: too big bulk count string")]
    BulkLine,
    /// An array holds something else than bulk strings.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.found).escape_default())]
    BulkExpected {
        /// The byte that is there instead.
        found: u8,
    },
    /// A bulk string is longer than announced.
    #[error("Protocol error: expected CRLF after bulk string")]
    BulkEnd,
    /// An inline line does not end.
    #[error("Protocol error: too big inline request")]
    InlineLine,
    /// Quotes of an inline line do not match.
    #[error("Protocol error: unbalanced quotes in request")]
    InlineQuotes,
    /// An array of more elements than a client may send before it has given the password.
    #[error("Protocol error: unauthenticated multibulk length")]
    StrangerMultibulkLength,
    /// A bulk string of more bytes than a client may send before it has given the password.
    #[error("Protocol error: unauthenticated bulk length")]
    StrangerBulkLength,
    /// The request as a whole is over the limit.
    #[error("Protocol error: too big request")]
    RequestBytes,
}

impl From<UnbalancedQuotes> for ProtocolError {
    fn from(_: UnbalancedQuotes) -> Self {
        Self::InlineQuotes
    }
}

/// What stands at the scan position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// The first byte of a request.
    Request,
    /// `$` and a length.
    BulkHeader,
    /// So many bytes and a CRLF.
    BulkBody { bytes: usize },
}

/// Holds the bytes that were received and not yet cut into requests.
///
/// The buffer always begins at the first byte of a request. Invariant: `line_scanned <= buffer.len()` and
/// `position <= buffer.len()`.
#[derive(Debug)]
pub struct Splitter {
    limits: Limits,
    /// Whether only small requests are taken.
    is_stranger: bool,
    /// Whether `buffer` has no more memory than it needs; told anew with every `shrink`.
    is_compact: bool,
    buffer: BytesMut,
    expect: Expect,
    /// Where the next thing expected begins.
    position: usize,
    /// Up to where the line at `position` was searched for its end.
    line_scanned: usize,
    /// Elements of the current array that are still to come.
    remaining: usize,
    /// Elements that have come, as places in the buffer.
    arguments: Vec<Range<usize>>,
}

impl Splitter {
    /// Nothing received yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            is_stranger: false,
            is_compact: false,
            buffer: BytesMut::new(),
            expect: Expect::Request,
            position: 0,
            line_scanned: 0,
            remaining: 0,
            arguments: Vec::new(),
        }
    }

    /// Whether the client has still to give the password: then only small requests are taken, from the next one on.
    pub fn set_stranger(&mut self, is_stranger: bool) {
        self.is_stranger = is_stranger;
    }

    /// Gives back memory that nothing waits in. To be called before more is waited for.
    pub fn shrink(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        } else if !self.is_compact && self.buffer.len() <= WAITING_BYTES_SMALL {
            self.buffer = BytesMut::from(&self.buffer[..]);
            self.is_compact = true;
        }
    }

    /// Where received bytes are appended. Nothing else may be done to it.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Bytes received and not yet cut into requests.
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The next request; `None` when more bytes are needed. Empty requests are skipped, as Redis does.
    ///
    /// # Errors
    /// The stream cannot be followed any further; do not call again.
    pub fn next_request(&mut self) -> Result<Option<Request>, ProtocolError> {
        self.is_compact = false;
        loop {
            let advanced = match self.expect {
                Expect::Request => match self.buffer.first() {
                    None => return Ok(None),
                    Some(b'*') => self.array_header()?,
                    Some(_) => match self.inline()? {
                        Some(request) if request.args.is_empty() => true,
                        found => return Ok(found),
                    },
                },
                Expect::BulkHeader => self.bulk_header()?,
                Expect::BulkBody { bytes } => self.bulk_body(bytes)?,
            };
            if !advanced {
                return Ok(None);
            }
            if self.expect == Expect::BulkHeader && self.remaining == 0 {
                return Ok(Some(self.finish()));
            }
        }
    }

    fn array_header(&mut self) -> Result<bool, ProtocolError> {
        let Some(line) = self.line(ProtocolError::MultibulkLine, ProtocolError::MultibulkLength)? else {
            return Ok(false);
        };
        let count = number(&self.buffer[1..line.end]).ok_or(ProtocolError::MultibulkLength)?;
        let next = line.end + 2;
        let Ok(count) = usize::try_from(count) else {
            // A null array: nothing is asked for, nothing is answered.
            self.skip(next);
            return Ok(true);
        };
        if count > self.limits.elements_max {
            return Err(ProtocolError::MultibulkLength);
        }
        if self.is_stranger && count > STRANGER_ELEMENTS_MAX {
            return Err(ProtocolError::StrangerMultibulkLength);
        }
        if count == 0 {
            self.skip(next);
            return Ok(true);
        }
        self.arguments = Vec::with_capacity(count.min(ARGUMENTS_EXPECTED_MAX));
        self.remaining = count;
        self.advance(Expect::BulkHeader, next);
        Ok(true)
    }

    fn bulk_header(&mut self) -> Result<bool, ProtocolError> {
        match self.buffer.get(self.position) {
            None => return Ok(false),
            Some(b'$') => {}
            Some(&found) => return Err(ProtocolError::BulkExpected { found }),
        }
        let Some(line) = self.line(ProtocolError::BulkLine, ProtocolError::BulkLength)? else {
            return Ok(false);
        };
        let bytes = number(&self.buffer[line.start + 1..line.end])
            .and_then(|bytes| usize::try_from(bytes).ok())
            .filter(|&bytes| bytes <= self.limits.bulk_bytes_max)
            .ok_or(ProtocolError::BulkLength)?;
        if self.is_stranger && bytes > STRANGER_BULK_BYTES_MAX {
            return Err(ProtocolError::StrangerBulkLength);
        }
        let next = line.end + 2;
        if next + bytes + 2 > self.limits.request_bytes_max {
            return Err(ProtocolError::RequestBytes);
        }
        self.advance(Expect::BulkBody { bytes }, next);
        Ok(true)
    }

    fn bulk_body(&mut self, bytes: usize) -> Result<bool, ProtocolError> {
        let end = self.position + bytes;
        match self.buffer.get(end..end + 2) {
            None => return Ok(false),
            Some(b"\r\n") => {}
            Some(_) => return Err(ProtocolError::BulkEnd),
        }
        assert!(self.remaining > 0, "a bulk string belongs to an array that expects one");
        self.arguments.push(self.position..end);
        self.remaining -= 1;
        self.advance(Expect::BulkHeader, end + 2);
        Ok(true)
    }

    fn inline(&mut self) -> Result<Option<Request>, ProtocolError> {
        let Some(end) = self.find(b'\n') else {
            let over = self.buffer.len() > self.limits.line_bytes_max;
            return if over { Err(ProtocolError::InlineLine) } else { Ok(None) };
        };
        if end > self.limits.line_bytes_max {
            return Err(ProtocolError::InlineLine);
        }
        let line = self.buffer.split_to(end + 1).freeze();
        self.reset();
        Ok(Some(Request { args: inline::split(&line)?, bytes: line.len() }))
    }

    /// The line at `position`, without its CRLF; `None` when its end has not come yet.
    fn line(
        &mut self,
        too_long: ProtocolError,
        malformed: ProtocolError,
    ) -> Result<Option<Range<usize>>, ProtocolError> {
        let Some(end) = self.find(b'\r') else {
            let over = self.buffer.len() - self.position > self.limits.line_bytes_max;
            return if over { Err(too_long) } else { Ok(None) };
        };
        if end - self.position > self.limits.line_bytes_max {
            return Err(too_long);
        }
        match self.buffer.get(end + 1) {
            None => Ok(None),
            Some(b'\n') => Ok(Some(self.position..end)),
            Some(_) => Err(malformed),
        }
    }

    /// The first `byte` at or after `position`, remembering how far it has looked.
    fn find(&mut self, byte: u8) -> Option<usize> {
        let from = self.line_scanned.max(self.position);
        let found = self.buffer[from..].iter().position(|&b| b == byte).map(|at| from + at);
        self.line_scanned = found.unwrap_or(self.buffer.len());
        found
    }

    fn advance(&mut self, expect: Expect, position: usize) {
        assert!(position <= self.buffer.len(), "the scan position never passes what was received");
        self.expect = expect;
        self.position = position;
        self.line_scanned = position;
    }

    /// Drops a request that asks for nothing.
    fn skip(&mut self, bytes: usize) {
        let _ = self.buffer.split_to(bytes);
        self.reset();
    }

    fn reset(&mut self) {
        self.advance(Expect::Request, 0);
        self.remaining = 0;
    }

    /// Cuts the completed array off the buffer.
    fn finish(&mut self) -> Request {
        let whole = self.buffer.split_to(self.position).freeze();
        let arguments = mem::take(&mut self.arguments);
        self.reset();
        Request { args: arguments.into_iter().map(|range| whole.slice(range)).collect(), bytes: whole.len() }
    }
}

/// A decimal number as Redis reads it: an optional minus, no plus, no leading zeros, no blanks.
pub(super) fn number(digits: &[u8]) -> Option<i64> {
    let magnitude = digits.strip_prefix(b"-").unwrap_or(digits);
    match magnitude {
        b"0" if magnitude.len() == digits.len() => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
