//! The operations of a command, and what they say when they were run.

use bytes::Bytes;

use super::command::limit;
use super::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::error::Result;

/// One change of one key, decided by the value the key has when its turn comes, and by nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Sets a key.
    Put(Bytes, Bytes),
    /// Removes a key, if it is there.
    Delete(Bytes),
    /// Sets a key if `when` holds.
    Set {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
        /// What must hold.
        when: When,
        /// Whether the result tells the value before. At most [`super::RETURNING_OPS_MAX`] operations of a
        /// command may.
        returns_previous: bool,
    },
    /// Removes a key and gives back the value it had. At most [`super::RETURNING_OPS_MAX`] in a command.
    Take(Bytes),
    /// Appends to the value of a key; an absent one counts as empty.
    Append(Bytes, Bytes),
    /// Adds to the value of a key: a decimal integer of 64 bits as [`i64`]'s `Display` writes it, so no leading
    /// zeros, no plus, no spaces, no `-0`. An absent key counts as 0.
    Add(Bytes, i64),
}

/// What must hold for an [`Op::Set`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Nothing.
    Always,
    /// The key is absent.
    Absent,
    /// The key is present.
    Present,
}

/// What an operation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResult {
    /// It took effect. That is also said when there was nothing to remove.
    Done {
        /// Whether the key was there before.
        existed: bool,
        /// The value before, for [`Op::Take`] and for an [`Op::Set`] that returns it.
        previous: Option<Bytes>,
    },
    /// What an [`Op::Set`] asks for did not hold. Nothing changed.
    Unmet {
        /// The value that is there, if the operation returns it.
        previous: Option<Bytes>,
    },
    /// The sum after an [`Op::Add`], the length in bytes after an [`Op::Append`].
    Number(i64),
    /// It cannot be done with the value that is there. Nothing changed.
    Failed(OpFailure),
}

/// Why an operation cannot be done with the value that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpFailure {
    /// [`Op::Add`] to something else than a decimal integer of 64 bits.
    #[error("the value is not an integer or out of range")]
    NotAnInteger,
    /// [`Op::Add`] beyond 64 bits.
    #[error("the sum would overflow")]
    Overflow,
    /// [`Op::Append`] beyond [`VALUE_BYTES_MAX`].
    #[error("the value would have {bytes} bytes, the limit is {VALUE_BYTES_MAX}")]
    ValueTooLarge {
        /// How long the value would be.
        bytes: u64,
    },
}

impl Op {
    /// The key that is changed.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put(key, _)
            | Self::Delete(key)
            | Self::Set { key, .. }
            | Self::Take(key)
            | Self::Append(key, _)
            | Self::Add(key, _) => key,
        }
    }

    /// The bytes it brings: a value, or what is appended to one.
    fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Put(_, value) | Self::Set { value, .. } | Self::Append(_, value) => Some(value),
            Self::Delete(_) | Self::Take(_) | Self::Add(..) => None,
        }
    }

    /// Bytes of its key and value.
    pub fn bytes(&self) -> usize {
        self.key().len() + self.value().map_or(0, Bytes::len)
    }

    /// Whether its result may hold a value.
    pub fn is_returning(&self) -> bool {
        matches!(self, Self::Take(_) | Self::Set { returns_previous: true, .. })
    }

    /// Checks the limits on its key and value.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`], naming the one that is exceeded.
    pub fn check(&self) -> Result<()> {
        limit("key", self.key().len(), KEY_BYTES_MAX)?;
        self.value().map_or(Ok(()), |value| limit("value", value.len(), VALUE_BYTES_MAX))
    }
}

impl OpResult {
    /// An operation that took effect and returns no value.
    pub fn done(existed: bool) -> Self {
        Self::Done { existed, previous: None }
    }
}
