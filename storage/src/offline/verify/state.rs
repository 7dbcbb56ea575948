//! The current generation of a group's state.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::progress::Tally;
use crate::disk::Disk;
use crate::error::Error;
use crate::ids::{GroupUid, Index};
use crate::kv::StoreKind;
use crate::kv::check_lsm_files;
use crate::kv::offline::{Copying, NotOpened, OfflinePlace, OfflineStore, kind_of};
use crate::offline::inspect::state::{DEPTH_MAX, bytes_below};
use crate::offline::{Finding, FindingClass, LookOptions, StoppedDir};
use crate::state::{RecordHasher, StateDigest};

/// Held while a sled store is copied and checked: the scratch directory has room for the largest one, not for several.
static SCRATCH: Mutex<()> = Mutex::new(());

/// The current generation in `dir` and its store, if there is one.
pub(super) fn current(disk: &dyn Disk, dir: &Path, tally: &mut Tally<'_>) -> Option<(PathBuf, StoreKind)> {
    let entries = match disk.list(dir) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return None,
        Err(cause) => {
            tally.found(&Error::io("list", dir, cause), dir);
            return None;
        }
    };
    let numbers =
        entries.iter().filter(|entry| entry.is_dir).filter_map(|entry| entry.name.parse::<u64>().ok());
    let path = dir.join(numbers.max()?.to_string());
    match kind_of(disk, &path) {
        Ok(kind) => Some((path, kind?)),
        Err(error) => {
            tally.found(&error, &path);
            None
        }
    }
}

/// Checks the store of `kind` in `generation`. Gives the entry up to which it says it holds, 0 if it says none; `None` if
/// it was not asked or could not answer.
pub(super) fn check(
    dir: &StoppedDir,
    options: &LookOptions,
    (generation, kind): (&Path, StoreKind),
    (uid, tally): (GroupUid, &mut Tally<'_>),
) -> Option<Index> {
    let disk = &**dir.disk();
    let (clock, scratch) = (options.clock.clone(), options.scratch.clone());
    let place = OfflinePlace { disk: dir.disk().clone(), clock, scratch };
    if kind == StoreKind::Sled && place.would_trust_sled(generation).is_ok_and(|is_trusted| !is_trusted) {
        // The next start restores it, whatever is in it.
        return None;
    }
    let _scratch = (kind == StoreKind::Sled).then(|| SCRATCH.lock());
    if kind == StoreKind::Lsm {
        let mut found = Vec::new();
        check_lsm_files(disk, generation, &mut |error| found.push(error), &mut |bytes| tally.read(bytes));
        for error in found {
            tally.found(&error, generation);
        }
    } else {
        tally.read(bytes_below(disk, generation, DEPTH_MAX).unwrap_or(0));
    }
    tally.file_done();
    match place.open(kind, generation, Copying::IfNeeded) {
        Ok(store) => {
            check_values(&store, generation, uid, tally);
            let marker = store.marker(generation).ok()?;
            Some(marker.map_or(Index(0), |(_, record)| record.applied.index))
        }
        Err(NotOpened::Failed(error)) => {
            tally.found(&error, generation);
            None
        }
        Err(NotOpened::Scratch(error)) => {
            let problem = format!("the store was not opened: {error}");
            tally.keep(Finding {
                class: FindingClass::Unchecked,
                problem,
                ..Finding::of(&error, generation)
            });
            None
        }
        Err(NotOpened::WouldWrite) => unreachable!("a copy was allowed"),
    }
}

/// Every value, and that together they are what the applied record says.
fn check_values(store: &OfflineStore, dir: &Path, uid: GroupUid, tally: &mut Tally<'_>) {
    if let Some((file, end)) = &store.torn {
        tally.keep(Finding::torn(
            file,
            *end,
            "torn tail: batches that were never synced; the next start cuts them",
        ));
    }
    let hasher = RecordHasher::new(uid);
    let (mut records, mut bytes, mut digest) = (0_u64, 0_u64, StateDigest::EMPTY);
    let mut bad = Vec::new();
    let read = store.for_each(
        dir,
        &mut |key, value| {
            records += 1;
            bytes += (key.len() + value.len()) as u64;
            digest = digest.with(hasher.hash(key, value));
        },
        &mut |error| bad.push(error),
    );
    let is_complete = bad.is_empty() && read.is_ok();
    for error in bad.into_iter().chain(read.err()) {
        tally.found(&error, dir);
    }
    let (counts, record) = match store.marker(dir) {
        Ok(Some(marker)) => marker,
        Ok(None) => return,
        Err(error) => return tally.found(&error, dir),
    };
    if !is_complete {
        return;
    }
    let digests = [record.digest, digest].map(|digest| (digest.0 >> 64) as u64);
    let sums = [
        (counts.records == records, "count of records", [counts.records, records]),
        (counts.bytes == bytes, "bytes of records", [counts.bytes, bytes]),
        (record.digest == digest, "state digest", digests),
    ];
    for (_, what, [expected, found]) in sums.into_iter().filter(|(is_right, ..)| !is_right) {
        tally.found(&Error::Corrupt { what, file: dir.to_path_buf(), offset: 0, expected, found }, dir);
    }
}
