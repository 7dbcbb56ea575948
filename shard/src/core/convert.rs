//! The boundary to raft-rs's structs. Entries carry our conf changes in raft's `context`, because raft-rs
//! looks inside `data` only when a conf change is proposed; so nothing from a wire or a disk is ever parsed
//! as protobuf.

use bytes::Bytes;
use quorate_storage::{ConfState, Entry, EntryId, EntryKind, HardState, Index, ReplicaId, Term};
use quorate_transport::{RaftMessage, RaftMessageKind};
use raft::eraftpb::{self, EntryType, MessageType};

/// An entry for raft-rs. No copy of the payload.
pub(super) fn entry_to_raft(entry: Entry) -> eraftpb::Entry {
    let mut raw = eraftpb::Entry { term: entry.term.get(), index: entry.index.get(), ..Default::default() };
    match entry.kind {
        EntryKind::Normal => raw.data = entry.payload,
        EntryKind::ConfChange => {
            raw.set_entry_type(EntryType::EntryConfChangeV2);
            raw.context = entry.payload;
        }
    }
    raw
}

/// An entry in our form. The empty conf change that raft-rs appends to leave joint consensus has an empty
/// payload.
pub(super) fn entry_from_raft(raw: &eraftpb::Entry) -> Entry {
    let kind = if is_conf_change(raw) { EntryKind::ConfChange } else { EntryKind::Normal };
    let payload = match kind {
        EntryKind::Normal => raw.data.clone(),
        EntryKind::ConfChange => raw.context.clone(),
    };
    Entry { term: Term(raw.term), index: Index(raw.index), kind, payload }
}

/// Whether raft-rs counts the entry as a conf change.
pub(super) fn is_conf_change(raw: &eraftpb::Entry) -> bool {
    raw.get_entry_type() != EntryType::EntryNormal
}

/// Bytes an entry weighs in budgets.
pub(super) fn weight(raw: &eraftpb::Entry) -> u64 {
    (raw.data.len() + raw.context.len() + size_of::<eraftpb::Entry>()) as u64
}

pub(super) fn hard_state_to_raft(hard_state: HardState) -> eraftpb::HardState {
    eraftpb::HardState {
        term: hard_state.term.get(),
        vote: hard_state.vote.map_or(raft::INVALID_ID, ReplicaId::get),
        commit: hard_state.commit.get(),
        ..Default::default()
    }
}

pub(super) fn hard_state_from_raft(raw: &eraftpb::HardState) -> HardState {
    HardState { term: Term(raw.term), vote: replica(raw.vote), commit: Index(raw.commit) }
}

/// raft-rs's "nobody" is 0.
pub(super) fn replica(raw: u64) -> Option<ReplicaId> {
    (raw != raft::INVALID_ID).then_some(ReplicaId(raw))
}

pub(super) fn conf_state_to_raft(conf_state: &ConfState) -> eraftpb::ConfState {
    let ids = |set: &[ReplicaId]| set.iter().map(|id| id.get()).collect::<Vec<_>>();
    let mut raw = eraftpb::ConfState::default();
    raw.set_voters(ids(&conf_state.voters));
    raw.set_voters_outgoing(ids(&conf_state.voters_outgoing));
    raw.set_learners(ids(&conf_state.learners));
    raw.set_learners_next(ids(&conf_state.learners_next));
    raw.set_auto_leave(conf_state.auto_leave);
    raw
}

/// Sorted, so that it is the same on every replica.
pub(super) fn conf_state_from_raft(raw: &eraftpb::ConfState) -> ConfState {
    let ids = |set: &[u64]| {
        let mut ids: Vec<_> = set.iter().copied().map(ReplicaId).collect();
        ids.sort_unstable();
        ids
    };
    ConfState {
        voters: ids(raw.get_voters()),
        voters_outgoing: ids(raw.get_voters_outgoing()),
        learners: ids(raw.get_learners()),
        learners_next: ids(raw.get_learners_next()),
        auto_leave: raw.get_auto_leave(),
    }
}

/// A snapshot as raft-rs sees it: its position and membership; the state travels beside raft.
pub(super) fn snapshot_to_raft(id: EntryId, conf_state: &ConfState) -> eraftpb::Snapshot {
    let mut raw = eraftpb::Snapshot::default();
    let metadata = raw.mut_metadata();
    metadata.index = id.index.get();
    metadata.term = id.term.get();
    metadata.set_conf_state(conf_state_to_raft(conf_state));
    raw
}

/// A validated message for raft-rs.
pub(super) fn message_to_raft(message: RaftMessage) -> eraftpb::Message {
    let mut raw = eraftpb::Message::default();
    raw.set_msg_type(kind_to_raft(message.kind));
    raw.from = message.from.get();
    raw.to = message.to.get();
    raw.term = message.term.get();
    raw.log_term = message.log.term.get();
    raw.index = message.log.index.get();
    raw.commit = message.commit.index.get();
    raw.commit_term = message.commit.term.get();
    raw.set_entries(message.entries.into_iter().map(entry_to_raft).collect::<Vec<_>>().into());
    if let Some(label) = &message.snapshot {
        raw.set_snapshot(snapshot_to_raft(label.record.applied, &label.record.conf_state));
    }
    raw.request_snapshot = message.request_snapshot.get();
    raw.reject = message.reject;
    raw.reject_hint = message.reject_hint.get();
    raw.context = message.context;
    raw.priority = message.priority;
    raw
}

/// The parts of an outgoing message that raft-rs knows; the caller adds the identities.
pub(super) fn fill_from_raft(message: &mut RaftMessage, raw: &mut eraftpb::Message) {
    message.from = ReplicaId(raw.from);
    message.to = ReplicaId(raw.to);
    message.term = Term(raw.term);
    message.log = EntryId { term: Term(raw.log_term), index: Index(raw.index) };
    message.commit = EntryId { term: Term(raw.commit_term), index: Index(raw.commit) };
    message.entries = raw.get_entries().iter().map(entry_from_raft).collect();
    message.request_snapshot = Index(raw.request_snapshot);
    message.reject = raw.reject;
    message.reject_hint = Index(raw.reject_hint);
    message.context = std::mem::replace(&mut raw.context, Bytes::new());
    message.priority = raw.priority;
}

fn kind_to_raft(kind: RaftMessageKind) -> MessageType {
    match kind {
        RaftMessageKind::Append => MessageType::MsgAppend,
        RaftMessageKind::AppendResponse => MessageType::MsgAppendResponse,
        RaftMessageKind::RequestVote => MessageType::MsgRequestVote,
        RaftMessageKind::RequestVoteResponse => MessageType::MsgRequestVoteResponse,
        RaftMessageKind::RequestPreVote => MessageType::MsgRequestPreVote,
        RaftMessageKind::RequestPreVoteResponse => MessageType::MsgRequestPreVoteResponse,
        RaftMessageKind::Snapshot => MessageType::MsgSnapshot,
        RaftMessageKind::Heartbeat => MessageType::MsgHeartbeat,
        RaftMessageKind::HeartbeatResponse => MessageType::MsgHeartbeatResponse,
        RaftMessageKind::TransferLeader => MessageType::MsgTransferLeader,
        RaftMessageKind::TimeoutNow => MessageType::MsgTimeoutNow,
        RaftMessageKind::ReadIndex => MessageType::MsgReadIndex,
        RaftMessageKind::ReadIndexResponse => MessageType::MsgReadIndexResp,
    }
}

/// `None` for raft-rs's local messages, which never travel.
pub(super) fn kind_from_raft(kind: MessageType) -> Option<RaftMessageKind> {
    Some(match kind {
        MessageType::MsgAppend => RaftMessageKind::Append,
        MessageType::MsgAppendResponse => RaftMessageKind::AppendResponse,
        MessageType::MsgRequestVote => RaftMessageKind::RequestVote,
        MessageType::MsgRequestVoteResponse => RaftMessageKind::RequestVoteResponse,
        MessageType::MsgRequestPreVote => RaftMessageKind::RequestPreVote,
        MessageType::MsgRequestPreVoteResponse => RaftMessageKind::RequestPreVoteResponse,
        MessageType::MsgSnapshot => RaftMessageKind::Snapshot,
        MessageType::MsgHeartbeat => RaftMessageKind::Heartbeat,
        MessageType::MsgHeartbeatResponse => RaftMessageKind::HeartbeatResponse,
        MessageType::MsgTransferLeader => RaftMessageKind::TransferLeader,
        MessageType::MsgTimeoutNow => RaftMessageKind::TimeoutNow,
        MessageType::MsgReadIndex => RaftMessageKind::ReadIndex,
        MessageType::MsgReadIndexResp => RaftMessageKind::ReadIndexResponse,
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum => return None,
    })
}
