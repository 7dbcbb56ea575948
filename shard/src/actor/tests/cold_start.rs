//! What the gate does to a state machine that reports, in both modes and under both policies; and who hears of it.

use std::sync::Arc;

use parking_lot::Mutex;
use quorate_storage::cold_start::{
    ColdStartObserver, ColdStartReport, FallbackReason, Outcome, Policy, VerifyMode,
};
use quorate_storage::snapshot::SnapshotToken;
use quorate_storage::{EntryId, GroupId, Incarnation, Index, Term};
use quorate_telemetry::stats::ColdStartOutcome;

use super::kept::{Kept, KeptMachines, State};
use super::node::{DEADLINE, GROUP, TestNode, cluster, config, snapshot_path};
use crate::actor::{ReadLevel, StartError};

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<ColdStartReport>>);

impl ColdStartObserver for Heard {
    fn started(&self, group: GroupId, report: &ColdStartReport) {
        assert_eq!(group, GROUP);
        self.0.lock().push(report.clone());
    }
}

/// A stopped replica with two snapshots, what it held at each and at the end.
struct Stopped {
    node: TestNode,
    kept: Arc<Mutex<Kept>>,
    heard: Arc<Heard>,
    /// Before the first snapshot, between the two, five entries behind the second, and last.
    states: [State; 4],
    tokens: [SnapshotToken; 2],
}

impl Stopped {
    async fn new() -> Self {
        let heard = Arc::new(Heard::default());
        let mut config = config();
        config.cold_start.observer = Some(heard.clone());
        let (_network, mut nodes) = cluster(1, &config).await;
        let mut node = nodes.remove(0);
        node.kill().await;
        let machines = KeptMachines::default();
        node.machines = Arc::new(machines.clone());
        node.restart().await;
        node.serves().await;
        let mut states = Vec::new();
        for round in 0..4 {
            for i in 0..5 {
                node.put(&format!("k{round}{i}=v")).await.unwrap();
            }
            states.push(machines.0.lock().state.clone());
            if round < 2 {
                node.handle.publish_snapshot(DEADLINE).await.unwrap();
            }
        }
        node.kill().await;
        let mut kept = machines.0.lock();
        kept.restores = 0;
        drop(kept);
        heard.0.lock().clear();
        let tokens: [SnapshotToken; 2] = node.log().snapshots[..].last_chunk().copied().unwrap();
        Self { node, kept: machines.0, heard, states: states.try_into().unwrap(), tokens }
    }

    fn newest(&self) -> SnapshotToken {
        self.tokens[1]
    }

    /// Flips bits behind the records of a snapshot: only who reads it to its end can tell.
    fn damage(&self, token: SnapshotToken) {
        self.node.disk.flip(&snapshot_path(token.id), token.bytes - 24, 0xff).unwrap();
    }

    /// Starts, and checks that nothing that was acknowledged is missing. What was told of the start.
    async fn start(&mut self) -> ColdStartReport {
        self.node.restart().await;
        self.node.serves().await;
        for round in 0..4 {
            for i in 0..5 {
                let value = self.node.get(&format!("k{round}{i}"), ReadLevel::Linearizable).await.unwrap();
                assert_eq!(value, "v", "k{round}{i}");
            }
        }
        let heard = std::mem::take(&mut *self.heard.0.lock());
        assert_eq!(heard.len(), 1, "told once");
        heard.into_iter().next().unwrap()
    }

    /// Waits until another newest snapshot stands than before.
    async fn republished(&self) {
        let published = || self.node.stats.snapshots.published.get();
        let before = 2;
        while published() <= before {
            tokio::time::sleep(self.node.config.tick).await;
        }
    }

    fn is_aside(&self, token: SnapshotToken) -> bool {
        let path = snapshot_path(token.id);
        let aside = path.with_extension("snap.bad");
        self.node.disk.files().iter().any(|(found, _)| *found == aside)
    }

    fn held(&self) -> Index {
        self.kept.lock().state.record.as_ref().unwrap().applied.index
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_as_fresh_as_the_newest_snapshot_is_not_restored_and_the_gap_is_told() {
    let mut stopped = Stopped::new().await;
    for at in [1, 2, 3] {
        stopped.kept.lock().state = stopped.states[at].clone();
        let held = stopped.held();
        let report = stopped.start().await;
        assert_eq!(report.decision.outcome, Outcome::Skipped, "state {at}");
        assert_eq!((report.held, report.snapshot), (Some(held), stopped.newest().id.index));
        assert_eq!(report.gap_to_snapshot(), Some(held.get() - stopped.newest().id.index.get()));
        assert_eq!((report.decision.floor.index, report.bytes_read), (held, 0));
        stopped.node.kill().await;
    }
    assert_eq!(stopped.kept.lock().restores, 0);
    let last_gap = stopped.node.stats.cold_starts.last_gap();
    assert!(matches!(last_gap, Some((ColdStartOutcome::Skipped, _))), "{last_gap:?}");
}

/// What befalls a state while its replica is stopped.
type Change = fn(&mut Kept, &[State; 4]);

#[tokio::test(start_paused = true)]
async fn every_reason_to_restore_restores_once_and_replays_the_rest() {
    let fallback = Outcome::Fallback;
    let cases: [(Change, Outcome); 5] = [
        (|kept, states| kept.state = states[0].clone(), Outcome::Executed),
        (|kept, _| kept.state = State::default(), fallback(FallbackReason::MissingMeta)),
        (|kept, _| kept.is_untrusted = true, fallback(FallbackReason::UncleanBoot)),
        (|kept, _| kept.is_unreadable = true, fallback(FallbackReason::ReadErr)),
        (
            |kept, _| kept.state.record.as_mut().unwrap().incarnation = Incarnation([7; 16]),
            fallback(FallbackReason::Incarnation),
        ),
    ];
    let mut stopped = Stopped::new().await;
    for (number, (change, expected)) in (1..).zip(cases) {
        change(&mut stopped.kept.lock(), &stopped.states);
        let report = stopped.start().await;
        assert_eq!(report.decision.outcome, expected);
        assert_eq!(report.decision.floor, stopped.newest().id);
        assert_eq!(report.bytes_read, stopped.newest().bytes);
        assert_eq!(report.gap_to_snapshot().is_some(), expected == Outcome::Executed);
        assert_eq!(stopped.kept.lock().restores, number);
        stopped.node.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn under_the_committed_tail_policy_a_state_may_be_led_back_to_the_snapshot() {
    let mut stopped = Stopped::new().await;
    stopped.node.config.cold_start.policy = Policy::CommittedTail;
    stopped.kept.lock().state = stopped.states[2].clone();
    let (held, snapshot) = (stopped.held(), stopped.newest().id.index);
    assert!(held > snapshot);
    let report = stopped.start().await;
    assert_eq!(report.decision.outcome, Outcome::Executed);
    assert!(report.commit > held, "something committed was left to replay");
    // Measured from the snapshot, not from what the policy wanted.
    assert_eq!(report.gap_to_snapshot(), Some(held.get() - snapshot.get()));
    assert_eq!(stopped.kept.lock().restores, 1);
}

#[tokio::test(start_paused = true)]
async fn by_default_a_damaged_snapshot_that_is_not_needed_is_not_noticed_at_the_start() {
    let mut stopped = Stopped::new().await;
    stopped.damage(stopped.newest());
    let report = stopped.start().await;
    assert_eq!((report.decision.outcome, report.bytes_read), (Outcome::Skipped, 0));
    assert!(!stopped.is_aside(stopped.newest()));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_label_is_counted_and_replaced_once_the_group_runs() {
    let mut stopped = Stopped::new().await;
    let newest = stopped.newest();
    // In the middle of so small a file is the label, which is read behind the start.
    stopped.node.disk.flip(&snapshot_path(newest.id), newest.bytes / 2, 0xff).unwrap();
    let report = stopped.start().await;
    assert_eq!((report.decision.outcome, report.bytes_read), (Outcome::Skipped, 0));
    stopped.republished().await;
    assert!(stopped.is_aside(newest));
    assert_eq!(stopped.node.stats.snapshots.corrupt.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_eager_start_reads_the_newest_snapshot_and_leaves_a_sound_one_alone() {
    let mut stopped = Stopped::new().await;
    stopped.node.config.cold_start.verify = VerifyMode::Eager;
    let report = stopped.start().await;
    assert_eq!((report.decision.outcome, report.bytes_read), (Outcome::Skipped, stopped.newest().bytes));
    assert!(!stopped.is_aside(stopped.newest()));
    assert_eq!(stopped.node.stats.snapshots.corrupt.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_eager_start_that_skips_replaces_damaged_snapshots_and_goes_on() {
    for damaged in [1, 2] {
        let mut stopped = Stopped::new().await;
        stopped.node.config.cold_start.verify = VerifyMode::Eager;
        for token in stopped.tokens.iter().rev().take(damaged) {
            stopped.damage(*token);
        }
        let report = stopped.start().await;
        assert_eq!(report.decision.outcome, Outcome::Skipped);
        assert_eq!(stopped.kept.lock().restores, 0);
        for (token, is_damaged) in stopped.tokens.iter().rev().zip([true, damaged == 2]) {
            assert_eq!(stopped.is_aside(*token), is_damaged);
        }
        assert_eq!(stopped.node.stats.snapshots.corrupt.get(), damaged as u64);
        stopped.republished().await;
        let newest = stopped.node.log().snapshots.last().copied().unwrap();
        assert!(newest.id.index > stopped.newest().id.index);
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_that_lives_in_memory_only_is_taken_from_the_verified_snapshot() {
    let mut stopped = Stopped::new().await;
    stopped.kept.lock().needs_header = true;
    let report = stopped.start().await;
    assert_eq!((report.decision.outcome, report.bytes_read), (Outcome::Skipped, stopped.newest().bytes));
    let kept = stopped.kept.lock();
    assert_eq!((kept.headers.len(), kept.restores), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_needed_header_of_a_damaged_snapshot_comes_from_the_older_one_or_the_start_fails_untouched() {
    let mut stopped = Stopped::new().await;
    stopped.kept.lock().needs_header = true;
    stopped.damage(stopped.newest());
    let report = stopped.start().await;
    assert_eq!((report.decision.outcome, report.snapshot), (Outcome::Skipped, stopped.tokens[0].id.index));
    assert_eq!(stopped.kept.lock().headers.len(), 1);
    assert!(stopped.is_aside(stopped.newest()));

    let mut stopped = Stopped::new().await;
    stopped.kept.lock().needs_header = true;
    for token in stopped.node.log().snapshots {
        stopped.node.disk.flip(&snapshot_path(token.id), token.bytes / 2, 0xff).ok();
    }
    let before = stopped.kept.lock().state.record.clone();
    let error = stopped.node.try_restart().await.unwrap_err();
    assert!(matches!(&error, StartError::Open { cause, .. } if cause.is_corruption()), "{error}");
    let kept = stopped.kept.lock();
    assert_eq!((kept.headers.len(), kept.restores), (0, 0));
    assert_eq!(kept.state.record, before);
    assert!(stopped.heard.0.lock().is_empty(), "nobody hears of a start that failed");
}

#[tokio::test(start_paused = true)]
async fn a_refused_or_failed_start_is_counted_under_its_own_outcome_and_not_observed() {
    let mut stopped = Stopped::new().await;
    let counted = |stopped: &Stopped, outcome, reason| {
        let counts = stopped.node.stats.cold_starts.counts();
        counts.into_iter().find(|count| (count.0, count.1) == (outcome, reason)).map_or(0, |count| count.2)
    };
    // The state holds what the log does not.
    let beyond = EntryId { term: Term(1), index: Index(1_000) };
    stopped.kept.lock().state.record.as_mut().unwrap().applied = beyond;
    let error = stopped.node.try_restart().await.unwrap_err();
    assert!(matches!(error, StartError::Refused { reason: "ahead_of_log", .. }), "{error}");
    assert_eq!(counted(&stopped, ColdStartOutcome::Refused, "ahead_of_log"), 1);
    // Nothing to restore from.
    stopped.kept.lock().state = State::default();
    for token in stopped.node.log().snapshots {
        stopped.node.disk.flip(&snapshot_path(token.id), token.bytes / 2, 0xff).ok();
    }
    stopped.node.try_restart().await.unwrap_err();
    assert_eq!(counted(&stopped, ColdStartOutcome::Failed, "corrupt"), 1);
    assert_eq!(stopped.kept.lock().restores, 0);
    assert_eq!(stopped.node.stats.cold_starts.last_gap(), None);
    assert!(stopped.heard.0.lock().is_empty());
}

#[derive(Debug)]
struct Panics;

impl ColdStartObserver for Panics {
    fn started(&self, _group: GroupId, _report: &ColdStartReport) {
        panic!("told to");
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_harms_nobody() {
    let mut stopped = Stopped::new().await;
    stopped.node.config.cold_start.observer = Some(Arc::new(Panics));
    stopped.node.restart().await;
    stopped.node.serves().await;
    stopped.node.put("a=1").await.unwrap();
}
