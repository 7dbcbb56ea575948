//! Batches of raft messages as they travel, to a core that stands where they were meant for.

use bytes::Bytes;
use quorate_shard::core::Input;
use quorate_storage::snapshot::SnapshotLabel;
use quorate_storage::{ConfState, EntryId, Index, ReplicaId, Term};
use quorate_transport::wire::fuzzing;
use quorate_transport::{RaftMessage, RaftMessageKind as Kind};

use super::shell::{Role, Shell};
use crate::fuzz::fixture::{entry, record};
use crate::fuzz::source::Source;

/// Most messages of a batch that are fed.
const MESSAGES_MAX: usize = 32;

/// The first byte says what the replica is, the rest is the body of a frame.
pub(super) fn raft_messages(bytes: &[u8]) {
    let mut source = Source(bytes);
    let role = Role::drawn(&mut source);
    let Some(messages) = fuzzing::messages(source.0) else { return };
    let mut shell = Shell::new(role);
    for message in messages.into_iter().take(MESSAGES_MAX) {
        match message.kind {
            Kind::Snapshot => shell.receive_snapshot(message),
            _ => shell.feed(Input::Message(message)),
        }
        shell.write_one();
        shell.apply_one();
    }
    shell.settle();
    shell.feed(Input::Tick);
}

/// For each role, what it may hear next.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let roles = [
        (Role::Follower, [Kind::Append, Kind::Heartbeat, Kind::TimeoutNow]),
        (Role::PreCandidate, [Kind::RequestPreVoteResponse, Kind::RequestVote, Kind::Append]),
        (Role::Candidate, [Kind::RequestVoteResponse, Kind::RequestPreVote, Kind::Heartbeat]),
        (Role::Leader, [Kind::AppendResponse, Kind::HeartbeatResponse, Kind::RequestVote]),
        (Role::Joining, [Kind::Snapshot, Kind::Append, Kind::Heartbeat]),
        (Role::Waiting, [Kind::Heartbeat, Kind::Snapshot, Kind::Append]),
    ];
    let of = |(role, kinds): (Role, [Kind; 3])| {
        let shell = Shell::new(role);
        let messages = kinds.map(|kind| honest(&shell, kind));
        [vec![role.code()], fuzzing::batch(&messages)].concat()
    };
    roles.into_iter().map(of).collect()
}

/// What replica 2 could say.
fn honest(shell: &Shell, kind: Kind) -> RaftMessage {
    let (last, commit) = (shell.last(), shell.commit());
    let mut message = shell.another_says(2, kind);
    let next = EntryId { term: message.term, index: last.index.next() };
    match kind {
        Kind::Append => {
            (message.log, message.entries) = (last, vec![entry(next)]);
            message.commit.index = commit;
        }
        Kind::Heartbeat => message.commit.index = commit,
        Kind::RequestVote => (message.log, message.term) = (last, Term(message.term.get() + 1)),
        Kind::RequestPreVote => message.log = last,
        Kind::RequestPreVoteResponse => message.term = Term(message.term.get() + 1),
        Kind::AppendResponse => message.log.index = last.index,
        Kind::HeartbeatResponse => message.context = Bytes::from_static(&[0; 8]),
        Kind::Snapshot => {
            let mut held = record(EntryId { term: Term(1), index: Index(20) }, 3);
            held.conf_state = ConfState { voters: [1, 2, 3].map(ReplicaId).to_vec(), ..ConfState::default() };
            message.snapshot = Some(Box::new(SnapshotLabel { record: held }));
            message.term = Term(message.term.get().max(1));
        }
        _ => {}
    }
    message
}
