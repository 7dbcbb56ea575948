//! Messages that bytes decide: near what the replica would take, and now and then far off.

use bytes::Bytes;
use quorate_storage::snapshot::SnapshotLabel;
use quorate_storage::state::AppliedRecord;
use quorate_storage::{ConfState, Entry, EntryId, EntryKind, GroupUid, Incarnation, Index, ReplicaId, Term};
use quorate_transport::{RaftMessage, RaftMessageKind as Kind};

use super::shell::Shell;
use crate::fuzz::fixture::{conf_change, encoded, entry, replica};
use crate::fuzz::source::Source;

const KINDS: [Kind; 13] = [
    Kind::Append,
    Kind::AppendResponse,
    Kind::RequestVote,
    Kind::RequestVoteResponse,
    Kind::RequestPreVote,
    Kind::RequestPreVoteResponse,
    Kind::Snapshot,
    Kind::Heartbeat,
    Kind::HeartbeatResponse,
    Kind::TransferLeader,
    Kind::TimeoutNow,
    Kind::ReadIndex,
    Kind::ReadIndexResponse,
];

pub(super) fn message(source: &mut Source<'_>, shell: &Shell) -> RaftMessage {
    let kind = KINDS[source.below(KINDS.len())];
    let from = 1 + (source.near(2) % 6).min(4);
    let here = EntryId { term: shell.term(), index: shell.last().index };
    let mut message = shell.another_says(from, kind);
    message.term = Term(source.near(here.term.get()));
    message.log = position(source, here);
    message.commit = position(source, EntryId { index: shell.commit(), ..here });
    let flags = source.byte();
    message.reject = flags & 1 != 0;
    message.reject_hint = Index(source.near(here.index.get()));
    if flags & 2 != 0 {
        message.context = Bytes::from(vec![1; source.below(80)]);
    }
    if kind == Kind::Append || flags & 0xf0 == 0xf0 {
        message.entries = entries(source, message.log);
    }
    if (kind == Kind::Snapshot) != (flags & 0xf0 == 0xe0) {
        message.snapshot = Some(Box::new(SnapshotLabel { record: label(source, shell.record(), here) }));
    }
    if flags & 0xc == 0xc {
        disguise(source, &mut message);
    }
    message
}

/// Fields that are seldom wrong.
fn disguise(source: &mut Source<'_>, message: &mut RaftMessage) {
    match source.below(12) {
        0 => message.uid = GroupUid(source.id()),
        1 => message.to_incarnation = Incarnation(source.id()),
        2 => message.from_incarnation = Incarnation(source.id()),
        3 => message.to = ReplicaId(source.near(1)),
        4 => message.from = ReplicaId(source.long()),
        5 => message.request_snapshot = Index(source.near(2)),
        6 => message.priority = i64::from_le_bytes(source.long().to_le_bytes()),
        7 => message.to_incarnation = Incarnation::ZERO,
        _ => {}
    }
}

fn position(source: &mut Source<'_>, at: EntryId) -> EntryId {
    EntryId { term: Term(source.near(at.term.get())), index: Index(source.near(at.index.get())) }
}

fn entries(source: &mut Source<'_>, before: EntryId) -> Vec<Entry> {
    let (mut at, count) = (before, 4.min(source.below(8)));
    let one = |_| {
        let how = source.byte();
        let step = if how & 0xf0 == 0xf0 { source.long() } else { 1 };
        at.index = Index(at.index.get().wrapping_add(step));
        at.term = Term(at.term.get().wrapping_add(u64::from(how & 3 == 3)));
        if how & 4 == 0 {
            return Entry { kind: EntryKind::Normal, ..entry(at) };
        }
        let payload = match how >> 3 & 3 {
            0 => encoded(conf_change().encode()),
            1 => Bytes::new(),
            _ => Bytes::from(vec![how; source.below(40)]),
        };
        Entry { term: at.term, index: at.index, kind: EntryKind::ConfChange, payload }
    };
    (0..count).map(one).collect()
}

fn label(source: &mut Source<'_>, held: &AppliedRecord, here: EntryId) -> AppliedRecord {
    let mut record = held.clone();
    record.applied = position(source, here);
    let flags = source.byte();
    if flags & 1 != 0 {
        let mut ids =
            |count| (0..source.below(count)).map(|_| ReplicaId(source.near(2) % 8)).collect::<Vec<_>>();
        record.conf_state = ConfState {
            voters: ids(5),
            voters_outgoing: ids(3),
            learners: ids(3),
            learners_next: ids(3),
            auto_leave: flags & 2 != 0,
        };
    }
    if flags & 4 != 0 {
        record.descriptor.replicas = (1..=1 + source.below(6) as u64).map(replica).collect();
    }
    record
}
