//! Replies: the frames of RESP2, and the error texts clients know from Redis.

use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use redis_protocol::resp2::encode::extend_encode;
use redis_protocol::resp2::types::BytesFrame;

use crate::backend::BackendError;

/// One reply, not encoded yet.
pub type Reply = BytesFrame;

/// Most bytes of the arguments, and of the name, that an error about an unknown command repeats.
const ECHOED_BYTES_MAX: usize = 128;

/// `+OK`.
pub fn ok() -> Reply {
    simple("OK")
}

/// A simple string. It must not hold a line break.
pub fn simple(text: &'static str) -> Reply {
    Reply::SimpleString(Bytes::from_static(text.as_bytes()))
}

/// A bulk string of text.
pub fn text(text: impl Into<String>) -> Reply {
    Reply::BulkString(Bytes::from(text.into()))
}

/// A count.
pub fn integer(number: i64) -> Reply {
    Reply::Integer(number)
}

/// An error: its code and its text in one. Line breaks become blanks, as in Redis.
pub fn error(message: &str) -> Reply {
    Reply::Error(message.replace(['\r', '\n'], " ").into())
}

/// A failure of the engine.
pub fn backend_error(error: &BackendError) -> Reply {
    self::error(&format!("{} {error}", error.redis_code()))
}

/// The error for a name that is no command, with the beginning of the request as Redis shows it.
pub fn unknown_command(args: &[Bytes]) -> Reply {
    let name = args.first().map_or(&b""[..], |name| cut(name, ECHOED_BYTES_MAX));
    let mut shown = String::new();
    for arg in args.iter().skip(1) {
        if shown.len() >= ECHOED_BYTES_MAX {
            break;
        }
        let arg = cut(arg, ECHOED_BYTES_MAX - shown.len());
        let _ = write!(shown, "'{}' ", String::from_utf8_lossy(arg));
    }
    let name = String::from_utf8_lossy(name);
    error(&format!("ERR unknown command '{name}', with args beginning with: {shown}"))
}

/// The error for a subcommand that does not exist.
pub fn unknown_subcommand(command: &str, subcommand: &[u8]) -> Reply {
    let subcommand = String::from_utf8_lossy(cut(subcommand, ECHOED_BYTES_MAX));
    error(&format!("ERR unknown subcommand '{subcommand}'. Try {} HELP.", command.to_uppercase()))
}

/// The error for too few or too many arguments. `command` may be `config|get`.
pub fn wrong_arity(command: &str) -> Reply {
    error(&format!("ERR wrong number of arguments for '{command}' command"))
}

/// Bytes of the values that `reply` keeps in memory.
pub fn bytes(reply: &Reply) -> usize {
    match reply {
        Reply::BulkString(value) => value.len(),
        Reply::Array(values) => values.iter().map(bytes).sum(),
        Reply::SimpleString(_) | Reply::Error(_) | Reply::Integer(_) | Reply::Null => 0,
    }
}

/// Appends the encoded reply to `out`.
///
/// # Panics
/// If the frame cannot be encoded, which no frame made here is.
pub fn encode(reply: &Reply, out: &mut BytesMut) {
    let encoded = extend_encode(out, reply, false);
    assert!(encoded.is_ok(), "a reply made by this server has an encoding");
}

fn cut(bytes: &[u8], bytes_max: usize) -> &[u8] {
    &bytes[..bytes.len().min(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(reply: &Reply) -> BytesMut {
        let mut out = BytesMut::new();
        encode(reply, &mut out);
        out
    }

    #[test]
    fn an_unknown_command_is_told_with_the_beginning_of_its_arguments() {
        let args =
            [Bytes::from("foo"), Bytes::from("a\r\nb"), Bytes::from(vec![b'x'; 500]), Bytes::from("late")];
        let reply = encoded(&unknown_command(&args));
        let expected = format!(
            "-ERR unknown command 'foo', with args beginning with: 'a  b' '{}' \r\n",
            "x".repeat(121)
        );
        assert_eq!(reply, expected.as_bytes());
    }

    #[test]
    fn an_error_is_one_line_whatever_its_text() {
        let reply = encoded(&error("ERR a\r\n+OK\r\nb"));
        assert_eq!(&reply[..], b"-ERR a  +OK  b\r\n");
    }
}
