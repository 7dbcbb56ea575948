//! Replies, and the error texts clients know from Redis.

use std::fmt::Write as _;

use bytes::Bytes;

use crate::backend::BackendError;

/// One reply, not encoded yet. What RESP2 has no form for, it says with arrays and bulk strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// One line. It must not hold a line break.
    Simple(&'static str),
    /// One line: a code, a blank and a text. It must not hold a line break, see [`error`].
    Error(String),
    Integer(i64),
    Bulk(Bytes),
    /// Text for people, of several lines. A bulk string in RESP2.
    Verbatim(String),
    Null,
    Array(Vec<Reply>),
    /// In the order given. In RESP2 an array of keys and values by turns.
    Map(Vec<(Reply, Reply)>),
    /// Without order. An array in RESP2.
    Set(Vec<Reply>),
}

/// Most bytes of the arguments, and of the name, that an error about an unknown command repeats.
const ECHOED_BYTES_MAX: usize = 128;

/// `+OK`.
pub(super) const OK: Reply = Reply::Simple("OK");

/// A bulk string of text.
pub(super) fn text(text: impl Into<String>) -> Reply {
    Reply::Bulk(Bytes::from(text.into()))
}

/// A bulk string of fixed text.
pub(super) fn word(word: &'static str) -> Reply {
    Reply::Bulk(Bytes::from_static(word.as_bytes()))
}

/// A count of things in memory.
pub(super) fn count(count: usize) -> Reply {
    Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

/// An error: its code and its text in one. Line breaks become blanks, as in Redis.
pub(super) fn error(message: &str) -> Reply {
    Reply::Error(message.replace(['\r', '\n'], " "))
}

/// `ERR syntax error`.
pub(super) fn syntax_error() -> Reply {
    error("ERR syntax error")
}

/// The error for a number that is none.
pub(super) fn not_an_integer() -> Reply {
    error("ERR value is not an integer or out of range")
}

/// A failure of the engine.
pub(super) fn backend_error(error: &BackendError) -> Reply {
    self::error(&format!("{} {error}", error.redis_code()))
}

/// The error for a name that is no command, with the beginning of the request as Redis shows it.
pub(super) fn unknown_command(args: &[Bytes]) -> Reply {
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
pub(super) fn unknown_subcommand(command: &str, subcommand: &[u8]) -> Reply {
    let subcommand = String::from_utf8_lossy(cut(subcommand, ECHOED_BYTES_MAX));
    error(&format!("ERR unknown subcommand '{subcommand}'. Try {} HELP.", command.to_uppercase()))
}

/// The error for too few or too many arguments. `command` may be `config|get`.
pub(super) fn wrong_arity(command: &str) -> Reply {
    error(&format!("ERR wrong number of arguments for '{command}' command"))
}

/// Bytes that `reply` keeps in memory.
pub(super) fn bytes(reply: &Reply) -> usize {
    let inner = match reply {
        Reply::Bulk(value) => value.len(),
        Reply::Error(text) | Reply::Verbatim(text) => text.len(),
        Reply::Array(items) | Reply::Set(items) => items.iter().map(bytes).sum(),
        Reply::Map(pairs) => pairs.iter().map(|(key, value)| bytes(key) + bytes(value)).sum(),
        Reply::Simple(_) | Reply::Integer(_) | Reply::Null => 0,
    };
    size_of::<Reply>() + inner
}

fn cut(bytes: &[u8], bytes_max: usize) -> &[u8] {
    &bytes[..bytes.len().min(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_command_is_told_with_the_beginning_of_its_arguments() {
        let args =
            [Bytes::from("foo"), Bytes::from("a\r\nb"), Bytes::from(vec![b'x'; 500]), Bytes::from("late")];
        let arguments = format!("'a  b' '{}' ", "x".repeat(121));
        let expected = format!("ERR unknown command 'foo', with args beginning with: {arguments}");
        assert_eq!(unknown_command(&args), Reply::Error(expected));
    }

    #[test]
    fn an_error_is_one_line_whatever_its_text() {
        assert_eq!(error("ERR a\r\n+OK\r\nb"), Reply::Error("ERR a  +OK  b".to_owned()));
    }
}
