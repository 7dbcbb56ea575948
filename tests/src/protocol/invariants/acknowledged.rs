//! No acknowledged write is lost.

use std::collections::BTreeMap;

use quorate_storage::payload::ProposalId;
use quorate_storage::{EntryId, GroupId, Index};

use super::state_machine::States;
use super::{Checked, Law, broken};

/// What clients were told to be done.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    writes: Vec<(GroupId, EntryId, ProposalId)>,
    newest: BTreeMap<GroupId, Index>,
}

impl Acknowledged {
    /// The write of `proposal` is acknowledged, at `id`.
    pub(crate) fn write(&mut self, group: GroupId, id: EntryId, proposal: ProposalId) {
        self.writes.push((group, id, proposal));
        self.seen(group, id.index);
    }

    /// Somebody was told of the state at `index`: nobody may see an older one from now on.
    pub(crate) fn seen(&mut self, group: GroupId, index: Index) {
        let newest = self.newest.entry(group).or_default();
        *newest = index.max(*newest);
    }

    /// The newest index of which anyone was told.
    pub(crate) fn newest(&self, group: GroupId) -> Index {
        self.newest.get(&group).copied().unwrap_or_default()
    }

    /// How many writes were acknowledged.
    pub(crate) fn count(&self) -> usize {
        self.writes.len()
    }

    /// At the end, when all replicas hold everything: each acknowledged write is in the history, where it was said to be.
    pub(crate) fn check(&self, states: &States) -> Checked {
        for (group, id, proposal) in &self.writes {
            if states.proposal_at(*group, *id) != Some(*proposal) {
                let told = format!("the write acknowledged at {} of group {group} is not there", id.index);
                return broken(Law::NoAcknowledgedWriteLost, told);
            }
        }
        Ok(())
    }
}
