//! Carries out what the cold-start gate decides, before the raft node exists: restores the state machine if it must be,
//! verifies the newest snapshot if that is asked for, and gives memory back what a skip leaves behind.

use std::sync::Arc;

use bytes::Bytes;
use quorate_storage::cold_start::{
    AppliedMark, ColdStartReport, Decision, Inputs, Opening, Outcome, Reading, RefusalReason, StoreCondition,
    VerifyMode, VolatileWalk, WalkEnd, Walked, apply_header, decide, needs_header,
};
use quorate_storage::disk::Disk;
use quorate_storage::identity::FileOwner;
use quorate_storage::log::{LogReader, LogState};
use quorate_storage::payload::Unsealer;
use quorate_storage::planted::{self, Planted};
use quorate_storage::snapshot::{ReadFrom, SnapshotDir, SnapshotToken, read_label};
use quorate_storage::state::{AppliedRecord, StateDigest, StateMachine};
use quorate_storage::{
    ConfEpoch, ConfState, EntryId, Error, GroupDescriptor, GroupId, Index, KeyRange, RangeEpoch, Result,
    Timestamp,
};
use quorate_telemetry::Clock;

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
    pub(crate) log_reader: Arc<dyn LogReader>,
    pub(crate) unsealer: &'a dyn Unsealer,
    pub(crate) held: &'a Held,
    pub(crate) config: &'a ColdStartConfig,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) disk: &'a dyn Disk,
    /// See [`crate::actor::StartSpec::is_alone`].
    pub(crate) is_alone: bool,
}

/// What the state machine says of itself.
#[derive(Debug)]
pub(crate) struct Held {
    reading: Reading,
    record: Option<AppliedRecord>,
    store: StoreCondition,
}

/// How the gate was passed.
pub(crate) struct Passed {
    /// What it holds: the floor. For a replica that waits, the log's base, without a membership.
    pub(crate) record: AppliedRecord,
    /// Snapshots that were not found damaged on the way, oldest first.
    pub(crate) intact: Vec<SnapshotToken>,
    /// Those that were: never to be used again.
    pub(crate) damaged: Vec<SnapshotToken>,
    /// Why the replica has to wait for a snapshot of another one, if it has to.
    pub(crate) waits: Option<Arc<str>>,
    /// All but the times that only the caller knows; `None` if it has to wait.
    pub(crate) report: Option<ColdStartReport>,
}

/// A decision that was carried out.
struct Done {
    record: AppliedRecord,
    bytes_read: u64,
    /// Found damaged, and not needed. The newest first.
    damaged: Vec<SnapshotToken>,
    walked: Walked,
}

/// Why a decision was not carried out.
enum Stuck {
    /// The snapshot it needs cannot be used.
    Snapshot(Error),
    /// After a skip: the log cannot tell what its entries behind the snapshot did to memory.
    Walk(WalkEnd),
}

impl From<Error> for Stuck {
    fn from(error: Error) -> Self {
        Self::Snapshot(error)
    }
}

/// What a state that is not restored holds, as of the floor; `None` if there is none.
pub(crate) fn kept(held: Option<&AppliedRecord>, decision: &Decision) -> Option<AppliedRecord> {
    let is_skip = decision.outcome == Outcome::Skipped;
    if is_skip && (planted::is(Planted::FloorNotSeeded) || planted::is(Planted::FloorAtLogEnd)) {
        return held.map(|record| AppliedRecord { applied: decision.floor, ..record.clone() });
    }
    held.filter(|record| record.applied == decision.floor).cloned()
}

impl Held {
    /// Reads the applied record. No error of the reader aborts a start.
    pub(crate) fn ask(group: GroupId, machine: &dyn StateMachine, store_is_rotten: bool) -> Self {
        let Some(reader) = machine.as_applied_index_reader() else {
            return Self { reading: Reading::NotReader, record: None, store: StoreCondition::Trusted };
        };
        let store = match reader.is_trusted() {
            _ if store_is_rotten => StoreCondition::Rotten,
            true => StoreCondition::Trusted,
            false => StoreCondition::UncleanBoot,
        };
        match reader.applied_record() {
            Ok(Some(record)) => {
                let reading = Reading::Record(AppliedMark::from(&record));
                Self { reading, record: Some(record), store }
            }
            Ok(None) => Self { reading: Reading::Missing, record: None, store },
            Err(error) => {
                tracing::warn!(%group, %error, "cannot read the applied record");
                Self { reading: Reading::Failed, record: None, store }
            }
        }
    }
}

impl Gate<'_> {
    /// Whether this start moves as many bytes as the state has: it restores, or reads a whole snapshot.
    pub(crate) fn is_heavy(&self, machine: &mut dyn StateMachine) -> bool {
        let decision = decide(&self.inputs(self.tokens.last().copied()));
        let is_read = self.config.verify == VerifyMode::Eager || needs_header(machine);
        decision.is_start() && (decision.restore_from.is_some() || (is_read && !self.tokens.is_empty()))
    }

    /// Brings the state machine to a floor that the log reaches. Where every snapshot that could do it is damaged or
    /// gone, and other replicas have the state, this one waits for a snapshot of theirs: its log is whole all the same.
    ///
    /// # Errors
    /// [`StartError::Refused`] if log and state contradict each other; [`StartError::Open`] if no snapshot that is
    /// needed could be used.
    pub(crate) fn pass(&self, machine: &mut dyn StateMachine) -> Result<Passed, StartError> {
        let began = self.clock.monotonic();
        let mut tokens = self.tokens;
        let mut damaged = Vec::new();
        let mut first_failure: Option<Error> = None;
        // What another start may get over: the snapshot is sound, and nobody else's is needed.
        let mut passing_failure: Option<Error> = None;
        let mut has_volatile_gap = false;
        loop {
            let decision = self.decide(tokens.last().copied(), has_volatile_gap);
            if let Outcome::Refused(reason) = decision.outcome {
                if let Some(cause) = passing_failure {
                    return Err(StartError::Open { group: self.group, cause });
                }
                if reason == RefusalReason::Gap && !self.has_nobody_else() {
                    return Ok(self.wait((tokens, damaged), first_failure.as_ref()));
                }
                // A snapshot that should have been there is the cause; the gap is only what follows from it.
                return Err(match first_failure {
                    Some(cause) => StartError::Open { group: self.group, cause },
                    None => StartError::Refused { group: self.group, reason: reason.as_str() },
                });
            }
            match self.carry_out(&decision, tokens, machine) {
                Ok(done) => {
                    let mut report = self.report(decision, tokens);
                    report.restore = self.clock.monotonic().saturating_sub(began);
                    report.bytes_read = done.bytes_read;
                    report.volatile_replayed = done.walked.replayed;
                    report.duplicates_dropped = done.walked.dropped;
                    let mut intact = tokens.to_vec();
                    intact.truncate(tokens.len() - done.damaged.len());
                    damaged.extend(done.damaged);
                    return Ok(Passed {
                        record: done.record,
                        intact,
                        damaged,
                        waits: None,
                        report: Some(report),
                    });
                }
                Err(Stuck::Walk(WalkEnd::Gap(index))) => {
                    tracing::warn!(group = %self.group, %index, "the log cannot tell what is volatile: restoring");
                    has_volatile_gap = true;
                }
                Err(Stuck::Walk(WalkEnd::Halt(index, cause))) => {
                    tracing::error!(group = %self.group, %index, error = %cause, "a volatile entry cannot be applied");
                    return Err(StartError::Open { group: self.group, cause });
                }
                Err(Stuck::Snapshot(error)) => {
                    tracing::error!(group = %self.group, %error, "a snapshot that is needed cannot be used");
                    let is_corrupt = error.is_corruption();
                    if !is_corrupt {
                        passing_failure.get_or_insert_with(|| error.clone());
                    }
                    let failure = first_failure.get_or_insert(error).clone();
                    let (newest, older) = tokens.split_last().unzip();
                    let older: &[SnapshotToken] = older.unwrap_or_default();
                    if older.is_empty() && (passing_failure.is_some() || self.has_nobody_else()) {
                        let cause = passing_failure.unwrap_or(failure);
                        return Err(StartError::Open { group: self.group, cause });
                    }
                    damaged.extend(newest.filter(|_| is_corrupt));
                    if older.is_empty() {
                        return Ok(self.wait((older, damaged), Some(&failure)));
                    }
                    // The older one, as far as the log still reaches it.
                    tokens = older;
                }
            }
        }
    }

    /// What there is to go on with until a snapshot comes: the log, from its base on.
    fn wait(
        &self,
        (intact, damaged): (&[SnapshotToken], Vec<SnapshotToken>),
        failure: Option<&Error>,
    ) -> Passed {
        let skeleton = &self.log.skeleton;
        let waits: Arc<str> = match failure {
            Some(failure) => failure.to_string().into(),
            None => format!("no snapshot reaches the log, which begins at {}", skeleton.first()).into(),
        };
        tracing::warn!(group = %self.group, reason = %waits, "the replica waits for a snapshot");
        let mut record = self.nothing();
        record.applied = skeleton.base;
        if let Some(known) = self.newest_known() {
            record.descriptor = known.descriptor;
        }
        Passed { record, intact: intact.to_vec(), damaged, waits: Some(waits), report: None }
    }

    /// Whether this replica is the group's only voter, as far as anything here still says.
    fn has_nobody_else(&self) -> bool {
        let own = [self.owner.replica];
        self.newest_known().map_or(self.is_alone, |known| {
            known.conf_state.voters.as_slice() == own.as_slice() && !known.conf_state.is_joint()
        })
    }

    /// The newest of what snapshots and store say of the group: a damaged file's label may be intact.
    fn newest_known(&self) -> Option<AppliedRecord> {
        let own =
            self.held.record.iter().filter(|record| record.incarnation == self.owner.incarnation).cloned();
        let paths = self.tokens.iter().map(|token| self.snapshots.path_of(token.id));
        let labels = paths.filter_map(|path| read_label(self.disk, &path).ok()).map(|label| label.record);
        own.chain(labels)
            .filter(|known| known.descriptor.uid == self.owner.group)
            .max_by_key(|known| known.applied.index)
    }

    /// A skip whose volatile entries the log has lost becomes a restore, from whichever snapshot.
    fn decide(&self, snapshot: Option<SnapshotToken>, has_volatile_gap: bool) -> Decision {
        let inputs = self.inputs(snapshot);
        let decision = decide(&inputs);
        if has_volatile_gap && decision.outcome == Outcome::Skipped {
            return Decision::after_volatile_gap(&inputs);
        }
        decision
    }

    fn inputs(&self, snapshot: Option<SnapshotToken>) -> Inputs<'_> {
        Inputs {
            snapshot,
            commit: self.log.hard_state.commit,
            log: &self.log.skeleton,
            reading: self.held.reading,
            store: self.held.store,
            incarnation: self.owner.incarnation,
            policy: self.config.policy,
        }
    }

    fn carry_out(
        &self,
        decision: &Decision,
        tokens: &[SnapshotToken],
        machine: &mut dyn StateMachine,
    ) -> Result<Done, Stuck> {
        if let Some(token) = decision.restore_from {
            return Ok(self.restore(token, machine)?);
        }
        let mut done = self.keep(decision, tokens, machine)?;
        if decision.outcome == Outcome::Skipped {
            let after = tokens.last().map_or(Index(0), |token| token.id.index);
            done.walked = self.walk(after, &done.record, machine).map_err(Stuck::Walk)?;
            done.bytes_read += done.walked.bytes_read;
            done.record.hlc_ceiling = done.record.hlc_ceiling.max(done.walked.hlc_ceiling);
        }
        Ok(done)
    }

    /// Does again to memory what the entries behind the snapshot, up to the record, did to it.
    fn walk(
        &self,
        after: Index,
        record: &AppliedRecord,
        machine: &mut dyn StateMachine,
    ) -> Result<Walked, WalkEnd> {
        let classifier = machine.as_volatile_entry_classifier();
        let Some(classifier) = classifier.filter(|classifier| !classifier.covers_volatile()) else {
            return Ok(Walked::default());
        };
        let walk = VolatileWalk {
            log: self.log_reader.as_ref(),
            first: self.log.skeleton.first(),
            after,
            through: record.applied.index,
            opening: Opening { cutover: record.cutover, unsealer: self.unsealer },
        };
        walk.run(classifier)
    }

    /// Leaves the state as it is.
    fn keep(
        &self,
        decision: &Decision,
        tokens: &[SnapshotToken],
        machine: &mut dyn StateMachine,
    ) -> Result<Done> {
        let mut record = kept(self.held.record.as_ref(), decision).unwrap_or_else(|| self.nothing());
        match tokens.last() {
            Some(newest) if needs_header(machine) => {
                apply_header(self.snapshots, *newest, machine, &mut record)?;
                Ok(Done { record, bytes_read: newest.bytes, damaged: Vec::new(), walked: Walked::default() })
            }
            Some(_) if self.config.verify == VerifyMode::Eager => {
                let (damaged, bytes_read) = self.verify_newest(tokens);
                Ok(Done { record, bytes_read, damaged, walked: Walked::default() })
            }
            _ => Ok(Done { record, bytes_read: 0, damaged: Vec::new(), walked: Walked::default() }),
        }
    }

    fn restore(&self, token: SnapshotToken, machine: &mut dyn StateMachine) -> Result<Done> {
        let mut reader = self.snapshots.reader(token)?;
        let label = reader.label().record.clone();
        let record = AppliedRecord { incarnation: self.owner.incarnation, ..label };
        machine.restore(&mut reader, &record)?;
        Ok(Done { record, bytes_read: token.bytes, damaged: Vec::new(), walked: Walked::default() })
    }

    /// Reads the newest snapshot, and if it is damaged the one before, until one is intact. This start needs none of
    /// them: what is damaged only has to be replaced. Also tells the bytes read.
    fn verify_newest(&self, tokens: &[SnapshotToken]) -> (Vec<SnapshotToken>, u64) {
        let (mut damaged, mut bytes_read) = (Vec::new(), 0);
        for token in tokens.iter().rev() {
            bytes_read += token.bytes;
            match self.snapshots.verify(token, ReadFrom::Device) {
                Err(error) if error.is_corruption() => {
                    tracing::error!(group = %self.group, %error, "a snapshot that is not needed is damaged");
                    damaged.push(*token);
                }
                Err(error) => {
                    // It may be sound all the same: it stays, and the scrub looks at it again.
                    tracing::warn!(group = %self.group, %error, "a snapshot that is not needed cannot be read");
                    break;
                }
                Ok(()) => break,
            }
        }
        (damaged, bytes_read)
    }

    fn report(&self, decision: Decision, tokens: &[SnapshotToken]) -> ColdStartReport {
        let held = match self.held.reading {
            Reading::Record(mark) if mark.incarnation == self.owner.incarnation => Some(mark.applied.index),
            _ => None,
        };
        let snapshot = tokens.last().map_or(Index(0), |token| token.id.index);
        ColdStartReport::new(decision, held, snapshot, self.log.hard_state.commit)
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
