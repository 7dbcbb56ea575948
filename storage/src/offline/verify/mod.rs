//! Whether a data directory is still what was written: every checksum in it, every value of its stores.

mod backup;
mod group;
mod parallel;
mod progress;
mod snapshots;
mod state;

pub use backup::verify_backup;
pub use progress::{VerifyProgress, VerifyReport};

use std::num::NonZeroUsize;
use std::path::Path;

use self::progress::Tally;
use super::inspect::state::{DEPTH_MAX, bytes_below};
use super::{Finding, LookOptions, StoppedDir};
use crate::error::Error;
use crate::identity::{NodeIdentity, read_peers};
use crate::ids::GroupId;

/// Most groups that are checked at a time. A disk is busy with a few readers, and each may hold a large batch.
pub const READERS_MAX: usize = 4;

/// Checks everything in `dir`, goes on after damage, and changes nothing:
///
/// - the node file, the memory of the peers, and the replica files;
/// - the mark of a replica whose state was proven wrong, if there is one;
/// - of each log every batch: both tables, every entry's checksum, the chain from batch to batch and from segment to
///   segment, the seals; and whether a start would take it;
/// - every snapshot: its footer against the log's record, every block, its index; of a key-value group also that
///   its records add up to the digest in its label;
/// - of each current generation: an LSM tree's files against the checksums in its version file; every value by its
///   checksum; that the records add up to the counts and the digest of its applied record.
///
/// Left out is what the next start removes: unfinished files, old generations, replaced replicas. `progress` is
/// called about once a MiB. Up to [`READERS_MAX`] groups are checked side by side, as far as there are processors; the
/// report is the same however many. Memory, for each of them: one segment of a log at a time (4 MiB, or one batch of up
/// to 256 MiB).
pub fn verify(
    dir: &StoppedDir,
    options: &LookOptions,
    progress: &mut dyn FnMut(&VerifyProgress),
) -> VerifyReport {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    verify_by(dir, options, processors.min(READERS_MAX), progress)
}

/// [`verify`], with at most `readers` threads.
pub(super) fn verify_by(
    dir: &StoppedDir,
    options: &LookOptions,
    readers: usize,
    progress: &mut dyn FnMut(&VerifyProgress),
) -> VerifyReport {
    let mut tally = Tally::new(progress);
    let groups = match dir.groups(options.group) {
        Ok(groups) => groups,
        Err(error) => {
            tally.found(&error, dir.path());
            Vec::new()
        }
    };
    tally.expect(total_bytes(dir, &groups));
    check_node(dir, &mut tally);
    parallel::check_groups((dir, options), &groups, readers, &mut tally);
    tally.finish(dir.path())
}

fn check_node(dir: &StoppedDir, tally: &mut Tally<'_>) {
    let path = dir.node_file();
    match NodeIdentity::read(&**dir.disk(), &path) {
        Ok(Some(_)) => {}
        // It comes last: a directory without one is new, unless there are groups in it.
        Ok(None) if dir.groups(None).is_ok_and(|groups| groups.is_empty()) => {}
        Ok(None) => tally.found(&Error::Missing { path: path.clone() }, &path),
        Err(error) => tally.found(&error, &path),
    }
    tally.file(size(dir, &path));
    // One that is corrupt counts as empty, and is written anew.
    let peers = dir.path().join("peers");
    if let Err(error) = read_peers(&**dir.disk(), &peers) {
        tally.keep(Finding::of(&error, &peers).redundant());
    }
    if dir.disk().size(&peers).is_ok_and(|size| size.is_some()) {
        tally.file(size(dir, &peers));
    }
}

/// Bytes of everything; what cannot be measured is found later.
fn total_bytes(dir: &StoppedDir, groups: &[GroupId]) -> u64 {
    let disk = &**dir.disk();
    let group = |group: &GroupId| bytes_below(disk, dir.group(*group).root(), DEPTH_MAX).unwrap_or(0);
    size(dir, &dir.node_file()) + size(dir, &dir.path().join("peers")) + groups.iter().map(group).sum::<u64>()
}

/// Size of a file; 0 if there is none.
fn size(dir: &StoppedDir, path: &Path) -> u64 {
    dir.disk().size(path).ok().flatten().unwrap_or(0)
}

impl Tally<'_> {
    /// Notes what `error` says; about `place` if it does not say itself where it was.
    fn found(&mut self, error: &Error, place: &Path) {
        self.keep(Finding::of(error, place));
    }
}
