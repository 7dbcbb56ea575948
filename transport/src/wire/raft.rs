//! Raft messages of any groups, batched into one body.

use std::path::Path;

use bytes::Bytes;
use quorate_storage::snapshot::SnapshotLabel;
use quorate_storage::state::AppliedRecord;
use quorate_storage::{Entry, EntryId, EntryKind, GroupId, GroupUid, Incarnation, Index, ReplicaId, Term};
use rkyv::{Archive, Serialize};

use crate::message::{RaftMessage, RaftMessageKind};
use crate::wire::WireError;
use crate::wire::rkyv_forms::{AsVec, access, archive_into, share};

/// Form of a batch. Frozen.
#[derive(Archive, Serialize)]
struct RaftBatchV1 {
    messages: Vec<RaftMessageV1>,
}

/// Form of one message. Frozen.
#[derive(Archive, Serialize)]
struct RaftMessageV1 {
    group: u64,
    uid: [u8; 16],
    from: u64,
    from_incarnation: [u8; 16],
    to: u64,
    to_incarnation: [u8; 16],
    kind: u8,
    term: u64,
    log_term: u64,
    log_index: u64,
    commit_term: u64,
    commit_index: u64,
    entries: Vec<EntryV1>,
    /// An encoded `AppliedRecord` (the storage crate's frozen form), or empty for none.
    #[rkyv(with = AsVec)]
    snapshot: Bytes,
    request_snapshot: u64,
    reject: bool,
    reject_hint: u64,
    #[rkyv(with = AsVec)]
    context: Bytes,
    priority: i64,
}

/// Form of one entry. Frozen.
#[derive(Archive, Serialize)]
struct EntryV1 {
    term: u64,
    index: u64,
    kind: u8,
    #[rkyv(with = AsVec)]
    payload: Bytes,
}

const _: () = assert!(size_of::<ArchivedRaftMessageV1>() == 162, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedEntryV1>() == 25, "as docs/FORMAT.md has it");

/// Bytes of a batch that belong to no message.
const BATCH_BYTES: usize = size_of::<ArchivedRaftBatchV1>();

/// An upper bound of what a batch of this one message takes as a body.
pub(crate) fn message_bytes(message: &RaftMessage) -> usize {
    let payloads: usize = message.entries.iter().map(|entry| entry.payload.len()).sum();
    BATCH_BYTES
        + size_of::<ArchivedRaftMessageV1>()
        + message.entries.len() * size_of::<ArchivedEntryV1>()
        + payloads
        + message.snapshot.as_deref().map_or(0, |label| label.record.encode().len())
        + message.context.len()
}

/// Appends the body of a batch. Payloads are copied once, into `buffer`.
pub(crate) fn encode_batch(messages: &[RaftMessage], buffer: &mut Vec<u8>) {
    let form = RaftBatchV1 { messages: messages.iter().map(RaftMessageV1::of).collect() };
    archive_into(&form, buffer);
}

/// Reads the body of a batch. Payloads share the memory of `body`.
pub(crate) fn decode_batch(body: &Bytes) -> Result<Vec<RaftMessage>, WireError> {
    let form = access::<ArchivedRaftBatchV1>(body, "batch of raft messages")?;
    form.messages.iter().map(|message| message.to_message(body)).collect()
}

impl RaftMessageV1 {
    fn of(message: &RaftMessage) -> Self {
        Self {
            group: message.group.get(),
            uid: message.uid.0,
            from: message.from.get(),
            from_incarnation: message.from_incarnation.0,
            to: message.to.get(),
            to_incarnation: message.to_incarnation.0,
            kind: kind_code(message.kind),
            term: message.term.get(),
            log_term: message.log.term.get(),
            log_index: message.log.index.get(),
            commit_term: message.commit.term.get(),
            commit_index: message.commit.index.get(),
            entries: message.entries.iter().map(EntryV1::of).collect(),
            snapshot: encode_label(message.snapshot.as_deref()),
            request_snapshot: message.request_snapshot.get(),
            reject: message.reject,
            reject_hint: message.reject_hint.get(),
            context: message.context.clone(),
            priority: message.priority,
        }
    }
}

impl EntryV1 {
    fn of(entry: &Entry) -> Self {
        Self {
            term: entry.term.get(),
            index: entry.index.get(),
            kind: entry.kind.code(),
            payload: entry.payload.clone(),
        }
    }
}

impl ArchivedRaftMessageV1 {
    fn to_message(&self, body: &Bytes) -> Result<RaftMessage, WireError> {
        let entries: Result<Vec<Entry>, WireError> =
            self.entries.iter().map(|entry| entry.to_entry(body)).collect();
        Ok(RaftMessage {
            group: GroupId(self.group.to_native()),
            uid: GroupUid(self.uid),
            from: ReplicaId(self.from.to_native()),
            from_incarnation: Incarnation(self.from_incarnation),
            to: ReplicaId(self.to.to_native()),
            to_incarnation: Incarnation(self.to_incarnation),
            kind: kind_from_code(self.kind)?,
            term: Term(self.term.to_native()),
            log: position(self.log_term.to_native(), self.log_index.to_native()),
            commit: position(self.commit_term.to_native(), self.commit_index.to_native()),
            entries: entries?,
            snapshot: decode_label(&self.snapshot)?,
            request_snapshot: Index(self.request_snapshot.to_native()),
            reject: self.reject,
            reject_hint: Index(self.reject_hint.to_native()),
            // Contexts are a few bytes: a copy does not keep the frame alive.
            context: Bytes::copy_from_slice(&self.context),
            priority: self.priority.to_native(),
        })
    }
}

impl ArchivedEntryV1 {
    fn to_entry(&self, body: &Bytes) -> Result<Entry, WireError> {
        Ok(Entry {
            term: Term(self.term.to_native()),
            index: Index(self.index.to_native()),
            kind: EntryKind::from_code(self.kind).ok_or(WireError::Malformed { what: "kind of an entry" })?,
            payload: share(body, &self.payload),
        })
    }
}

fn encode_label(label: Option<&SnapshotLabel>) -> Bytes {
    label.map_or_else(Bytes::new, |label| label.record.encode().into())
}

fn decode_label(bytes: &[u8]) -> Result<Option<Box<SnapshotLabel>>, WireError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    match AppliedRecord::decode(bytes, Path::new("snapshot message")) {
        Ok(Some(record)) => Ok(Some(Box::new(SnapshotLabel { record }))),
        Ok(None) | Err(_) => Err(WireError::Malformed { what: "label of a snapshot" }),
    }
}

const fn position(term: u64, index: u64) -> EntryId {
    EntryId { term: Term(term), index: Index(index) }
}

const fn kind_code(kind: RaftMessageKind) -> u8 {
    match kind {
        RaftMessageKind::Append => 1,
        RaftMessageKind::AppendResponse => 2,
        RaftMessageKind::RequestVote => 3,
        RaftMessageKind::RequestVoteResponse => 4,
        RaftMessageKind::RequestPreVote => 5,
        RaftMessageKind::RequestPreVoteResponse => 6,
        RaftMessageKind::Snapshot => 7,
        RaftMessageKind::Heartbeat => 8,
        RaftMessageKind::HeartbeatResponse => 9,
        RaftMessageKind::TransferLeader => 10,
        RaftMessageKind::TimeoutNow => 11,
        RaftMessageKind::ReadIndex => 12,
        RaftMessageKind::ReadIndexResponse => 13,
    }
}

const fn kind_from_code(code: u8) -> Result<RaftMessageKind, WireError> {
    Ok(match code {
        1 => RaftMessageKind::Append,
        2 => RaftMessageKind::AppendResponse,
        3 => RaftMessageKind::RequestVote,
        4 => RaftMessageKind::RequestVoteResponse,
        5 => RaftMessageKind::RequestPreVote,
        6 => RaftMessageKind::RequestPreVoteResponse,
        7 => RaftMessageKind::Snapshot,
        8 => RaftMessageKind::Heartbeat,
        9 => RaftMessageKind::HeartbeatResponse,
        10 => RaftMessageKind::TransferLeader,
        11 => RaftMessageKind::TimeoutNow,
        12 => RaftMessageKind::ReadIndex,
        13 => RaftMessageKind::ReadIndexResponse,
        _ => return Err(WireError::Malformed { what: "kind of a raft message" }),
    })
}
