//! Which accepted connections stand: at most one per node and lane.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use quorate_storage::NodeId;
use tokio_util::sync::CancellationToken;

use crate::message::Lane;

#[derive(Debug)]
struct Standing {
    number: u64,
    replaced: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    standing: BTreeMap<(NodeId, Lane), Standing>,
    last_number: u64,
}

/// The accepted connections of a node.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    state: Mutex<State>,
}

/// A connection's place; gives it up when dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    registry: &'a Registry,
    key: (NodeId, Lane),
    number: u64,
    /// Cancelled when the same node opens the lane anew.
    pub(crate) replaced: CancellationToken,
}

impl Registry {
    /// Takes the place of `node`'s `lane`; who had it is told to go.
    pub(crate) fn enter(&self, node: NodeId, lane: Lane) -> Place<'_> {
        let mut state = self.state.lock();
        state.last_number += 1;
        let number = state.last_number;
        let replaced = CancellationToken::new();
        let standing = Standing { number, replaced: replaced.clone() };
        let before = state.standing.insert((node, lane), standing);
        drop(state);
        if let Some(before) = before {
            before.replaced.cancel();
        }
        Place { registry: self, key: (node, lane), number, replaced }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.registry.state.lock();
        if state.standing.get(&self.key).is_some_and(|standing| standing.number == self.number) {
            state.standing.remove(&self.key);
        }
    }
}
