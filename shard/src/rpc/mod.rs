//! What a node asks another one to do for it, and what it answers. Travels as request bodies of the
//! transport.

mod announcement;
mod answering;
mod codec;
mod serve;

use bytes::Bytes;
use quorate_storage::kv::{KeyValue, KeysPage};
use quorate_storage::{ConfChange, EntryId, GroupId, RangeEpoch, ReplicaId, Timestamp};
use quorate_transport::RequestKind;

pub use announcement::{Announcement, LED_MAX, Led};
pub use answering::Answering;
pub use serve::{READ_BYTES_MAX, READ_ITEMS_MAX, serve};

use crate::actor::{ConsistencyReport, ReadLevel};
use crate::error::Error;

/// The transport's number for these requests.
pub const KIND: RequestKind = RequestKind(2);

/// A request to the node that holds a replica of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Something a group does.
    Group {
        /// The group.
        group: GroupId,
        /// The range epoch the request was routed by.
        epoch: RangeEpoch,
        /// What.
        call: Call,
    },
    /// The catalog's records, if they are newer than `have`.
    Catalog {
        /// The version the asker holds.
        have: Option<u64>,
    },
    /// Groups that the sender leads. Answered by [`Reply::Done`].
    Leaders(Announcement),
}

/// What a group is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Replicate a command.
    Propose(Bytes),
    /// Values of keys.
    Get {
        /// How fresh.
        level: ReadLevel,
        /// The keys.
        keys: Vec<Bytes>,
    },
    /// Pairs in key order.
    Scan {
        /// How fresh.
        level: ReadLevel,
        /// What to scan.
        scan: Scan,
    },
    /// Keys in order, without their values. Never in reverse.
    Keys {
        /// How fresh.
        level: ReadLevel,
        /// Which.
        scan: Scan,
    },
    /// How many keys there are.
    Count {
        /// How fresh.
        level: ReadLevel,
    },
    /// A query in the state machine's own language.
    Query {
        /// How fresh.
        level: ReadLevel,
        /// The query.
        body: Bytes,
    },
    /// A membership change.
    ChangeConf(ConfChange),
    /// Hand over leadership.
    Transfer(ReplicaId),
    /// A timestamp of the group's clock. No write: one that reaches nobody is missed by nobody.
    Timestamp,
    /// Merge a timestamp of another clock. Doing it twice is doing it once.
    Observe(Timestamp),
    /// Compare the replicas' states.
    CheckConsistency,
}

impl Call {
    /// Whether the group's state or membership may change by it.
    pub fn is_write(&self) -> bool {
        matches!(self, Self::Propose(_) | Self::ChangeConf(_) | Self::Transfer(_))
    }

    /// How fresh a read of the state must be; `None` for anything else.
    pub fn level(&self) -> Option<ReadLevel> {
        match self {
            Self::Get { level, .. }
            | Self::Scan { level, .. }
            | Self::Keys { level, .. }
            | Self::Count { level }
            | Self::Query { level, .. } => Some(*level),
            Self::Propose(_)
            | Self::ChangeConf(_)
            | Self::Transfer(_)
            | Self::CheckConsistency
            | Self::Timestamp
            | Self::Observe(_) => None,
        }
    }

    /// Whether any replica may answer, not only the leader.
    pub fn is_local_read(&self) -> bool {
        self.level().is_some_and(|level| level != ReadLevel::Linearizable)
    }
}

/// The bounds of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// First key.
    pub start: Bytes,
    /// First key behind the range; `None` for no end.
    pub end: Option<Bytes>,
    /// From the end towards the start.
    pub reverse: bool,
    /// Most pairs or keys.
    pub limit: usize,
    /// Most bytes of what is returned; at least one pair or key.
    pub bytes_max: usize,
}

/// The answer to a [`Request`].
#[derive(Clone, Debug)]
pub enum Reply {
    /// A command was applied.
    Applied {
        /// Where it stands in the log.
        id: EntryId,
        /// What the state machine said.
        output: Bytes,
    },
    /// One value per key.
    Values(Vec<Option<Bytes>>),
    /// Pairs in the order asked for.
    Pairs(Vec<KeyValue>),
    /// Keys in order, and where to go on.
    Keys(KeysPage),
    /// How many keys there are.
    Count(u64),
    /// What a comparison of the replicas came to.
    Consistency(ConsistencyReport),
    /// The state machine's answer.
    Answer(Bytes),
    /// A timestamp.
    Timestamp(Timestamp),
    /// It is done.
    Done,
    /// The catalog's records; none if the asker's version is current.
    Catalog(Vec<KeyValue>),
    /// It did not work out.
    Failed(Error),
}

impl Reply {
    /// Whether this is a result of `call`: the right kind, with one value for each key.
    pub fn answers(&self, call: &Call) -> bool {
        match (call, self) {
            (Call::Get { keys, .. }, Self::Values(values)) => keys.len() == values.len(),
            (Call::Propose(_), Self::Applied { .. })
            | (Call::Scan { .. }, Self::Pairs(_))
            | (Call::Keys { .. }, Self::Keys(_))
            | (Call::Count { .. }, Self::Count(_))
            | (Call::Query { .. }, Self::Answer(_))
            | (Call::CheckConsistency, Self::Consistency(_))
            | (Call::Timestamp, Self::Timestamp(_))
            | (Call::ChangeConf(_) | Call::Transfer(_) | Call::Observe(_), Self::Done) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
