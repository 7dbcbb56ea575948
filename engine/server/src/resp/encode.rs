//! Replies as bytes, in the version of the protocol that the connection has chosen.
//!
//! By hand, because the frames of the `redis-protocol` crate would have to be built for each version from a tree that
//! is there already, and its maps have no order of their own. Its decoders are what the tests read the bytes with.

use std::fmt::Write as _;

use bytes::BytesMut;

use super::reply::Reply;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Protocol {
    /// What every connection begins with.
    #[default]
    Resp2,
    /// Since `HELLO 3`: with maps, sets, verbatim strings and a null of its own.
    Resp3,
}

impl Protocol {
    /// As `HELLO` names it.
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// Appends the encoded reply to `out`.
pub(super) fn encode(reply: &Reply, protocol: Protocol, out: &mut BytesMut) {
    let is_resp3 = protocol == Protocol::Resp3;
    match reply {
        Reply::Simple(text) => line(out, '+', text),
        Reply::Error(text) => line(out, '-', text),
        Reply::Integer(number) => line(out, ':', number),
        Reply::Bulk(value) => bulk(out, value),
        Reply::Verbatim(text) if is_resp3 => {
            line(out, '=', text.len() + VERBATIM_FORMAT.len());
            out.extend_from_slice(VERBATIM_FORMAT.as_bytes());
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Reply::Verbatim(text) => bulk(out, text.as_bytes()),
        Reply::Null => out.extend_from_slice(if is_resp3 { b"_\r\n" } else { b"$-1\r\n" }),
        Reply::Array(items) => all(items, '*', protocol, out),
        Reply::Set(items) => all(items, if is_resp3 { '~' } else { '*' }, protocol, out),
        Reply::Map(pairs) => {
            match protocol {
                Protocol::Resp2 => line(out, '*', 2 * pairs.len()),
                Protocol::Resp3 => line(out, '%', pairs.len()),
            }
            for (key, value) in pairs {
                encode(key, protocol, out);
                encode(value, protocol, out);
            }
        }
    }
}

/// What a verbatim string begins with: that it is plain text.
const VERBATIM_FORMAT: &str = "txt:";

fn all(items: &[Reply], kind: char, protocol: Protocol, out: &mut BytesMut) {
    line(out, kind, items.len());
    for item in items {
        encode(item, protocol, out);
    }
}

fn bulk(out: &mut BytesMut, value: &[u8]) {
    out.reserve(value.len() + 32);
    line(out, '$', value.len());
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn line(out: &mut BytesMut, kind: char, value: impl std::fmt::Display) {
    let written = write!(out, "{kind}{value}\r\n");
    assert!(written.is_ok(), "a buffer that grows takes every line");
}

#[cfg(test)]
mod tests;
