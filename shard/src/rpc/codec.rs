//! The wire form of requests and replies: frozen rkyv types, bytechecked, then converted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_storage::kv::KeysPage;
use quorate_storage::{
    ConfChange, ConfEpoch, EntryId, GroupDescriptor, GroupId, GroupUid, Index, NodeId, RangeEpoch, ReplicaId,
    Term, Timestamp,
};
use rkyv::rancor;

use super::{Announcement, Call, LED_MAX, Led, Reply, Request, Scan};
use crate::actor::{ConsistencyReport, ReadLevel};
use crate::error::{Error, LeaderHint};

const BAD_REQUEST: quorate_storage::Error = quorate_storage::Error::Malformed { what: "request" };
const BAD_REPLY: quorate_storage::Error = quorate_storage::Error::Malformed { what: "reply" };

/// Why a leader refuses membership changes.
pub(super) const REFUSALS: [&str; 11] = [
    "raft refused it",
    "it has no steps",
    "it has too many steps",
    "the leader must hand over before it is removed",
    "only a voter can lead",
    "only a learner can be promoted",
    "not a replica id",
    "the replica is not a member",
    "one replica is named twice",
    "the last voter cannot be removed",
    "the replica is a member already",
];

type Raw = Vec<u8>;

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum RequestV1 {
    Group { group: u64, epoch: u64, call: CallV1 },
    Catalog { have: Option<u64> },
    Leaders { is_complete: bool, led: Vec<LedV1> },
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct LedV1 {
    group: u64,
    uid: [u8; 16],
    term: u64,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum CallV1 {
    Propose(Raw),
    Get { level: LevelV1, keys: Vec<Raw> },
    Scan { level: LevelV1, start: Raw, end: Option<Raw>, reverse: bool, limit: u64, bytes_max: u64 },
    Query { level: LevelV1, body: Raw },
    ChangeConf(Raw),
    Transfer(u64),
    Keys { level: LevelV1, start: Raw, end: Option<Raw>, limit: u64, bytes_max: u64 },
    Count { level: LevelV1 },
    Timestamp,
    Observe(u64),
    CheckConsistency,
}

#[derive(Clone, Copy, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum LevelV1 {
    Linearizable,
    BoundedStale { millis_max: u64 },
    Local,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum ReplyV1 {
    Applied { term: u64, index: u64, output: Raw },
    Values(Vec<Option<Raw>>),
    Pairs(Vec<(Raw, Raw)>),
    Answer(Raw),
    Done,
    Catalog(Vec<(Raw, Raw)>),
    Failed(ErrorV1),
    Keys { keys: Vec<Raw>, next: Option<Raw> },
    Count(u64),
    Timestamp(u64),
    Consistency(Raw),
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum ErrorV1 {
    NotLeader { group: u64, hint: Option<(u64, u64)> },
    Busy { group: u64, retry_after_micros: u64 },
    Transferring { group: u64 },
    Quarantined { group: u64, reason: String, maybe_committed: bool },
    Stopped { group: u64 },
    NoSuchGroup { group: u64 },
    DeadlineExceeded,
    Indeterminate { group: u64 },
    StaleRange { newer: Raw },
    ConfChangePending { group: u64 },
    ConfEpochMismatch { expected: u64, current: u64 },
    ConfChangeRefused { text: String },
    Lagging { replica: u64, entries: u64 },
    Invalid { text: String },
    Read { text: String },
    DiskFull { group: u64, free_bytes: u64, needed_bytes: u64 },
    NoCeiling { group: u64 },
    CeilingExpired { group: u64, ceiling: u64 },
    ClockSkew { group: u64, offset_ms: i64 },
    TimestampAhead { group: u64, ahead_ms: u64 },
}

const _: () = assert!(size_of::<ArchivedRequestV1>() == 61, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedLedV1>() == 32, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedCallV1>() == 44, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedLevelV1>() == 9, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedReplyV1>() == 27, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedErrorV1>() == 26, "as docs/FORMAT.md has it");

impl Request {
    /// The request's bytes.
    ///
    /// # Errors
    /// [`quorate_storage::Error::TooLarge`] for a membership change with too many steps, or an announcement of too
    /// many groups.
    pub fn encode(&self) -> quorate_storage::Result<Bytes> {
        let form = match self {
            Self::Group { group, epoch, call } => {
                RequestV1::Group { group: group.get(), epoch: epoch.get(), call: call.try_into()? }
            }
            Self::Catalog { have } => RequestV1::Catalog { have: *have },
            Self::Leaders(announcement) => announcement.try_into()?,
        };
        Ok(seal(rkyv::to_bytes::<rancor::Error>(&form)))
    }

    /// Reads a request of another node.
    ///
    /// # Errors
    /// [`quorate_storage::Error::Malformed`].
    pub fn decode(bytes: &[u8]) -> quorate_storage::Result<Self> {
        Ok(match rkyv::from_bytes::<RequestV1, rancor::Error>(bytes).map_err(|_| BAD_REQUEST)? {
            RequestV1::Group { group, epoch, call } => {
                Self::Group { group: GroupId(group), epoch: RangeEpoch(epoch), call: call.try_into()? }
            }
            RequestV1::Catalog { have } => Self::Catalog { have },
            RequestV1::Leaders { led, .. } if led.len() > LED_MAX => return Err(BAD_REQUEST),
            RequestV1::Leaders { is_complete, led } => {
                Self::Leaders(Announcement { is_complete, led: led.into_iter().map(Into::into).collect() })
            }
        })
    }
}

impl Reply {
    /// The reply's bytes.
    pub fn encode(self) -> Bytes {
        let form = match self {
            Self::Applied { id, output } => {
                ReplyV1::Applied { term: id.term.get(), index: id.index.get(), output: output.into() }
            }
            Self::Values(values) => {
                ReplyV1::Values(values.into_iter().map(|value| value.map(Into::into)).collect())
            }
            Self::Pairs(pairs) => ReplyV1::Pairs(raw_pairs(pairs)),
            Self::Answer(answer) => ReplyV1::Answer(answer.into()),
            Self::Done => ReplyV1::Done,
            Self::Catalog(pairs) => ReplyV1::Catalog(raw_pairs(pairs)),
            Self::Failed(error) => ReplyV1::Failed(error.into()),
            Self::Keys(page) => ReplyV1::Keys {
                keys: page.keys.into_iter().map(Into::into).collect(),
                next: page.next.map(Into::into),
            },
            Self::Count(count) => ReplyV1::Count(count),
            Self::Timestamp(timestamp) => ReplyV1::Timestamp(timestamp.get()),
            Self::Consistency(report) => ReplyV1::Consistency(report.encode().into()),
        };
        seal(rkyv::to_bytes::<rancor::Error>(&form))
    }

    /// Reads a reply of another node.
    ///
    /// # Errors
    /// [`quorate_storage::Error::Malformed`].
    pub fn decode(bytes: &[u8]) -> quorate_storage::Result<Self> {
        Ok(match rkyv::from_bytes::<ReplyV1, rancor::Error>(bytes).map_err(|_| BAD_REPLY)? {
            ReplyV1::Applied { term, index, output } => {
                Self::Applied { id: EntryId { term: Term(term), index: Index(index) }, output: output.into() }
            }
            ReplyV1::Values(values) => {
                Self::Values(values.into_iter().map(|value| value.map(Into::into)).collect())
            }
            ReplyV1::Pairs(pairs) => Self::Pairs(bytes_pairs(pairs)),
            ReplyV1::Answer(answer) => Self::Answer(answer.into()),
            ReplyV1::Done => Self::Done,
            ReplyV1::Catalog(pairs) => Self::Catalog(bytes_pairs(pairs)),
            ReplyV1::Failed(error) => Self::Failed(error.try_into()?),
            ReplyV1::Keys { keys, next } => Self::Keys(KeysPage {
                keys: keys.into_iter().map(Into::into).collect(),
                next: next.map(Into::into),
            }),
            ReplyV1::Count(count) => Self::Count(count),
            ReplyV1::Timestamp(timestamp) => Self::Timestamp(Timestamp(timestamp)),
            ReplyV1::Consistency(report) => Self::Consistency(ConsistencyReport::decode(&report)?),
        })
    }
}

impl TryFrom<&Announcement> for RequestV1 {
    type Error = quorate_storage::Error;

    fn try_from(announcement: &Announcement) -> Result<Self, Self::Error> {
        let count = announcement.led.len();
        if count > LED_MAX {
            let (bytes, bytes_max) = (count as u64, LED_MAX as u64);
            return Err(quorate_storage::Error::TooLarge {
                what: "groups of an announcement",
                bytes,
                bytes_max,
            });
        }
        let led = announcement.led.iter().map(|&led| led.into()).collect();
        Ok(Self::Leaders { is_complete: announcement.is_complete, led })
    }
}

impl From<Led> for LedV1 {
    fn from(led: Led) -> Self {
        Self { group: led.group.get(), uid: led.uid.0, term: led.term.get() }
    }
}

impl From<LedV1> for Led {
    fn from(led: LedV1) -> Self {
        Self { group: GroupId(led.group), uid: GroupUid(led.uid), term: Term(led.term) }
    }
}

impl TryFrom<&Call> for CallV1 {
    type Error = quorate_storage::Error;

    fn try_from(call: &Call) -> Result<Self, Self::Error> {
        Ok(match call {
            Call::Propose(body) => Self::Propose(body.to_vec()),
            Call::Get { level, keys } => {
                Self::Get { level: (*level).into(), keys: keys.iter().map(|key| key.to_vec()).collect() }
            }
            Call::Scan { level, scan } => Self::Scan {
                level: (*level).into(),
                start: scan.start.to_vec(),
                end: scan.end.as_ref().map(|end| end.to_vec()),
                reverse: scan.reverse,
                limit: scan.limit as u64,
                bytes_max: scan.bytes_max as u64,
            },
            Call::Query { level, body } => Self::Query { level: (*level).into(), body: body.to_vec() },
            Call::ChangeConf(change) => Self::ChangeConf(change.encode()?.into()),
            Call::Transfer(to) => Self::Transfer(to.get()),
            Call::Keys { level, scan } => Self::Keys {
                level: (*level).into(),
                start: scan.start.to_vec(),
                end: scan.end.as_ref().map(|end| end.to_vec()),
                limit: scan.limit as u64,
                bytes_max: scan.bytes_max as u64,
            },
            Call::Count { level } => Self::Count { level: (*level).into() },
            Call::Timestamp => Self::Timestamp,
            Call::Observe(remote) => Self::Observe(remote.get()),
            Call::CheckConsistency => Self::CheckConsistency,
        })
    }
}

impl TryFrom<CallV1> for Call {
    type Error = quorate_storage::Error;

    fn try_from(call: CallV1) -> Result<Self, Self::Error> {
        let size = |value: u64| usize::try_from(value).map_err(|_| BAD_REQUEST);
        Ok(match call {
            CallV1::Propose(body) => Self::Propose(body.into()),
            CallV1::Get { level, keys } => {
                Self::Get { level: level.into(), keys: keys.into_iter().map(Into::into).collect() }
            }
            CallV1::Scan { level, start, end, reverse, limit, bytes_max } => Self::Scan {
                level: level.into(),
                scan: Scan {
                    start: start.into(),
                    end: end.map(Into::into),
                    reverse,
                    limit: size(limit)?,
                    bytes_max: size(bytes_max)?,
                },
            },
            CallV1::Query { level, body } => Self::Query { level: level.into(), body: body.into() },
            CallV1::ChangeConf(change) => Self::ChangeConf(ConfChange::decode(&change.into())?),
            CallV1::Transfer(to) => Self::Transfer(ReplicaId(to)),
            CallV1::Keys { level, start, end, limit, bytes_max } => Self::Keys {
                level: level.into(),
                scan: Scan {
                    start: start.into(),
                    end: end.map(Into::into),
                    reverse: false,
                    limit: size(limit)?,
                    bytes_max: size(bytes_max)?,
                },
            },
            CallV1::Count { level } => Self::Count { level: level.into() },
            CallV1::Timestamp => Self::Timestamp,
            CallV1::Observe(remote) => Self::Observe(Timestamp(remote)),
            CallV1::CheckConsistency => Self::CheckConsistency,
        })
    }
}

impl From<ReadLevel> for LevelV1 {
    fn from(level: ReadLevel) -> Self {
        match level {
            ReadLevel::Linearizable => Self::Linearizable,
            ReadLevel::BoundedStale { lag_max } => {
                Self::BoundedStale { millis_max: u64::try_from(lag_max.as_millis()).unwrap_or(u64::MAX) }
            }
            ReadLevel::Local => Self::Local,
        }
    }
}

impl From<LevelV1> for ReadLevel {
    fn from(level: LevelV1) -> Self {
        match level {
            LevelV1::Linearizable => Self::Linearizable,
            LevelV1::BoundedStale { millis_max } => {
                Self::BoundedStale { lag_max: Duration::from_millis(millis_max) }
            }
            LevelV1::Local => Self::Local,
        }
    }
}

impl From<Error> for ErrorV1 {
    fn from(error: Error) -> Self {
        match error {
            Error::NotLeader { group, hint } => Self::NotLeader {
                group: group.get(),
                hint: hint.map(|hint| (hint.replica.get(), hint.node.get())),
            },
            Error::Busy { group, retry_after } => Self::Busy {
                group: group.get(),
                retry_after_micros: u64::try_from(retry_after.as_micros()).unwrap_or(u64::MAX),
            },
            Error::Transferring { group } => Self::Transferring { group: group.get() },
            Error::Quarantined { group, reason, maybe_committed } => {
                Self::Quarantined { group: group.get(), reason: reason.to_string(), maybe_committed }
            }
            Error::Stopped { group } => Self::Stopped { group: group.get() },
            Error::NoSuchGroup { group } => Self::NoSuchGroup { group: group.get() },
            Error::DeadlineExceeded => Self::DeadlineExceeded,
            Error::Indeterminate { group } => Self::Indeterminate { group: group.get() },
            Error::StaleRange { newer } => Self::StaleRange { newer: newer.encode().into() },
            Error::ConfChangePending { group } => Self::ConfChangePending { group: group.get() },
            Error::ConfEpochMismatch { expected, current } => {
                Self::ConfEpochMismatch { expected: expected.get(), current: current.get() }
            }
            Error::ConfChangeRefused(why) => Self::ConfChangeRefused { text: why.to_owned() },
            Error::Lagging { replica, entries } => Self::Lagging { replica: replica.get(), entries },
            Error::Invalid(source) => Self::Invalid { text: source.to_string() },
            Error::Read(source) => Self::Read { text: source.to_string() },
            Error::DiskFull { group, free_bytes, needed_bytes } => {
                Self::DiskFull { group: group.get(), free_bytes, needed_bytes }
            }
            Error::NoCeiling { group } => Self::NoCeiling { group: group.get() },
            Error::CeilingExpired { group, ceiling } => {
                Self::CeilingExpired { group: group.get(), ceiling: ceiling.get() }
            }
            Error::ClockSkew { group, offset_ms } => Self::ClockSkew { group: group.get(), offset_ms },
            Error::TimestampAhead { group, ahead_ms } => {
                Self::TimestampAhead { group: group.get(), ahead_ms }
            }
        }
    }
}

impl TryFrom<ErrorV1> for Error {
    type Error = quorate_storage::Error;

    fn try_from(error: ErrorV1) -> Result<Self, quorate_storage::Error> {
        Ok(match error {
            ErrorV1::NotLeader { group, hint } => Self::NotLeader {
                group: GroupId(group),
                hint: hint
                    .map(|(replica, node)| LeaderHint { replica: ReplicaId(replica), node: NodeId(node) }),
            },
            ErrorV1::Busy { group, retry_after_micros } => {
                Self::Busy { group: GroupId(group), retry_after: Duration::from_micros(retry_after_micros) }
            }
            ErrorV1::Transferring { group } => Self::Transferring { group: GroupId(group) },
            ErrorV1::Quarantined { group, reason, maybe_committed } => {
                Self::Quarantined { group: GroupId(group), reason: Arc::from(reason), maybe_committed }
            }
            ErrorV1::Stopped { group } => Self::Stopped { group: GroupId(group) },
            ErrorV1::NoSuchGroup { group } => Self::NoSuchGroup { group: GroupId(group) },
            ErrorV1::DeadlineExceeded => Self::DeadlineExceeded,
            ErrorV1::Indeterminate { group } => Self::Indeterminate { group: GroupId(group) },
            ErrorV1::StaleRange { newer } => {
                Self::StaleRange { newer: Box::new(GroupDescriptor::decode(&newer)?) }
            }
            ErrorV1::ConfChangePending { group } => Self::ConfChangePending { group: GroupId(group) },
            ErrorV1::ConfEpochMismatch { expected, current } => {
                Self::ConfEpochMismatch { expected: ConfEpoch(expected), current: ConfEpoch(current) }
            }
            ErrorV1::ConfChangeRefused { text } => Self::ConfChangeRefused(known_refusal(&text)),
            ErrorV1::Lagging { replica, entries } => Self::Lagging { replica: ReplicaId(replica), entries },
            ErrorV1::Invalid { text } => Self::Invalid(remote(text)),
            ErrorV1::Read { text } => Self::Read(remote(text)),
            ErrorV1::DiskFull { group, free_bytes, needed_bytes } => {
                Self::DiskFull { group: GroupId(group), free_bytes, needed_bytes }
            }
            ErrorV1::NoCeiling { group } => Self::NoCeiling { group: GroupId(group) },
            ErrorV1::CeilingExpired { group, ceiling } => {
                Self::CeilingExpired { group: GroupId(group), ceiling: Timestamp(ceiling) }
            }
            ErrorV1::ClockSkew { group, offset_ms } => Self::ClockSkew { group: GroupId(group), offset_ms },
            ErrorV1::TimestampAhead { group, ahead_ms } => {
                Self::TimestampAhead { group: GroupId(group), ahead_ms }
            }
        })
    }
}

/// The text of a refusal, if it is one that this release knows: static texts have to come from here.
fn known_refusal(text: &str) -> &'static str {
    REFUSALS.iter().find(|known| **known == text).copied().unwrap_or("the leader refused it")
}

fn remote(text: String) -> quorate_storage::Error {
    quorate_storage::Error::Remote { text }
}

fn raw_pairs(pairs: Vec<(Bytes, Bytes)>) -> Vec<(Raw, Raw)> {
    pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}

fn bytes_pairs(pairs: Vec<(Raw, Raw)>) -> Vec<(Bytes, Bytes)> {
    pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}

fn seal(result: Result<rkyv::util::AlignedVec, rancor::Error>) -> Bytes {
    Bytes::from_owner(result.expect("serializing into memory does not fail"))
}
