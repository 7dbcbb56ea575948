//! Decoders without a public way in, for fuzzing. Nothing else calls this.
//!
//! A *codec* reads bytes and gives what it has read as this release writes it; `None` for bytes that are refused.

use std::collections::BTreeMap;
use std::path::Path;

use crate::disk::Disk;
use crate::error::Result;
use crate::identity::{FileOwner, read_peers};
use crate::ids::{Incarnation, NodeId};
use crate::kv;
use crate::log::survey::{Depth, Event, SurveyPlace, survey};
use crate::snapshot::{SnapshotToken, find_damage};

/// Where decoders that name a file are told to be.
const PLACE: &str = "fuzzed";

/// The codec of a key-value store's marker.
pub fn marker(bytes: &[u8]) -> Option<Vec<u8>> {
    let (counts, record) = kv::marker::decode(bytes, Path::new(PLACE)).ok().flatten()?;
    Some(kv::marker::encode(counts, &record))
}

/// The codec of the trust file of a sled store.
pub fn trust(bytes: &[u8]) -> Option<Vec<u8>> {
    let (boot, is_clean) = kv::trust::decode(bytes.try_into().ok()?)?;
    Some(kv::trust::encode(boot, is_clean).to_vec())
}

/// What the memory of the other nodes' directories at `path` says.
///
/// # Errors
/// It is refused, or the disk fails.
pub fn peers(disk: &dyn Disk, path: &Path) -> Result<BTreeMap<NodeId, Incarnation>> {
    read_peers(disk, path)
}

/// How many tables the version file of an LSM tree names; its checksum is taken to be right.
pub fn lsm_tables(version: &[u8]) -> Option<usize> {
    kv::count_lsm_tables(version)
}

/// How many things are wrong with the snapshot at `path`.
///
/// # Errors
/// Those of the disk.
pub fn snapshot_damage(disk: &dyn Disk, path: &Path, token: &SnapshotToken) -> Result<usize> {
    Ok(find_damage(disk, path, token)?.len())
}

/// How many things are wrong with the log in `dir`.
///
/// # Errors
/// Those of the disk.
pub fn log_damage(disk: &dyn Disk, dir: &Path, owner: FileOwner) -> Result<usize> {
    let mut count = 0;
    survey(SurveyPlace { disk, dir, owner }, Depth::Everything, &mut |event| {
        count += usize::from(matches!(event, Event::Found(_)));
    })?;
    Ok(count)
}
