//! What a cluster made of a backup looks like. Pure: the same on every node that has the same backup, cluster, nodes and
//! replication, so that nodes restored one by one are one cluster.
//!
//! Every identity of a group is new, and derived from the cluster *and* the backup: so data of two backups never mixes,
//! nor that of the old cluster with the new one's. A node's own incarnation is drawn at random and registered at its first
//! start, as always: a node that is restored once more under its id is not the one the cluster knows.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_shard::catalog::{CATALOG_GROUP, Catalog, GroupRecord, NodeRecord};
use quorate_storage::backup::{BackupGroup, Manifest};
use quorate_storage::ids::hash_128;
use quorate_storage::kv::Op;
use quorate_storage::{
    ClusterId, ConfEpoch, GroupDescriptor, GroupId, GroupUid, Incarnation, NodeId, ReplicaDescriptor,
    ReplicaId, Sha256Sum,
};

use crate::config::NodeAddress;
use crate::error::{Error, Result};
use crate::node::bootstrap::{catalog_descriptor, place};

/// A backup, as far as a plan goes by it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) hash: Sha256Sum,
    /// The catalog in it.
    pub(super) catalog: &'a Catalog,
}

/// The cluster that is made of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) cluster: ClusterId,
    pub(super) nodes: &'a [NodeAddress],
    pub(super) replication: usize,
}

/// What the new cluster begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Every group, group 0 included.
    pub(super) groups: BTreeMap<GroupId, GroupDescriptor>,
    /// The records of the catalog.
    pub(super) catalog: BTreeMap<Bytes, Bytes>,
}

impl Plan {
    /// # Errors
    /// [`Error::SameCluster`]; [`Error::Backup`] with [`Error::NotInBackup`] for a group of the catalog that is missing.
    pub(super) fn new(source: Source<'_>, target: Target<'_>) -> Result<Self> {
        if source.manifest.cluster == target.cluster {
            return Err(Error::SameCluster(target.cluster));
        }
        let mut nodes = target.nodes.to_vec();
        nodes.sort_unstable_by_key(|address| address.node);
        let derive = Derive { cluster: target.cluster, backup: source.hash };
        let catalog_group =
            GroupDescriptor { uid: derive.uid(CATALOG_GROUP), ..catalog_descriptor(target.cluster, &nodes) };
        let highest = nodes.iter().map(|address| address.node.get()).max().unwrap_or(0);
        let mut edit = Catalog::default().edit();
        edit.replicas_from(source.catalog.next_replica.max(ReplicaId(highest + 1)));
        edit.groups_from(source.catalog.next_group);
        for address in &nodes {
            edit.put_node(&NodeRecord {
                node: address.node,
                incarnation: Incarnation::ZERO,
                peer: address.peer,
                resp: address.resp,
                admin: address.admin,
            });
        }
        let ids: Vec<NodeId> = nodes.iter().map(|address| address.node).collect();
        let mut groups = BTreeMap::from([(CATALOG_GROUP, catalog_group)]);
        for (at, record) in source.catalog.user_groups().enumerate() {
            let group = record.descriptor.group;
            let found = source.manifest.group(group).ok_or(Error::NotInBackup(group))?;
            let placed = place(&ids, at, target.replication);
            let replicas = placed.into_iter().map(|node| derive.replica(group, edit.take_replica(), node));
            groups.insert(group, born_again(found, derive.uid(group), replicas.collect()));
        }
        for descriptor in groups.values() {
            let mut record = GroupRecord::new(descriptor.clone());
            // Made by the restore. One whose directory is not there has lost it, and must not be made anew and empty.
            record.created = descriptor.replicas.iter().map(|replica| replica.replica).collect();
            edit.put_group(&record);
        }
        let ops = edit.into_command().ops;
        let catalog = ops.into_iter().filter_map(|op| match op {
            Op::Put(key, value) => Some((key, value)),
            _ => None,
        });
        Ok(Self { catalog: catalog.collect(), groups })
    }
}

/// The group as it was, with another identity and other replicas.
fn born_again(found: &BackupGroup, uid: GroupUid, replicas: Vec<ReplicaDescriptor>) -> GroupDescriptor {
    GroupDescriptor {
        group: found.group,
        uid,
        range: found.range.clone(),
        range_epoch: found.range_epoch,
        conf_epoch: ConfEpoch(1),
        replicas,
    }
}

/// Identities that every node comes to by itself.
#[derive(Clone, Copy, Debug)]
struct Derive {
    cluster: ClusterId,
    backup: Sha256Sum,
}

impl Derive {
    fn uid(&self, group: GroupId) -> GroupUid {
        GroupUid(self.hash("quorate restored group", &[group.get()]))
    }

    fn replica(&self, group: GroupId, replica: ReplicaId, node: NodeId) -> ReplicaDescriptor {
        let incarnation = self.hash("quorate restored replica", &[group.get(), replica.get()]);
        ReplicaDescriptor { replica, node, incarnation: Incarnation(incarnation) }
    }

    fn hash(&self, domain: &str, numbers: &[u64]) -> [u8; 16] {
        let mut bytes = self.cluster.0.to_vec();
        bytes.extend_from_slice(&self.backup.0);
        for number in numbers {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        hash_128(domain, &bytes)
    }
}
