//! A value from anywhere into the setting of its type, and back into TOML.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use secrecy::SecretString;

use super::schema::{Bounds, Key, Slot};
use super::settings::NodeSettings;

/// A value as it was written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalar<'a> {
    /// A TOML string.
    Text(&'a str),
    /// A TOML integer; `None` if it does not fit 64 bits.
    Integer(Option<i64>),
    /// A TOML boolean.
    Flag(bool),
    /// Of the environment or the command line, where everything is text.
    Untyped(&'a str),
    /// Something else, by its name.
    Other(&'static str),
}

/// Puts `value` into the setting of `key`, or says what is wrong with it; then the setting is unchanged.
pub(super) fn assign(settings: &mut NodeSettings, key: &Key, value: Scalar<'_>) -> Result<(), String> {
    match (key.slot)(settings) {
        Slot::Text(slot) => value.text("a string")?.clone_into(slot),
        Slot::Path(slot) => *slot = value.path()?,
        Slot::File(slot) => *slot = Some(value.path()?),
        Slot::Count(slot) => *slot = within(value.count()?, key.bounds)?,
        Slot::OptionalCount(slot) => *slot = Some(within(value.count()?, key.bounds)?),
        Slot::Bytes(slot) => {
            let size = value.parse("a size such as \"64MiB\"")?;
            if let Bounds::Bytes(min, max) = key.bounds {
                in_bounds(size, min, max)?;
            }
            *slot = size;
        }
        Slot::Time(slot) => {
            let time = value.parse("a time such as \"50ms\"")?;
            if let Bounds::Time(min, max) = key.bounds {
                in_bounds(time, min, max)?;
            }
            *slot = time;
        }
        Slot::Address(slot) => *slot = Some(value.address()?),
        Slot::Flag(slot) => *slot = value.flag()?,
        Slot::Word(slot) => {
            let words = slot.words().join(", ");
            if !slot.set(value.text("a string")?) {
                return Err(format!("expected one of {words}"));
            }
        }
        Slot::Secret(slot) => {
            let secret = value.text("a string")?;
            if secret.is_empty() {
                return Err("must not be empty".to_owned());
            }
            *slot = Some(SecretString::from(secret));
        }
    }
    Ok(())
}

/// What a setting has, as TOML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// A value.
    Value(String),
    /// A secret that is set.
    Redacted,
    /// Nothing.
    Unset,
}

/// What the setting of `key` has.
pub(super) fn show(settings: &NodeSettings, key: &Key) -> Shown {
    let mut settings = settings.clone();
    let optional = |value: Option<String>| value.map_or(Shown::Unset, Shown::Value);
    match (key.slot)(&mut settings) {
        Slot::Text(text) => Shown::Value(quoted(text)),
        Slot::Path(path) if path.as_os_str().is_empty() => Shown::Unset,
        Slot::Path(path) => Shown::Value(quoted(&path.to_string_lossy())),
        Slot::File(path) => optional(path.as_ref().map(|path| quoted(&path.to_string_lossy()))),
        // No count that has a default of 0 may have a lower bound above 0: then it is unset.
        Slot::Count(0) if !matches!(key.bounds, Bounds::Count(0, _)) => Shown::Unset,
        Slot::Count(count) => Shown::Value(count.to_string()),
        Slot::OptionalCount(count) => optional(count.map(|count| count.to_string())),
        Slot::Bytes(size) => Shown::Value(quoted(&size.to_string())),
        Slot::Time(time) => Shown::Value(quoted(&time.to_string())),
        Slot::Address(address) => optional(address.map(|address| quoted(&address.to_string()))),
        Slot::Flag(flag) => Shown::Value(flag.to_string()),
        Slot::Word(word) => Shown::Value(quoted(&word.get())),
        Slot::Secret(None) => Shown::Unset,
        Slot::Secret(Some(_)) => Shown::Redacted,
    }
}

/// As a TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl<'a> Scalar<'a> {
    pub(super) fn text(self, expected: &str) -> Result<&'a str, String> {
        match self {
            Self::Text(text) | Self::Untyped(text) => Ok(text),
            other => Err(format!("expected {expected}, found {}", other.kind())),
        }
    }

    pub(super) fn address(self) -> Result<SocketAddr, String> {
        let expected = "an IP address and a port such as \"127.0.0.1:7380\"";
        self.text(expected)?.parse().map_err(|_| format!("expected {expected}"))
    }

    pub(super) fn count(self) -> Result<u64, String> {
        let out_of_range = || "must be a whole number of 0 or more".to_owned();
        match self {
            Self::Integer(Some(number)) => u64::try_from(number).map_err(|_| out_of_range()),
            Self::Integer(None) => Err(out_of_range()),
            Self::Untyped(text) => text.parse().map_err(|_| out_of_range()),
            other => Err(format!("expected an integer, found {}", other.kind())),
        }
    }

    fn flag(self) -> Result<bool, String> {
        match self {
            Self::Flag(flag) => Ok(flag),
            Self::Untyped(text) => text.parse().map_err(|_| "expected true or false".to_owned()),
            other => Err(format!("expected true or false, found {}", other.kind())),
        }
    }

    fn path(self) -> Result<PathBuf, String> {
        let path = self.text("a path")?;
        if path.is_empty() { Err("must not be empty".to_owned()) } else { Ok(PathBuf::from(path)) }
    }

    fn parse<T: FromStr<Err: Display>>(self, expected: &str) -> Result<T, String> {
        self.text(expected)?.parse().map_err(|error: T::Err| error.to_string())
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Text(_) | Self::Untyped(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Flag(_) => "a boolean",
            Self::Other(kind) => kind,
        }
    }
}

fn within(count: u64, bounds: Bounds) -> Result<u64, String> {
    if let Bounds::Count(min, max) = bounds {
        in_bounds(count, min, max)?;
    }
    Ok(count)
}

fn in_bounds<T: Copy + PartialOrd + Display>(value: T, min: T, max: T) -> Result<(), String> {
    if min <= value && value <= max { Ok(()) } else { Err(format!("{value} is not within {min} to {max}")) }
}
