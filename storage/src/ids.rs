//! Identities and positions. One newtype each, so that two of them never swap places in a call.

use std::fmt;
use std::time::Duration;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The plain number.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<u64> for $name {
            fn from(value: u64) -> Self {
                Self(value)
            }
        }
    };
}

macro_rules! bits {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// All bits zero: "not known" in a message, never the identity of anything.
            pub const ZERO: Self = Self([0; 16]);

            /// Whether this is [`Self::ZERO`].
            pub fn is_zero(self) -> bool {
                self == Self::ZERO
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", u128::from_be_bytes(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

number! {
    /// A node: one process with one data directory. Given by the operator, never 0.
    NodeId
}
number! {
    /// A Raft group, within one cluster. Group 0 holds the catalog.
    GroupId
}
number! {
    /// Raft's peer id: one replica of one group. Handed out by group 0, never 0, never reused.
    ReplicaId
}
number! {
    /// A Raft term.
    Term
}
number! {
    /// A position in a group's log. 0 is before the first entry.
    Index
}
number! {
    /// Raised by every change of a group's key range; checked on requests.
    RangeEpoch
}
number! {
    /// Raised by every membership change; fences membership commands only.
    ConfEpoch
}
number! {
    /// A hybrid logical timestamp: 48 bits of milliseconds since the Unix epoch, 16 bits of counter.
    Timestamp
}

bits! {
    /// A cluster. A node of another cluster is refused.
    ClusterId
}
bits! {
    /// Fixed when a group is created, the same on every replica, in every file, snapshot and message: a
    /// group deleted and created again never accepts its predecessor's data.
    GroupUid
}
bits! {
    /// Marks one replica's directory (its log and store). A new incarnation is always a new replica id.
    Incarnation
}
bits! {
    /// Drawn fresh for every file.
    FileId
}

/// Terms, indices, sequences and versions above this are no numbers of anything that lives: counted up one by one, none
/// comes there. Whatever is read is refused above it, so that counting on never overflows.
pub const NUMBER_MAX: u64 = 1 << 62;

impl Index {
    /// The position after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The position before this one; 0 stays 0.
    pub const fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl Timestamp {
    /// The last millisecond there is, in the year 10889.
    pub const MILLIS_MAX: u64 = (1 << 48) - 1;

    /// The first timestamp of that millisecond; of the last one there is, if it is later.
    pub const fn of_millis(millis: u64) -> Self {
        let millis = if millis < Self::MILLIS_MAX { millis } else { Self::MILLIS_MAX };
        Self(millis << 16)
    }

    /// The first timestamp of the millisecond that a clock shows, given since the Unix epoch.
    pub fn of_wall(wall: Duration) -> Self {
        Self::of_millis(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX))
    }

    /// Its physical part: milliseconds since the Unix epoch.
    pub const fn millis(self) -> u64 {
        self.0 >> 16
    }

    /// The one right behind it: the counter, full, carries into the millisecond. `None` behind the last one.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

/// A fixed 128-bit hash of `bytes` for deriving one identity from another; `domain` keeps uses apart. Part
/// of the format.
pub fn hash_128(domain: &str, bytes: &[u8]) -> [u8; 16] {
    use std::hash::Hasher as _;

    use siphasher::sip128::{Hasher128 as _, SipHasher24};

    let mut hasher = SipHasher24::new_with_keys(0, 0);
    hasher.write(&(domain.len() as u64).to_le_bytes());
    hasher.write(domain.as_bytes());
    hasher.write(bytes);
    hasher.finish128().as_u128().to_be_bytes()
}
