//! One group's directory: replica file and log here, snapshots and state beside.

use std::path::Path;
use std::sync::Arc;

use super::progress::Tally;
use super::{size, snapshots, state};
use crate::disk::Disk;
use crate::error::Error;
use crate::identity::{Divergence, FileOwner, ReplicaIdentity, ReplicaPaths, owner_of_log};
use crate::ids::{GroupId, Index};
use crate::log::survey::{Depth, Event, Role, SurveyPlace, survey};
use crate::log::{LogState, read_state};
use crate::offline::{Finding, LookOptions, StoppedDir};
use crate::snapshot::SnapshotDir;

/// Checks everything of `group`.
pub(super) fn check(dir: &StoppedDir, options: &LookOptions, group: GroupId, tally: &mut Tally<'_>) {
    let (disk, paths) = (&**dir.disk(), dir.group(group));
    let replica_file = paths.replica_file();
    let owner = match ReplicaIdentity::read(disk, &replica_file) {
        // A creation that a crash interrupted is begun anew; what a removed replica left goes.
        Ok(None) if !has_run(disk, &paths) => return,
        Ok(None) => {
            tally.found(&Error::Missing { path: replica_file.clone() }, &replica_file);
            let Some(owner) = owner_of_log(disk, &paths) else { return };
            owner
        }
        Ok(Some(identity)) => {
            tally.file(size(dir, &replica_file));
            if identity.tombstone {
                return;
            }
            identity.owner()
        }
        Err(error) => {
            tally.file(size(dir, &replica_file));
            tally.found(&error, &replica_file);
            let Some(owner) = owner_of_log(disk, &paths) else { return };
            owner
        }
    };
    check_mark(dir, &paths.divergence_file(), tally);
    let log = check_log(disk, &paths, owner, tally);
    let kind = state::current(disk, &paths.state(), tally);
    let snapshots = snapshots::Place { disk, dir: &paths.snapshots(), owner };
    snapshots.check(log.as_ref(), kind.is_some(), tally);
    let (state, held) = match kind {
        Some((generation, kind)) => {
            let held = state::check(dir, options, (&generation, kind), (owner.group, tally));
            (generation, held)
        }
        None => (paths.state(), Some(Index(0))),
    };
    if let Some((log, held)) = log.zip(held) {
        let snapshots = SnapshotDir::new(Arc::clone(dir.disk()), paths.snapshots(), owner);
        check_reach((&log, &snapshots), (&state, held), tally);
    }
}

/// Whether the replica was found to hold another state than its group: a start is refused for it.
fn check_mark(dir: &StoppedDir, path: &Path, tally: &mut Tally<'_>) {
    match Divergence::read(&**dir.disk(), path) {
        Ok(None) => return,
        Ok(Some(divergence)) => tally.keep(Finding::diverged(path, &divergence)),
        Err(error) => tally.found(&error, path),
    }
    tally.file(size(dir, path));
}

/// Whether the replica was ever started: its state's directory is made then.
fn has_run(disk: &dyn Disk, paths: &ReplicaPaths) -> bool {
    disk.size(&paths.state()).is_ok_and(|size| size.is_some())
}

/// A snapshot is published of what the state holds durably, so a state that holds less has lost something. Nothing is
/// lost with it: a start restores it.
fn check_reach(
    (log, snapshots): (&LogState, &SnapshotDir),
    (state, held): (&Path, Index),
    tally: &mut Tally<'_>,
) {
    let newest = snapshots.usable(&log.snapshots).ok().and_then(|usable| usable.last().copied());
    // A log that begins behind the newest snapshot got it from elsewhere, and its state may still have to follow.
    let Some(newest) = newest.filter(|newest| newest.id.index > log.skeleton.base.index.max(held)) else {
        return;
    };
    let (expected, found) = (newest.id.index.get(), held.get());
    let what = "state that a snapshot was published of";
    tally.found(&Error::Corrupt { what, file: state.to_path_buf(), offset: 0, expected, found }, state);
}

/// Checks the log; what a start would find, if it would take it.
fn check_log(
    disk: &dyn Disk,
    paths: &ReplicaPaths,
    owner: FileOwner,
    tally: &mut Tally<'_>,
) -> Option<LogState> {
    let dir = paths.wal();
    let damage_before = tally.damage();
    let surveyed =
        survey(SurveyPlace { disk, dir: &dir, owner }, Depth::Everything, &mut |event| match event {
            Event::Read(bytes) => tally.file(bytes),
            Event::Found(found) => {
                let finding = Finding::of(&found.error, &dir).about(found.entry);
                tally.keep(if found.is_redundant { finding.redundant() } else { finding });
            }
        });
    match surveyed {
        Ok(segments) => {
            for segment in &segments {
                if let Some(at) = segment.torn_at {
                    tally.keep(Finding::torn(&segment.path, at, torn(segment.role)));
                }
            }
        }
        Err(error) => tally.found(&error, &dir),
    }
    match read_state(disk, &dir, &owner) {
        Ok(state) => Some(state),
        Err(error) => {
            // Whatever a start refuses is never called clean.
            if tally.damage() == damage_before {
                tally.found(&error, &dir);
            }
            None
        }
    }
}

fn torn(role: Role) -> &'static str {
    match role {
        Role::Open => "torn tail: the last batch was never proven whole; the next start cuts it",
        Role::Sealed | Role::Closed | Role::Leftover => "torn tail: what a start has cut",
    }
}
