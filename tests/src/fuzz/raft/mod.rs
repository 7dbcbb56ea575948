//! The core behind its gate, on messages that no correct replica sends, and on starts that nobody should make.

mod forge;
mod messages;
mod shell;
mod start;
mod steps;

use super::Target;

pub(super) use start::starts_or_refuses;

pub(super) const TARGETS: &[Target] = &[
    Target { name: "raft_messages", what: messages::raft_messages, seeds: messages::seeds },
    Target { name: "raft_steps", what: steps::raft_steps, seeds: steps::seeds },
    Target { name: "raft_start", what: start::raft_start, seeds: start::seeds },
];
