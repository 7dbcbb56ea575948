//! The dumb log that the real one is compared with.

use crate::entry::{Entry, EntryId, EntryKind, HardState};
use crate::ids::{Index, Term};
use crate::log::{LogBatch, LogSkeleton, LogState};
use crate::snapshot::SnapshotToken;

/// Everything a log must hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Model {
    pub(super) base: EntryId,
    pub(super) entries: Vec<Entry>,
    pub(super) hard_state: HardState,
    /// A crash may bring the commit index back to this.
    pub(super) commit_durable: Index,
    pub(super) snapshots: Vec<SnapshotToken>,
}

impl Model {
    pub(super) fn new(base: SnapshotToken) -> Self {
        let hard_state = HardState { term: base.id.term, vote: None, commit: base.id.index };
        let snapshots = if base.id.index > Index(0) { vec![base] } else { Vec::new() };
        Self { base: base.id, entries: Vec::new(), hard_state, commit_durable: base.id.index, snapshots }
    }

    pub(super) fn last(&self) -> EntryId {
        self.entries.last().map_or(self.base, Entry::id)
    }

    pub(super) fn term(&self, index: Index) -> Term {
        self.entries.iter().find(|entry| entry.index == index).map_or(self.base.term, |entry| entry.term)
    }

    pub(super) fn append(&mut self, batches: &[LogBatch], sync: bool) {
        let mut is_commit_only = true;
        for batch in batches {
            if let Some(token) = batch.install {
                is_commit_only = false;
                self.base = token.id;
                self.entries.clear();
                self.snapshots.push(token);
            }
            for entry in &batch.entries {
                is_commit_only = false;
                self.entries.retain(|old| old.index < entry.index);
                self.entries.push(entry.clone());
            }
            if let Some(state) = batch.hard_state {
                is_commit_only &= HardState { commit: state.commit, ..self.hard_state } == state;
                self.hard_state = state;
            }
        }
        if sync || !is_commit_only {
            self.flush();
        }
    }

    pub(super) fn compact(&mut self, through: Index) {
        if through > self.base.index {
            self.base = EntryId { term: self.term(through), index: through };
            self.entries.retain(|entry| entry.index > through);
        }
        self.flush();
    }

    pub(super) fn add_snapshot(&mut self, token: SnapshotToken) {
        self.snapshots.push(token);
        self.flush();
    }

    /// What was held back is durable now.
    pub(super) fn flush(&mut self) {
        self.commit_durable = self.hard_state.commit;
    }

    /// Why `state` is not what a start may find, if it is not.
    pub(super) fn objection(&self, state: &LogState) -> Option<String> {
        if state.skeleton != self.skeleton() {
            return Some(format!("found {:?}, expected {:?}", state.skeleton, self.skeleton()));
        }
        let commit = state.hard_state.commit;
        if (HardState { commit, ..self.hard_state }) != state.hard_state
            || commit < self.commit_durable
            || commit > self.hard_state.commit
        {
            return Some(format!("found {:?}, expected {:?}", state.hard_state, self.hard_state));
        }
        let newest =
            |snapshots: &[SnapshotToken]| snapshots.iter().rev().take(3).copied().collect::<Vec<_>>();
        if newest(&state.snapshots) != newest(&self.snapshots) {
            return Some(format!("found {:?}, expected {:?}", state.snapshots, self.snapshots));
        }
        None
    }

    fn skeleton(&self) -> LogSkeleton {
        let mut runs: Vec<(Index, Term)> = Vec::new();
        for entry in &self.entries {
            if runs.last().is_none_or(|&(_, term)| term != entry.term) {
                runs.push((entry.index, entry.term));
            }
        }
        let conf_changes =
            self.entries.iter().filter(|entry| entry.kind == EntryKind::ConfChange).map(|entry| entry.index);
        LogSkeleton { base: self.base, last: self.last().index, runs, conf_changes: conf_changes.collect() }
    }
}
