//! What a start finds on disk, and what it has to restore. Runs on a background worker.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use quorate_storage::identity::FileOwner;
use quorate_storage::log::{LogState, LogStore, SegmentedLog};
use quorate_storage::snapshot::{SnapshotDir, SnapshotLabel, SnapshotToken, read_label};
use quorate_storage::state::{AppliedRecord, StateDigest, StateMachine};
use quorate_storage::{
    ConfEpoch, ConfState, Entry, EntryId, GroupDescriptor, GroupId, Index, KeyRange, RangeEpoch, Timestamp,
};

use crate::actor::launch::Opened;
use crate::actor::replica_dir::ReplicaDir;
use crate::actor::spec::{GroupDeps, StartSpec, StateContext};
use crate::actor::start::StartError;

pub(crate) fn open_replica(deps: &GroupDeps, spec: &StartSpec) -> Result<Opened, StartError> {
    let group = spec.group;
    let failed = |cause| StartError::Open { group, cause };
    let place = ReplicaDir::new(Arc::clone(&deps.disk), spec.dir.clone());
    let owner = place.owner().map_err(failed)?;
    let rng = deps.rng.stream(deps.rng.next_u64());
    let log = SegmentedLog::open(place.log(owner, rng), spec.config.log).map_err(failed)?;
    let snapshots = place.snapshots(owner);
    let recorded = &log.recovered().snapshots;
    snapshots.sweep(recorded).map_err(failed)?;
    let tokens = snapshots.usable(recorded).map_err(failed)?;
    let context =
        StateContext { group, uid: owner.group, incarnation: owner.incarnation, dir: place.state() };
    let mut machine = deps.machines.open(&context).map_err(failed)?;

    let opening = Opening { group, owner, snapshots: &snapshots, tokens: &tokens, log: log.recovered() };
    let record = opening.settle(machine.as_mut())?;
    let newest = opening.newest_label(deps).map_err(failed)?;
    let tail = read_tail(&log, &record, spec.config.core.tail_bytes_max);
    Ok(Opened {
        replica: owner.replica,
        incarnation: owner.incarnation,
        log: Box::new(log),
        machine,
        record,
        snapshots,
        tokens,
        newest,
        tail,
        addresses: BTreeMap::new(),
    })
}

/// What is known once everything is open.
struct Opening<'a> {
    group: GroupId,
    owner: FileOwner,
    snapshots: &'a SnapshotDir,
    /// Usable ones, oldest first.
    tokens: &'a [SnapshotToken],
    log: &'a LogState,
}

impl Opening<'_> {
    /// Brings the state machine to a floor the log reaches, and gives what it then holds.
    fn settle(&self, machine: &mut dyn StateMachine) -> Result<AppliedRecord, StartError> {
        let has_nothing = self.tokens.is_empty() && self.log.skeleton.last == Index(0);
        if has_nothing {
            return Ok(self.nothing());
        }
        let held = self.held(machine);
        if let Some(record) = &held {
            self.check_held(record)?;
        }
        let newest = self.tokens.last().map_or(Index(0), |token| token.id.index);
        match held.filter(|record| record.applied.index >= newest) {
            Some(record) => Ok(record),
            None => self.restore(machine),
        }
    }

    /// The applied record, if it can be counted on.
    fn held(&self, machine: &dyn StateMachine) -> Option<AppliedRecord> {
        let reader = machine.as_applied_index_reader()?;
        let record = match reader.applied_record() {
            Ok(record) => record?,
            Err(error) => {
                tracing::warn!(group = %self.group, %error, "cannot read the applied record");
                return None;
            }
        };
        (record.incarnation == self.owner.incarnation && reader.is_trusted()).then_some(record)
    }

    /// A state that is ahead of its log, or of another history, proves that acknowledged log is gone.
    fn check_held(&self, record: &AppliedRecord) -> Result<(), StartError> {
        let refused = |reason| Err(StartError::Refused { group: self.group, reason });
        let EntryId { term, index } = record.applied;
        if index > self.log.skeleton.last {
            return refused("ahead_of_log");
        }
        if self.log.skeleton.term(index).is_some_and(|logged| logged != term) {
            return refused("diverged");
        }
        Ok(())
    }

    /// From the newest snapshot that is intact and that the log reaches.
    fn restore(&self, machine: &mut dyn StateMachine) -> Result<AppliedRecord, StartError> {
        let reached = |token: &&SnapshotToken| self.log.skeleton.first() <= token.id.index.next();
        let mut last_error = None;
        for token in self.tokens.iter().rev().filter(reached) {
            match self.restore_from(machine, *token) {
                Ok(record) => return Ok(record),
                Err(error) => {
                    tracing::error!(group = %self.group, index = %token.id.index, %error, "snapshot not restored");
                    last_error.get_or_insert(error);
                }
            }
        }
        match last_error {
            Some(cause) => Err(StartError::Open { group: self.group, cause }),
            None => Err(StartError::Refused { group: self.group, reason: "gap" }),
        }
    }

    fn restore_from(
        &self,
        machine: &mut dyn StateMachine,
        token: SnapshotToken,
    ) -> quorate_storage::Result<AppliedRecord> {
        let mut reader = self.snapshots.reader(token)?;
        let record = AppliedRecord { incarnation: self.owner.incarnation, ..reader.label().record.clone() };
        machine.restore(&mut reader, &record)?;
        Ok(record)
    }

    /// The newest snapshot with its label, for followers.
    fn newest_label(
        &self,
        deps: &GroupDeps,
    ) -> quorate_storage::Result<Option<(SnapshotToken, Box<SnapshotLabel>)>> {
        let Some(token) = self.tokens.last() else { return Ok(None) };
        let label = read_label(deps.disk.as_ref(), &self.snapshots.path_of(token.id))?;
        Ok(Some((*token, Box::new(label))))
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

/// The log above the floor, if it is short enough to be kept in memory; otherwise the core fetches it in pieces.
fn read_tail(log: &SegmentedLog, record: &AppliedRecord, bytes_max: u64) -> Vec<Entry> {
    let (low, high) = (record.applied.index.next(), log.recovered().skeleton.last.next());
    if low >= high {
        return Vec::new();
    }
    let is_whole = |entries: &Vec<Entry>| entries.last().is_some_and(|last| last.index.next() == high);
    log.reader().entries(low, high, bytes_max).ok().filter(is_whole).unwrap_or_default()
}
