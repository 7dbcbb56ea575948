//! What the starts of a model were: a bound in which nothing interesting happens would prove nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use quorate_storage::Index;
use quorate_storage::cold_start::{Decision, Inputs, Outcome, RefusalReason, Walked};

use super::start::Opening;

/// Counts. A start that is reached on two ways counts twice.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Skips with a store above the newest snapshot.
    skipped_ahead: AtomicU64,
    executed: AtomicU64,
    fallback: AtomicU64,
    lost: AtomicU64,
    /// Commit indexes that had to be raised to the floor.
    raised: AtomicU64,
    /// Volatile entries done again.
    replayed: AtomicU64,
    /// Snapshots installed whole.
    installed: AtomicU64,
    /// Logs shortened.
    compacted: AtomicU64,
    /// What the core said of starts.
    opened: Mutex<HashMap<Opening, bool>>,
}

fn one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Seen {
    pub(super) fn decided(&self, decision: &Decision, inputs: &Inputs<'_>) {
        let snapshot = inputs.snapshot.map_or(Index(0), |token| token.id.index);
        match decision.outcome {
            Outcome::Skipped if decision.floor.index > snapshot => one(&self.skipped_ahead),
            Outcome::Skipped | Outcome::Refused(_) => {}
            Outcome::Executed => one(&self.executed),
            Outcome::Fallback(_) => one(&self.fallback),
        }
        if decision.is_start() && decision.floor.index > inputs.commit {
            one(&self.raised);
        }
    }

    pub(super) fn refused(&self, reason: RefusalReason) {
        if matches!(reason, RefusalReason::LogLost | RefusalReason::AheadOfLog) {
            one(&self.lost);
        }
    }

    pub(super) fn walked(&self, walked: &Walked) {
        self.replayed.fetch_add(walked.replayed, Ordering::Relaxed);
    }

    /// What `open` says of it, or has said.
    pub(super) fn opened(&self, opening: Opening, open: impl FnOnce() -> bool) -> bool {
        *self.opened.lock().entry(opening).or_insert_with(open)
    }

    pub(super) fn installed(&self) {
        one(&self.installed);
    }

    pub(super) fn compacted(&self) {
        one(&self.compacted);
    }

    /// Names and counts.
    pub(super) fn counts(&self) -> [(&'static str, u64); 8] {
        [
            ("skipped_ahead", &self.skipped_ahead),
            ("executed", &self.executed),
            ("fallback", &self.fallback),
            ("lost", &self.lost),
            ("raised", &self.raised),
            ("replayed", &self.replayed),
            ("installed", &self.installed),
            ("compacted", &self.compacted),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }
}
