//! A core, driven by bytes: forged messages among everything else that happens to a replica.

use quorate_shard::core::Input;
use quorate_storage::{ConfChange, ConfChangeOp, ConfEpoch, ReplicaId, Term};
use quorate_transport::RaftMessageKind as Kind;

use super::forge;
use super::shell::{Role, Shell};
use crate::fuzz::fixture::{command_payload, replica};
use crate::fuzz::source::Source;

/// Most things that happen in one input.
const STEPS_MAX: usize = 64;

/// The first byte says what the replica is; then one byte for each step, and what it needs.
pub(super) fn raft_steps(bytes: &[u8]) {
    let mut source = Source(bytes);
    let mut shell = Shell::new(Role::drawn(&mut source));
    for _ in 0..STEPS_MAX {
        if source.is_empty() {
            break;
        }
        step(&mut source, &mut shell);
    }
    shell.settle();
    shell.feed(Input::Tick);
}

fn step(source: &mut Source<'_>, shell: &mut Shell) {
    match source.byte() % 32 {
        0..=13 => {
            let message = forge::message(source, shell);
            if message.kind == Kind::Snapshot {
                shell.receive_snapshot(message);
            } else {
                shell.feed(Input::Message(message));
            }
        }
        14 => (0..=source.below(24)).for_each(|_| shell.feed(Input::Tick)),
        15..=17 => drop(shell.write_one()),
        18..=19 => drop(shell.apply_one()),
        20 => {
            let is_readable = source.byte() & 1 == 0;
            shell.read_one(is_readable);
        }
        21 => {
            let is_compacted = source.byte() & 1 == 0;
            shell.publish(is_compacted);
        }
        other => ask(other, source, shell),
    }
}

/// What the shell's callers, and other shells, ask for.
fn ask(what: u8, source: &mut Source<'_>, shell: &mut Shell) {
    let ticket = shell.ticket();
    let whom = ReplicaId(source.near(2) % 8);
    let input = match what {
        22 | 23 => {
            let body = vec![source.byte(); 8].into();
            Input::Propose { ticket, payload: command_payload(body).encode() }
        }
        24 => Input::ProposeConfChange { ticket, change: change(source, shell) },
        25 => Input::Read { ticket },
        26 => Input::Transfer { ticket, to: whom },
        27 => Input::Campaign,
        28 => Input::Abstain(source.byte() & 1 == 0),
        29 => Input::LeaderQuarantined { replica: whom, term: Term(source.near(shell.term().get())) },
        30 => Input::Unreachable { replica: whom },
        _ => Input::SnapshotSent { to: whom, delivered: source.byte() & 1 == 0 },
    };
    shell.feed(input);
}

fn change(source: &mut Source<'_>, shell: &Shell) -> ConfChange {
    let epoch = source.near(shell.group.descriptor().conf_epoch.get() + 3);
    let op = |source: &mut Source<'_>| {
        let id = source.near(3) % 8;
        match source.below(3) {
            0 => ConfChangeOp::AddLearner(replica(id)),
            1 => ConfChangeOp::Promote(ReplicaId(id)),
            _ => ConfChangeOp::Remove(ReplicaId(id)),
        }
    };
    let ops = (0..source.below(4)).map(|_| op(source)).collect();
    ConfChange { expected_epoch: ConfEpoch(epoch), ops }
}

/// Each role, with a bit of everything.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let roles =
        [Role::Follower, Role::PreCandidate, Role::Candidate, Role::Leader, Role::Alone, Role::Joining];
    let of = |role: Role| {
        let mut bytes = vec![role.code()];
        for at in 0..96_u32 {
            bytes.extend_from_slice(
                &(at * 7 + u32::from(role.code())).wrapping_mul(0x9e37_79b1).to_le_bytes(),
            );
        }
        bytes
    };
    roles.into_iter().chain([Role::Waiting]).map(of).collect()
}
