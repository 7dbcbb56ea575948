//! Makes the new directory beside the old one, and puts it in its place.

use std::sync::Arc;

use quorate_telemetry::Rng;

use super::look::Found;
use super::telling::Telling;
use super::{Adopted, EPOCHS_SKIPPED, RepairRefusal};
use crate::descriptor::{GroupDescriptor, ReplicaDescriptor};
use crate::entry::{ConfState, HardState};
use crate::error::{Error, Result};
use crate::identity::{ReplicaIdentity, ReplicaPaths, repaired_path, switch, sync_dir};
use crate::ids::{ConfEpoch, GroupUid, Incarnation};
use crate::log::{LogBatch, LogConfig, LogPlace, LogStore as _, SegmentedLog};
use crate::offline::StoppedDir;
use crate::snapshot::{SnapshotDir, SnapshotLabel, SnapshotSink as _, SnapshotToken};
use crate::state::{AppliedRecord, StateDigest};

/// Makes what was found the group's beginning. Durable on return.
pub(super) fn adopt(
    dir: &StoppedDir,
    found: &Found,
    rng: &Arc<dyn Rng>,
    telling: &mut Telling<'_>,
) -> Result<Adopted, RepairRefusal> {
    let (uid, incarnation) = (GroupUid(rng.next_id()), Incarnation(rng.next_id()));
    let digest = found.verify(uid, telling)?;
    let old = &found.identity;
    let new = ReplicaIdentity { uid, incarnation, ..*old };
    let record = succeeding_record(&found.record, &new, digest);
    let disk = dir.disk();
    let repaired = repaired_path(dir.path(), old.group);
    disk.remove_dir_all(&repaired).map_err(|cause| Error::io("remove", &repaired, cause))?;
    disk.create_dir_all(&repaired).map_err(|cause| Error::io("create", &repaired, cause))?;
    let paths = ReplicaPaths::new(repaired);
    let token = write_snapshot(dir, found, (&new, &paths), (record, rng.as_ref()), telling)?;
    write_log(dir, found, (&new, &paths), (token, rng))?;
    // Last: with this file the directory is one that a switch may put in place.
    new.create(&**disk, &paths.replica_file(), rng.as_ref())?;
    sync_dir(&**disk, paths.root())?;
    sync_dir(&**disk, &dir.path().join("groups"))?;
    switch(&**disk, dir.path(), old)?;
    Ok(Adopted { group: new.group, uid, replica: new.replica })
}

/// The same state, of a group with this replica as its only member.
fn succeeding_record(held: &AppliedRecord, new: &ReplicaIdentity, digest: StateDigest) -> AppliedRecord {
    let own = held.descriptor.replica(new.replica).expect("a member's state was looked at");
    let descriptor = GroupDescriptor {
        uid: new.uid,
        conf_epoch: ConfEpoch(held.descriptor.conf_epoch.get().saturating_add(EPOCHS_SKIPPED)),
        replicas: vec![ReplicaDescriptor { incarnation: new.incarnation, ..*own }],
        ..held.descriptor.clone()
    };
    let conf_state = ConfState::of_voters(vec![new.replica]);
    AppliedRecord { conf_state, descriptor, incarnation: new.incarnation, digest, ..held.clone() }
}

fn write_snapshot(
    dir: &StoppedDir,
    found: &Found,
    (new, paths): (&ReplicaIdentity, &ReplicaPaths),
    (record, rng): (AppliedRecord, &dyn Rng),
    telling: &mut Telling<'_>,
) -> Result<SnapshotToken> {
    let snapshots = SnapshotDir::new(dir.disk().clone(), paths.snapshots(), new.owner());
    snapshots.create()?;
    snapshots.check_room(record.applied, found.bytes(), 0)?;
    let mut writer = snapshots.writer(&SnapshotLabel { record }, rng)?;
    found.for_each(&mut |key, value| {
        telling.read(key, value);
        writer.put(key, value)
    })?;
    writer.finish()
}

/// A log that begins behind the snapshot, with the entries that are kept.
fn write_log(
    dir: &StoppedDir,
    found: &Found,
    (new, paths): (&ReplicaIdentity, &ReplicaPaths),
    (token, rng): (SnapshotToken, &Arc<dyn Rng>),
) -> Result<()> {
    let place = LogPlace {
        disk: dir.disk().clone(),
        dir: paths.wal(),
        owner: new.owner(),
        rng: rng.stream(rng.next_u64()),
    };
    let mut log = SegmentedLog::create(place, LogConfig::default(), token)?;
    let mut term = token.id.term;
    let last = found.read_tail(&mut |entries| {
        term = entries.last().map_or(term, |last| term.max(last.term));
        log.append(&[LogBatch { entries, ..LogBatch::default() }], true)
    })?;
    let known = found.log.as_ref().map(|log| log.state.hard_state).unwrap_or_default();
    let commit = known.commit.min(last).max(token.id.index);
    let hard_state = HardState { term: term.max(known.term), vote: None, commit };
    log.append(&[LogBatch { hard_state: Some(hard_state), ..LogBatch::default() }], true)?;
    log.close()
}
