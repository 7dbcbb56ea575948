//! `<data>/peers`: which data directories the other nodes had, as this node last knew.
//!
//! A node that lost its directory has forgotten its votes, and must not vote under its old id. The catalog says which
//! directory a node is bound to, but it is read only once group 0 has a leader: this file says it before.

use std::collections::BTreeMap;
use std::path::Path;

use quorate_telemetry::Rng;

use crate::disk::{Disk, OpenMode};
use crate::error::{Error, Result};
use crate::identity::{FileHeader, FileKind, FileOwner, HEADER_BYTES, small_file};
use crate::ids::{Incarnation, NodeId};

/// Node id and incarnation.
const PEER_BYTES: usize = 24;
/// Most bytes of the file that are read.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Reads the file at `path`; empty if there is none.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::NewerFormat`], [`Error::Foreign`] (another kind of file), [`Error::Io`].
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> Result<BTreeMap<NodeId, Incarnation>> {
    let Some(size) = disk.size(path).map_err(|cause| Error::io("stat", path, cause))? else {
        return Ok(BTreeMap::new());
    };
    let corrupt = |expected, found| Error::Corrupt {
        what: "peers file",
        file: path.to_path_buf(),
        offset: HEADER_BYTES as u64,
        expected,
        found,
    };
    if size > FILE_BYTES_MAX {
        return Err(corrupt(FILE_BYTES_MAX, size));
    }
    let file = disk.open(path, OpenMode::Read).map_err(|cause| Error::io("open", path, cause))?;
    let mut bytes = vec![0; usize::try_from(size).expect("bounded by FILE_BYTES_MAX")];
    file.read_exact_at(&mut bytes, 0).map_err(|cause| Error::io("read", path, cause))?;
    let header = FileHeader::decode(&bytes, FileKind::Peers, path)?;
    header.check_clear(path)?;
    let Some((body, crc)) = bytes[HEADER_BYTES..].split_last_chunk::<4>() else {
        return Err(corrupt(4, size));
    };
    let (stored, computed) = (u32::from_le_bytes(*crc), crc32fast::hash(body));
    if stored != computed || !body.len().is_multiple_of(PEER_BYTES) {
        return Err(corrupt(computed.into(), stored.into()));
    }
    let peers = body.chunks_exact(PEER_BYTES).map(|peer| {
        let node = u64::from_le_bytes(std::array::from_fn(|at| peer[at]));
        (NodeId(node), Incarnation(std::array::from_fn(|at| peer[8 + at])))
    });
    Ok(peers.collect())
}

/// Replaces the file at `path`. Durable on return.
pub(super) fn write(
    disk: &dyn Disk,
    path: &Path,
    peers: &BTreeMap<NodeId, Incarnation>,
    rng: &dyn Rng,
) -> Result<()> {
    let mut body = Vec::with_capacity(peers.len() * PEER_BYTES);
    for (node, incarnation) in peers {
        body.extend_from_slice(&node.get().to_le_bytes());
        body.extend_from_slice(&incarnation.0);
    }
    let header = FileHeader::new(FileKind::Peers, FileOwner::default(), rng);
    small_file::replace(disk, path, &header, &body)
}
