//! What a client may ask of a key, and what it may be told.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A client that has at most one operation under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub u32);

/// An operation of a history: its place among all calls, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpId(pub u32);

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Key(Arc<str>);

/// A value: text, so that a history can be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Value(Arc<str>);

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The value that is there.
    Get,
    /// A change of the value.
    Change {
        /// What must hold of the value that is there.
        only_if: Guard,
        /// The new one; `None` for none.
        to: Option<Value>,
    },
}

/// What must hold for a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// Nothing.
    Always,
    /// The key has some value.
    Present,
    /// The key has this value; `None` for none.
    Is(Option<Value>),
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The read was made, or the guard held and the change was made.
    Applied(Before),
    /// The guard did not hold. Nothing was changed.
    Refused(Before),
}

/// What a reply says of the value that was there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Before {
    /// Nothing.
    Untold,
    /// Whether there was one.
    Existed(bool),
    /// The value; `None` for none.
    Was(Option<Value>),
}

impl Action {
    /// `SET key value`, [`quorate::Op::Put`].
    pub fn put(value: impl Into<Value>) -> Self {
        Self::Change { only_if: Guard::Always, to: Some(value.into()) }
    }

    /// `DEL key`, `GETDEL key`, [`quorate::Op::Delete`], [`quorate::Op::Take`].
    pub fn delete() -> Self {
        Self::Change { only_if: Guard::Always, to: None }
    }

    /// `SET key value NX`, `SETNX`, [`quorate::When::Absent`].
    pub fn put_if_absent(value: impl Into<Value>) -> Self {
        Self::Change { only_if: Guard::Is(None), to: Some(value.into()) }
    }

    /// `SET key value XX`, [`quorate::When::Present`].
    pub fn put_if_present(value: impl Into<Value>) -> Self {
        Self::Change { only_if: Guard::Present, to: Some(value.into()) }
    }

    /// [`quorate::WriteBatch::only_if`] with one put, or one delete for `None`.
    pub fn compare_and_set(expected: Option<Value>, new: Option<Value>) -> Self {
        Self::Change { only_if: Guard::Is(expected), to: new }
    }

    /// The value it writes.
    pub fn written(&self) -> Option<&Value> {
        match self {
            Self::Change { to: Some(value), .. } => Some(value),
            Self::Get | Self::Change { to: None, .. } => None,
        }
    }

    /// The value it compares with.
    pub(super) fn expected(&self) -> Option<&Value> {
        match self {
            Self::Change { only_if: Guard::Is(Some(value)), .. } => Some(value),
            Self::Get | Self::Change { .. } => None,
        }
    }
}

impl Reply {
    /// A change was made, and nothing was said of the value before.
    pub fn done() -> Self {
        Self::Applied(Before::Untold)
    }

    /// A change was not made because its guard did not hold, and nothing was said of the value that is there.
    pub fn refused() -> Self {
        Self::Refused(Before::Untold)
    }

    /// A read found this.
    pub fn found(value: Option<Value>) -> Self {
        Self::Applied(Before::Was(value))
    }

    /// What it says of the value before.
    pub fn before(&self) -> &Before {
        match self {
            Self::Applied(before) | Self::Refused(before) => before,
        }
    }
}

impl Value {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Key {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text {
    ($($name:ident),+) => {$(
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    )+};
}

text!(Key, Value);

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get => f.write_str("get"),
            Self::Change { only_if, to } => {
                match to {
                    Some(value) => write!(f, "put {value}")?,
                    None => f.write_str("delete")?,
                }
                match only_if {
                    Guard::Always => Ok(()),
                    Guard::Present => f.write_str(" if present"),
                    Guard::Is(None) => f.write_str(" if absent"),
                    Guard::Is(Some(value)) => write!(f, " if {value}"),
                }
            }
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Applied(_) => "done",
            Self::Refused(_) => "refused",
        })?;
        match self.before() {
            Before::Untold => Ok(()),
            Before::Existed(true) => f.write_str(", there was a value"),
            Before::Existed(false) | Before::Was(None) => f.write_str(", there was none"),
            Before::Was(Some(value)) => write!(f, ", there was {value}"),
        }
    }
}
