//! One group's directory: replica file and log here, snapshots and state beside.

use std::path::Path;

use super::progress::Tally;
use super::{size, snapshots, state};
use crate::disk::{Disk, OpenMode};
use crate::identity::{FileHeader, FileKind, FileOwner, HEADER_BYTES, ReplicaIdentity, ReplicaPaths};
use crate::ids::GroupId;
use crate::log::survey::{Depth, Event, Role, SurveyPlace, survey};
use crate::log::{LogState, read_state};
use crate::offline::{Finding, LookOptions, StoppedDir};

/// Files of a log that are opened to learn whose it is.
const OWNER_FILES_MAX: usize = 8;

/// Checks everything of `group`.
pub(super) fn check(dir: &StoppedDir, options: &LookOptions, group: GroupId, tally: &mut Tally<'_>) {
    let (disk, paths) = (&**dir.disk(), dir.group(group));
    let replica_file = paths.replica_file();
    let owner = match ReplicaIdentity::read(disk, &replica_file) {
        // A creation that a crash interrupted is begun anew; what a removed replica left goes.
        Ok(None) => return,
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
            let Some(owner) = find_owner(disk, &paths.wal()) else { return };
            owner
        }
    };
    let log = check_log(disk, &paths, owner, tally);
    let kind = state::current(disk, &paths.state(), tally);
    let snapshots = snapshots::Place { disk, dir: &paths.snapshots(), owner };
    snapshots.check(log.as_ref(), kind.is_some(), tally);
    if let Some((generation, kind)) = kind {
        state::check(dir, options, (&generation, kind), (owner.group, tally));
    }
}

/// Whose the log is, as its own files say: the replica file does not.
fn find_owner(disk: &dyn Disk, wal: &Path) -> Option<FileOwner> {
    let entries = disk.list(wal).ok()?;
    entries.iter().take(OWNER_FILES_MAX).find_map(|entry| {
        let path = wal.join(&entry.name);
        let mut bytes = [0; HEADER_BYTES];
        disk.open(&path, OpenMode::Read).ok()?.read_exact_at(&mut bytes, 0).ok()?;
        Some(FileHeader::decode(&bytes, FileKind::Log, &path).ok()?.owner)
    })
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
