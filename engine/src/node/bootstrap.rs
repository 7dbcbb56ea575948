//! What a new cluster looks like: group 0, and version 0 of the catalog. Pure.

use quorate_shard::catalog::{CATALOG_GROUP, Catalog, CatalogEdit, GroupRecord, NodeRecord};
use quorate_storage::ids::hash_128;
use quorate_storage::{
    ClusterId, ConfEpoch, GroupDescriptor, GroupUid, Incarnation, KeyRange, NodeId, RangeEpoch,
    ReplicaDescriptor, ReplicaId,
};
use quorate_telemetry::Rng;

use crate::config::{Bootstrap, CATALOG_VOTERS_MAX, NodeAddress};

/// Group 0's birth descriptor: derived from the cluster id and the initial nodes alone, so that every node
/// makes the same one. Its replica ids are the node ids; its incarnations are not known.
pub(crate) fn catalog_descriptor(cluster: ClusterId, nodes: &[NodeAddress]) -> GroupDescriptor {
    let mut voters: Vec<NodeId> = nodes.iter().map(|node| node.node).collect();
    voters.sort_unstable();
    voters.truncate(CATALOG_VOTERS_MAX);
    GroupDescriptor {
        group: CATALOG_GROUP,
        uid: GroupUid(hash_128("quorate group 0", &cluster.0)),
        // It serves no user key.
        range: KeyRange { start: bytes::Bytes::new(), end: Some(bytes::Bytes::new()) },
        range_epoch: RangeEpoch(1),
        conf_epoch: ConfEpoch(1),
        replicas: voters
            .into_iter()
            .map(|node| ReplicaDescriptor {
                replica: ReplicaId(node.get()),
                node,
                incarnation: Incarnation::ZERO,
            })
            .collect(),
    }
}

/// The first version of the catalog, written by the first leader of group 0. Conditional on there being
/// none, so replicas that were started with different flags cannot hold different catalogs.
pub(crate) fn first_version(
    cluster: ClusterId,
    nodes: &[NodeAddress],
    bootstrap: &Bootstrap,
    rng: &dyn Rng,
) -> CatalogEdit {
    let mut edit = Catalog::default().edit();
    let highest = nodes.iter().map(|node| node.node.get()).max().unwrap_or(0);
    edit.replicas_from(ReplicaId(highest + 1));
    for node in nodes {
        edit.put_node(&NodeRecord {
            node: node.node,
            incarnation: Incarnation::ZERO,
            peer: node.peer,
            resp: node.resp,
            admin: node.admin,
        });
    }
    let mut catalog_group = GroupRecord::new(catalog_descriptor(cluster, nodes));
    catalog_group.created = catalog_group.descriptor.replicas.iter().map(|replica| replica.replica).collect();
    edit.put_group(&catalog_group);
    let ids: Vec<NodeId> = nodes.iter().map(|node| node.node).collect();
    for (at, range) in bootstrap.ranges.iter().enumerate() {
        let placed = place(&ids, at, bootstrap.replication);
        let group = new_group(&mut edit, range.clone(), &placed, rng);
        edit.put_group(&group);
    }
    edit
}

/// A group's record with fresh ids: one replica on each of `nodes`, in that order (the first campaigns).
pub(crate) fn new_group(
    edit: &mut CatalogEdit,
    range: KeyRange,
    nodes: &[NodeId],
    rng: &dyn Rng,
) -> GroupRecord {
    let group = edit.take_group();
    let replicas = nodes
        .iter()
        .map(|&node| ReplicaDescriptor {
            replica: edit.take_replica(),
            node,
            incarnation: Incarnation(rng.next_id()),
        })
        .collect();
    GroupRecord::new(GroupDescriptor {
        group,
        uid: GroupUid(rng.next_id()),
        range,
        range_epoch: RangeEpoch(1),
        conf_epoch: ConfEpoch(1),
        replicas,
    })
}

/// Round robin: the `at`-th group starts on the `at`-th node, so first leaders spread over all nodes.
pub(crate) fn place(nodes: &[NodeId], at: usize, replication: usize) -> Vec<NodeId> {
    (0..replication.min(nodes.len())).map(|i| nodes[(at + i) % nodes.len()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placement_spreads_first_replicas_and_never_puts_two_on_one_node() {
        let nodes: Vec<NodeId> = (1..=5).map(NodeId).collect();
        let mut first = [0; 6];
        for at in 0..10 {
            let mut placed = place(&nodes, at, 3);
            first[placed[0].get() as usize] += 1;
            placed.sort_unstable();
            placed.dedup();
            assert_eq!(placed.len(), 3);
        }
        assert_eq!(first, [0, 2, 2, 2, 2, 2]);
        assert_eq!(place(&nodes[..2], 0, 3).len(), 2);
    }

    #[test]
    fn every_node_derives_the_same_group_0() {
        let address = |node| NodeAddress {
            node: NodeId(node),
            peer: ([127, 0, 0, 1], 1).into(),
            resp: None,
            admin: None,
        };
        let cluster = crate::config::cluster_id("c");
        let a = catalog_descriptor(cluster, &[address(3), address(1), address(2)]);
        let b = catalog_descriptor(cluster, &[address(1), address(2), address(3)]);
        assert_eq!(a, b);
        assert_eq!(a.replicas.len(), 3);
        let seven: Vec<_> = (1..=7).map(address).collect();
        assert_eq!(catalog_descriptor(cluster, &seven).replicas.len(), CATALOG_VOTERS_MAX);
    }
}
