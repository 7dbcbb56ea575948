//! What a start finds on disk, and what it has to restore. Runs on a background worker.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_storage::identity::{ReplicaIdentity, ReplicaPaths};
use quorate_storage::log::{LogPlace, LogStore, SegmentedLog};
use quorate_storage::snapshot::{SnapshotDir, SnapshotLabel, SnapshotToken, read_label};
use quorate_storage::state::AppliedRecord;
use quorate_storage::{Entry, Error, GroupId};
use quorate_telemetry::stats::GroupState;

use crate::actor::gate::{Gate, Passed};
use crate::actor::launch::Opened;
use crate::actor::spec::{GroupDeps, StartSpec, StateContext};
use crate::actor::start::StartError;
use crate::repair::check_log;

pub(crate) fn open_replica(deps: &GroupDeps, spec: &StartSpec) -> Result<Opened, StartError> {
    let group = spec.group;
    let failed = |cause| StartError::Open { group, cause };
    let began = deps.clock.monotonic();
    spec.stats.set_state(GroupState::Opening);
    let paths = ReplicaPaths::new(spec.dir.clone());
    let owner = read_identity(deps, group, &paths)?.owner();
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
    let mut machine = deps.machines.open(&context).map_err(failed)?;

    let log_reader = log.reader();
    let gate = Gate {
        group,
        owner,
        snapshots: &snapshots,
        tokens: &tokens,
        log: log.recovered(),
        log_reader: log_reader.as_ref(),
        unsealer: deps.unsealer.as_ref(),
        config: &spec.config.cold_start,
        clock: Arc::clone(&deps.clock),
        stats: &spec.stats,
        disk: deps.disk.as_ref(),
        is_alone: spec.is_alone,
        store_is_rotten: spec.store_is_rotten,
        began,
    };
    let Passed { record, intact, waits } = gate.pass(machine.as_mut())?;
    for damaged in &tokens[intact.len()..] {
        // Never used again, but there to be looked at. If it cannot be put aside, the next start finds it again.
        let aside = snapshots.quarantine(damaged.id);
        tracing::warn!(%group, index = %damaged.id.index, ?aside, "damaged snapshot put aside");
    }
    let (newest, tokens) = newest_label(deps, &snapshots, intact);
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
        tokens,
        newest,
        tail,
        waits,
        addresses: BTreeMap::new(),
    })
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

/// The newest snapshot whose label can be read, for followers, and everything up to it.
fn newest_label(
    deps: &GroupDeps,
    snapshots: &SnapshotDir,
    mut tokens: &[SnapshotToken],
) -> (Option<(SnapshotToken, Box<SnapshotLabel>)>, Vec<SnapshotToken>) {
    let all = tokens;
    while let Some((newest, older)) = tokens.split_last() {
        match read_label(deps.disk.as_ref(), &snapshots.path_of(newest.id)) {
            Ok(label) => return (Some((*newest, Box::new(label))), tokens.to_vec()),
            Err(error) => tracing::warn!(index = %newest.id.index, %error, "cannot read a snapshot's label"),
        }
        tokens = older;
    }
    // The state is there all the same: the next snapshot that is published helps followers.
    (None, all.to_vec())
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
