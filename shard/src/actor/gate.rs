//! Carries out what the cold-start gate decides: asks the state machine, restores it if it must be, and reports once
//! that has succeeded or failed. Runs on a background worker, before the raft node exists.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_storage::cold_start::{
    AppliedMark, ColdStartReport, Decision, Inputs, Opening, Outcome, Reading, RefusalReason, StoreCondition,
    VolatileWalk, WalkEnd, Walked, decide,
};
use quorate_storage::disk::Disk;
use quorate_storage::identity::FileOwner;
use quorate_storage::log::{LogReader, LogState};
use quorate_storage::payload::Unsealer;
use quorate_storage::snapshot::{ReadFrom, SnapshotDir, SnapshotToken, StateHeader, read_label};
use quorate_storage::state::{AppliedRecord, StateDigest, StateMachine};
use quorate_storage::{
    ConfEpoch, ConfState, EntryId, Error, GroupDescriptor, GroupId, Index, KeyRange, RangeEpoch, Result,
    Timestamp,
};
use quorate_telemetry::{Clock, GroupStats};

use crate::actor::spec::ColdStartConfig;
use crate::actor::start::StartError;

/// What is known of a replica once its files are open.
pub(crate) struct Gate<'a> {
    pub(crate) group: GroupId,
    pub(crate) owner: FileOwner,
    pub(crate) snapshots: &'a SnapshotDir,
    /// Usable ones, oldest first.
    pub(crate) tokens: &'a [SnapshotToken],
    pub(crate) log: &'a LogState,
    pub(crate) log_reader: &'a dyn LogReader,
    pub(crate) unsealer: &'a dyn Unsealer,
    pub(crate) config: &'a ColdStartConfig,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stats: &'a GroupStats,
    pub(crate) disk: &'a dyn Disk,
    /// See [`crate::actor::StartSpec::is_alone`].
    pub(crate) is_alone: bool,
    /// Found by a scan or a read before this start.
    pub(crate) store_is_rotten: bool,
    /// When this start began, on the monotonic clock.
    pub(crate) began: Duration,
}

/// How the gate was passed.
pub(crate) struct Passed<'a> {
    /// What the state machine holds: the floor. For a replica that waits, the log's base, without a membership.
    pub(crate) record: AppliedRecord,
    /// The snapshots that were not found damaged.
    pub(crate) intact: &'a [SnapshotToken],
    /// Why the replica has to wait for a snapshot of another one, if it has to.
    pub(crate) waits: Option<Arc<str>>,
}

/// What the state machine said of itself.
struct Held {
    reading: Reading,
    record: Option<AppliedRecord>,
    store: StoreCondition,
}

impl Gate<'_> {
    /// Brings the state machine to a floor that the log reaches. Where every snapshot that could do it is damaged or
    /// gone, and other replicas have the state, this one waits for a snapshot of theirs: its log is whole all the same.
    ///
    /// # Errors
    /// [`StartError::Refused`] if log and state contradict each other; [`StartError::Open`] if no snapshot that is
    /// needed could be restored.
    pub(crate) fn pass(&self, machine: &mut dyn StateMachine) -> Result<Passed<'_>, StartError> {
        let held = self.ask(machine);
        let mut tokens = self.tokens;
        let mut first_failure: Option<Error> = None;
        loop {
            let (decision, walked) = self.settle(&held, tokens.last().copied(), machine)?;
            let mut report = self.report(decision, &held);
            report.volatile_replayed = walked.replayed;
            report.duplicates_dropped = walked.dropped;
            if let Outcome::Refused(reason) = decision.outcome {
                // A snapshot that should have been there is the cause; the gap is only what follows from it.
                report.failure.clone_from(&first_failure);
                self.publish(report);
                if reason == RefusalReason::Gap && !self.has_nobody_else(&held) {
                    return Ok(self.wait(tokens, first_failure.as_ref(), &held));
                }
                return Err(match first_failure {
                    Some(cause) => StartError::Open { group: self.group, cause },
                    None => StartError::Refused { group: self.group, reason: reason.as_str() },
                });
            }
            let before = self.clock.monotonic();
            match self.carry_out(&decision, &held, machine) {
                Ok(mut record) => {
                    record.hlc_ceiling = record.hlc_ceiling.max(walked.hlc_ceiling);
                    report.restore = self.clock.monotonic().saturating_sub(before);
                    report.bytes_read = decision.restore_from.map_or(walked.bytes_read, |token| token.bytes);
                    self.publish(report);
                    return Ok(Passed { record, intact: tokens, waits: None });
                }
                Err(error) => {
                    tracing::error!(group = %self.group, %error, "snapshot not restored");
                    let is_snapshots = error.is_corruption() || matches!(error, Error::Missing { .. });
                    let failure = first_failure.get_or_insert(error).clone();
                    // The older one, as far as the log still reaches it.
                    let Some((_, older)) = tokens.split_last().filter(|(_, older)| !older.is_empty()) else {
                        report.failure = Some(failure.clone());
                        self.publish(report);
                        if is_snapshots && !self.has_nobody_else(&held) {
                            return Ok(self.wait(&[], Some(&failure), &held));
                        }
                        return Err(StartError::Open { group: self.group, cause: failure });
                    };
                    tokens = older;
                }
            }
        }
    }

    /// Decides; after a skip does what entries behind the snapshot did to memory again. Where the log cannot tell that, the
    /// state is restored after all.
    fn settle(
        &self,
        held: &Held,
        newest: Option<SnapshotToken>,
        machine: &mut dyn StateMachine,
    ) -> Result<(Decision, Walked), StartError> {
        let inputs = self.inputs(held, newest);
        let decision = decide(&inputs);
        if decision.outcome != Outcome::Skipped {
            return Ok((decision, Walked::default()));
        }
        match self.walk(held, newest, decision.floor.index, machine) {
            Ok(walked) => Ok((decision, walked)),
            Err(WalkEnd::Gap(index)) => {
                tracing::warn!(group = %self.group, %index, "the log cannot tell what is volatile: restoring");
                Ok((Decision::after_volatile_gap(&inputs), Walked::default()))
            }
            Err(WalkEnd::Halt(index, cause)) => {
                tracing::error!(group = %self.group, %index, error = %cause, "a volatile entry cannot be applied");
                let mut report = self.report(decision, held);
                report.failure = Some(cause.clone());
                self.publish(report);
                Err(StartError::Open { group: self.group, cause })
            }
        }
    }

    /// Of a state machine whose record does not carry what is volatile: the header of the snapshot, whose file is
    /// verified as a whole first, then the volatile entries up to `floor`.
    fn walk(
        &self,
        held: &Held,
        newest: Option<SnapshotToken>,
        floor: Index,
        machine: &mut dyn StateMachine,
    ) -> Result<Walked, WalkEnd> {
        if machine.as_volatile_entry_classifier().is_none_or(|classifier| classifier.covers_volatile()) {
            return Ok(Walked::default());
        }
        let after = newest.map_or(Index(0), |token| token.id.index);
        let header = newest.map(|token| self.header(token)).transpose().map_err(|error| {
            tracing::error!(group = %self.group, %error, "the snapshot's header cannot be trusted");
            WalkEnd::Gap(after)
        })?;
        let header = header.unwrap_or_default();
        if let Some(applier) = machine.as_snapshot_header_applier() {
            applier.apply_header(&header).map_err(|cause| WalkEnd::Halt(after, cause))?;
        }
        let Some(classifier) = machine.as_volatile_entry_classifier() else { return Ok(Walked::default()) };
        let cutover = held.record.as_ref().and_then(|record| record.cutover).or(header.cutover);
        let walk = VolatileWalk {
            log: self.log_reader,
            first: self.log.skeleton.first(),
            after,
            through: floor,
            opening: Opening { cutover, unsealer: self.unsealer },
        };
        let mut walked = walk.run(classifier)?;
        walked.hlc_ceiling = walked.hlc_ceiling.max(header.hlc_ceiling);
        walked.bytes_read += newest.map_or(0, |token| token.bytes);
        self.stats.apply.volatile_replayed.add(walked.replayed);
        self.stats.apply.duplicates_dropped.add(walked.dropped);
        Ok(walked)
    }

    /// What a snapshot says beside its records. Nothing of it counts before its whole file was verified.
    fn header(&self, token: SnapshotToken) -> Result<StateHeader> {
        self.snapshots.verify(&token, ReadFrom::Cache)?;
        let reader = self.snapshots.reader(token)?;
        let record = &reader.label().record;
        let by_label = StateHeader { hlc_ceiling: record.hlc_ceiling, cutover: record.cutover };
        Ok(reader.state_header().copied().unwrap_or(by_label))
    }

    /// What there is to go on with until a snapshot comes: the log, from its base on.
    fn wait<'a>(&self, intact: &'a [SnapshotToken], failure: Option<&Error>, held: &Held) -> Passed<'a> {
        let skeleton = &self.log.skeleton;
        let waits: Arc<str> = match failure {
            Some(failure) => failure.to_string().into(),
            None => format!("no snapshot reaches the log, which begins at {}", skeleton.first()).into(),
        };
        tracing::warn!(group = %self.group, reason = %waits, "the replica waits for a snapshot");
        let mut record = self.nothing();
        record.applied = skeleton.base;
        if let Some(known) = self.newest_known(held) {
            record.descriptor = known.descriptor;
        }
        Passed { record, intact, waits: Some(waits) }
    }

    /// Whether this replica is the group's only voter, as far as anything here still says.
    fn has_nobody_else(&self, held: &Held) -> bool {
        let own = [self.owner.replica];
        self.newest_known(held).map_or(self.is_alone, |known| {
            known.conf_state.voters.as_slice() == own.as_slice() && !known.conf_state.is_joint()
        })
    }

    /// The newest of what snapshots and store say of the group: a damaged file's label may be intact.
    fn newest_known(&self, held: &Held) -> Option<AppliedRecord> {
        let own = held.record.iter().filter(|record| record.incarnation == self.owner.incarnation).cloned();
        let paths = self.tokens.iter().map(|token| self.snapshots.path_of(token.id));
        let labels = paths.filter_map(|path| read_label(self.disk, &path).ok()).map(|label| label.record);
        own.chain(labels)
            .filter(|known| known.descriptor.uid == self.owner.group)
            .max_by_key(|known| known.applied.index)
    }

    fn inputs(&self, held: &Held, snapshot: Option<SnapshotToken>) -> Inputs<'_> {
        Inputs {
            snapshot,
            commit: self.log.hard_state.commit,
            log: &self.log.skeleton,
            reading: held.reading,
            store: held.store,
            incarnation: self.owner.incarnation,
            policy: self.config.policy,
        }
    }

    /// Reads the applied record. No error of the reader aborts a start.
    fn ask(&self, machine: &dyn StateMachine) -> Held {
        let Some(reader) = machine.as_applied_index_reader() else {
            return Held { reading: Reading::NotReader, record: None, store: StoreCondition::Trusted };
        };
        let store = match reader.is_trusted() {
            _ if self.store_is_rotten => StoreCondition::Rotten,
            true => StoreCondition::Trusted,
            false => StoreCondition::UncleanBoot,
        };
        match reader.applied_record() {
            Ok(Some(record)) => {
                let reading = Reading::Record(AppliedMark::from(&record));
                Held { reading, record: Some(record), store }
            }
            Ok(None) => Held { reading: Reading::Missing, record: None, store },
            Err(error) => {
                tracing::warn!(group = %self.group, %error, "cannot read the applied record");
                Held { reading: Reading::Failed, record: None, store }
            }
        }
    }

    fn carry_out(
        &self,
        decision: &Decision,
        held: &Held,
        machine: &mut dyn StateMachine,
    ) -> Result<AppliedRecord> {
        if let Some(token) = decision.restore_from {
            let mut reader = self.snapshots.reader(token)?;
            let label = reader.label().record.clone();
            let record = AppliedRecord { incarnation: self.owner.incarnation, ..label };
            machine.restore(&mut reader, &record)?;
            return Ok(record);
        }
        match &held.record {
            Some(record) if record.applied == decision.floor => Ok(record.clone()),
            _ => Ok(self.nothing()),
        }
    }

    fn report(&self, decision: Decision, held: &Held) -> ColdStartReport {
        let index = match held.reading {
            Reading::Record(mark) if mark.incarnation == self.owner.incarnation => Some(mark.applied.index),
            _ => None,
        };
        let newest = self.tokens.last().map_or(Index(0), |token| token.id.index);
        ColdStartReport::new(decision, index, newest, self.log.hard_state.commit)
    }

    fn publish(&self, mut report: ColdStartReport) {
        report.total = self.clock.monotonic().saturating_sub(self.began);
        let (outcome, reason) = (report.outcome(), report.decision.outcome.reason());
        self.stats.cold_starts.record(outcome, reason, report.gap_to_snapshot());
        tracing::info!(
            group = %self.group,
            outcome = outcome.label(),
            reason,
            held = report.held.map(Index::get),
            snapshot = %report.snapshot,
            commit = %report.commit,
            gap_to_snapshot = report.gap_to_snapshot(),
            gap_to_commit = report.gap_to_commit(),
            restore_us = report.restore.as_micros(),
            total_us = report.total.as_micros(),
            "cold start"
        );
        if let Some(observer) = &self.config.observer {
            observer.started(self.group, &report);
        }
    }

    /// What a joining replica holds: it learns everything from its first snapshot.
    fn nothing(&self) -> AppliedRecord {
        let descriptor = GroupDescriptor {
            group: self.group,
            uid: self.owner.group,
            range: KeyRange::all(),
            range_epoch: RangeEpoch(0),
            conf_epoch: ConfEpoch(0),
            replicas: Vec::new(),
        };
        AppliedRecord {
            applied: EntryId::default(),
            conf_state: ConfState::default(),
            descriptor,
            incarnation: self.owner.incarnation,
            hlc_ceiling: Timestamp(0),
            cutover: None,
            wrapped_keys: Bytes::new(),
            digest: StateDigest::default(),
        }
    }
}
