//! What a start finds on disk, and what it has to restore. Runs on workers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_storage::cold_start::ColdStartReport;
use quorate_storage::identity::{Divergence, FileOwner, ReplicaIdentity, ReplicaPaths};
use quorate_storage::log::{LogPlace, LogStore, SegmentedLog};
use quorate_storage::snapshot::{SnapshotDir, SnapshotToken};
use quorate_storage::state::{AppliedRecord, StateMachine};
use quorate_storage::{Entry, Error, GroupId};

use crate::actor::gate::{Gate, Held, Passed};
use crate::actor::launch::Opened;
use crate::actor::spec::{GroupDeps, StartSpec, StateContext};
use crate::actor::start::StartError;
use crate::repair::check_log;

/// A replica's open files, and what its state machine says of itself.
pub(crate) struct Found {
    deps: Arc<GroupDeps>,
    spec: StartSpec,
    owner: FileOwner,
    place: LogPlace,
    log: SegmentedLog,
    snapshots: SnapshotDir,
    /// Usable ones, oldest first.
    tokens: Vec<SnapshotToken>,
    machine: Box<dyn StateMachine>,
    held: Held,
    store_open: Duration,
}

/// Opens a replica's files and passes the cold-start gate: everything between a directory and a raft node. Blocks as long
/// as the state is large, if it must be restored.
///
/// # Errors
/// As [`start_group`](crate::actor::start_group).
pub fn open_replica(deps: &Arc<GroupDeps>, spec: &StartSpec) -> Result<Opened, StartError> {
    find_replica(deps, spec)?.pass()
}

/// Opens a replica's files. Takes as long as the log's last segment is, however large the state.
pub(crate) fn find_replica(deps: &Arc<GroupDeps>, spec: &StartSpec) -> Result<Found, StartError> {
    let group = spec.group;
    let failed = |cause| StartError::Open { group, cause };
    let paths = ReplicaPaths::new(spec.dir.clone());
    let owner = read_identity(deps, group, &paths)?.owner();
    let divergence = Divergence::read(deps.disk.as_ref(), &paths.divergence_file()).map_err(failed)?;
    if let Some(divergence) = divergence {
        return Err(StartError::StateDiverged { group, divergence });
    }
    let rng = deps.rng.stream(deps.rng.next_u64());
    let place = LogPlace { disk: Arc::clone(&deps.disk), dir: paths.wal(), owner, rng };
    let log = SegmentedLog::open(place.clone(), spec.config.log).map_err(failed)?;
    let snapshots = SnapshotDir::new(Arc::clone(&deps.disk), paths.snapshots(), owner);
    spec.stats.log.torn_batches.add(log.recovered().torn_batches);
    let recorded = &log.recovered().snapshots;
    snapshots.sweep(recorded).map_err(failed)?;
    let tokens = snapshots.usable(recorded).map_err(failed)?;
    let context =
        StateContext { group, uid: owner.group, incarnation: owner.incarnation, dir: paths.state() };
    let before = deps.clock.monotonic();
    let machine = deps.machines.open(&context).map_err(failed)?;
    let held = Held::ask(group, machine.as_ref(), spec.store_is_rotten);
    let store_open = deps.clock.monotonic().saturating_sub(before);
    let (deps, spec) = (Arc::clone(deps), spec.clone());
    Ok(Found { deps, spec, owner, place, log, snapshots, tokens, machine, held, store_open })
}

impl Found {
    /// Whether [`Found::pass`] takes as long as the state is large.
    pub(crate) fn is_heavy(&mut self) -> bool {
        let (gate, machine) = self.gate();
        gate.is_heavy(machine)
    }

    /// Does what the cold-start gate says, and gives everything a raft node starts from.
    pub(crate) fn pass(mut self) -> Result<Opened, StartError> {
        let (gate, machine) = self.gate();
        let Passed { record, intact, damaged, waits, report } = gate.pass(machine)?;
        let report = report.map(|report| ColdStartReport { store_open: self.store_open, ..report });
        let group = self.spec.group;
        for token in &damaged {
            // Never used again, but there to be looked at. If it cannot be put aside, the next start finds it again.
            self.spec.stats.snapshots.corrupt.increment();
            let aside = self.snapshots.quarantine(token.id);
            tracing::warn!(%group, index = %token.id.index, ?aside, "damaged snapshot put aside");
        }
        let Self { spec, owner, place, log, snapshots, machine, .. } = self;
        let reopen = || SegmentedLog::open(place, spec.config.log);
        let log = check_log(log, reopen, (group, owner), &record)?;
        let tail = read_tail(&log, &record, spec.config.core.tail_bytes_max);
        Ok(Opened {
            replica: owner.replica,
            incarnation: owner.incarnation,
            log: Box::new(log),
            machine,
            record,
            snapshots,
            tokens: intact,
            tail,
            addresses: BTreeMap::new(),
            must_publish: !damaged.is_empty() && waits.is_none(),
            waits,
            report,
        })
    }

    fn gate(&mut self) -> (Gate<'_>, &mut dyn StateMachine) {
        let gate = Gate {
            group: self.spec.group,
            owner: self.owner,
            snapshots: &self.snapshots,
            tokens: &self.tokens,
            log: self.log.recovered(),
            log_reader: self.log.reader(),
            unsealer: self.deps.unsealer.as_ref(),
            held: &self.held,
            config: &self.spec.config.cold_start,
            disk: self.deps.disk.as_ref(),
            is_alone: self.spec.is_alone,
            clock: Arc::clone(&self.deps.clock),
        };
        (gate, self.machine.as_mut())
    }
}

/// Whose directory it is. A removed replica never comes back.
fn read_identity(
    deps: &GroupDeps,
    group: GroupId,
    paths: &ReplicaPaths,
) -> Result<ReplicaIdentity, StartError> {
    let failed = |cause| StartError::Open { group, cause };
    let path = paths.replica_file();
    match ReplicaIdentity::read(deps.disk.as_ref(), &path).map_err(failed)? {
        None => Err(failed(Error::Missing { path })),
        Some(found) if found.tombstone => Err(StartError::Refused { group, reason: "removed" }),
        Some(found) if found.group != group => {
            let (expected, found) = (group.to_string(), found.group.to_string());
            Err(failed(Error::Foreign { what: "group", file: path, expected, found }))
        }
        Some(found) => Ok(found),
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
