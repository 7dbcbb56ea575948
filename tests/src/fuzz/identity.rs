//! Small files that say whose a directory is, and what became of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use quorate_storage::disk::SimDisk;
use quorate_storage::fuzzing::{peers, trust};
use quorate_storage::identity::{DataDir, Divergence, NodeIdentity, ReplicaIdentity};
use quorate_storage::state::StateDigest;
use quorate_storage::{ClusterId, Incarnation, Index, NodeId};
use quorate_telemetry::SeededRng;

use super::Target;
use super::fixture::{GROUP, disk_with, owner, read};
use super::laws::written_as_read;
use super::seal;

pub(super) const TARGETS: &[Target] = &[
    Target { name: "identity_file", what: identity_file, seeds: identity_seeds },
    Target { name: "trust_file", what: trust_file, seeds: trust_seeds },
];

const FILE: &str = "/file";
const AGAIN: &str = "/again";

fn identity_file(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    seal::header(&mut sealed);
    if let Some(at) = sealed.len().checked_sub(4).filter(|&at| at >= seal::HEADER_BYTES) {
        let _ = seal::crc(&mut sealed, at, seal::HEADER_BYTES..at);
    }
    read_all(bytes);
    read_all(&sealed);
}

/// As every kind of such a file: another kind's is refused.
fn read_all(bytes: &[u8]) {
    let (file, again) = (Path::new(FILE), Path::new(AGAIN));
    let disk = disk_with(file, bytes);
    let rng = SeededRng::new(1);
    let _ = NodeIdentity::read(&disk, file);
    let _ = peers(&disk, file);
    if let Ok(Some(found)) = ReplicaIdentity::read(&disk, file) {
        found.create(&disk, again, &rng).expect("nothing is there");
        assert_eq!(ReplicaIdentity::read(&disk, again).expect("it was just written"), Some(found));
    } else if let Ok(Some(found)) = Divergence::read(&disk, file) {
        found.write(&disk, again, owner(), &rng).expect("the disk is healthy");
        assert_eq!(Divergence::read(&disk, again).expect("it was just written"), Some(found));
    }
}

fn identity_seeds() -> Vec<Vec<u8>> {
    const WRITTEN: &str = "the disk is healthy";
    let (disk, rng, root) = (SimDisk::new(), SeededRng::new(1), Path::new("/data"));
    let (cluster, node) = (ClusterId([5; 16]), NodeId(7));
    let dir = DataDir::open_or_create(Arc::new(disk.clone()), root, cluster, node, &rng).expect(WRITTEN);
    let known: BTreeMap<_, _> = (1..4).map(|id| (NodeId(id), Incarnation([6; 16]))).collect();
    dir.remember_peers(&known).expect(WRITTEN);
    let owner = owner();
    let live = ReplicaIdentity {
        group: GROUP,
        uid: owner.group,
        replica: owner.replica,
        incarnation: owner.incarnation,
        tombstone: false,
    };
    for (name, tombstone) in [("live", false), ("gone", true)] {
        ReplicaIdentity { tombstone, ..live }.create(&disk, &root.join(name), &rng).expect(WRITTEN);
    }
    let divergence = Divergence { index: Index(7), own: StateDigest(1 << 90), majority: StateDigest(3) };
    divergence.write(&disk, &root.join("diverged"), owner, &rng).expect(WRITTEN);
    ["node", "peers", "live", "gone", "diverged"].map(|name| read(&disk, &root.join(name))).to_vec()
}

fn trust_file(bytes: &[u8]) {
    written_as_read(bytes, trust);
    let mut sealed = bytes.to_vec();
    if let Some(at) = sealed.len().checked_sub(4) {
        let _ = seal::crc(&mut sealed, at, 0..at);
    }
    written_as_read(&sealed, trust);
}

fn trust_seeds() -> Vec<Vec<u8>> {
    let mark = |is_clean: u8| {
        let mut bytes = 1_u16.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[3; 16]);
        bytes.push(is_clean);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    };
    vec![mark(0), mark(1)]
}
