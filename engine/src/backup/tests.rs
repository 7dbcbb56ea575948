//! The plan of a restored cluster: every node comes to the same one, and to another one for another backup.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate_shard::catalog::{CATALOG_GROUP, Catalog, ReplicaOrigin};
use quorate_storage::backup::{BackupGroup, Manifest};
use quorate_storage::snapshot::SnapshotToken;
use quorate_storage::{
    EntryId, GroupId, GroupUid, Index, KeyRange, NodeId, RangeEpoch, ReplicaId, Sha256Sum, Term,
};
use quorate_telemetry::rng::SeededRng;

use super::catalog::CatalogRecords;
use super::plan::{Plan, Source, Target};
use crate::config::{Bootstrap, NodeAddress, cluster_id, uniform_ranges};
use crate::error::Error;
use crate::node::bootstrap::first_version;

const GROUPS: u16 = 4;

fn address(node: u64) -> NodeAddress {
    let peer = ([127, 0, 0, 1], u16::try_from(7_000 + node).unwrap()).into();
    NodeAddress { node: NodeId(node), peer, resp: None, admin: None }
}

/// The catalog of a cluster of three nodes, as group 0 holds it.
fn old_catalog() -> Catalog {
    let nodes: Vec<_> = (1..=3).map(address).collect();
    let bootstrap = Bootstrap { nodes: nodes.clone(), ranges: uniform_ranges(GROUPS), replication: 3 };
    let edit = first_version(cluster_id("old"), &nodes, &bootstrap, &SeededRng::new(1));
    decode(edit.into_command().ops.into_iter().map(|op| match op {
        quorate_storage::kv::Op::Put(key, value) => (key, value),
        other => panic!("{other:?}"),
    }))
}

fn decode(records: impl IntoIterator<Item = (Bytes, Bytes)>) -> Catalog {
    let mut taken = CatalogRecords::default();
    for (key, value) in records {
        taken.take(&key, &value);
    }
    taken.decode().unwrap()
}

fn manifest(catalog: &Catalog) -> Manifest {
    let group = |group: GroupId, uid, range: &KeyRange| BackupGroup {
        group,
        uid,
        range: range.clone(),
        range_epoch: RangeEpoch(7),
        token: SnapshotToken { id: EntryId { term: Term(3), index: Index(90) }, bytes: 1_000, crc: 1 },
        sha256: Sha256Sum([1; 32]),
        digest: None,
        records: 1,
    };
    let users = catalog
        .user_groups()
        .map(|record| group(record.descriptor.group, record.descriptor.uid, &record.descriptor.range));
    let groups = std::iter::once(group(CATALOG_GROUP, GroupUid([9; 16]), &KeyRange::all())).chain(users);
    Manifest {
        cluster: cluster_id("old"),
        cluster_name: None,
        begun_ms: 1,
        ended_ms: 2,
        groups: groups.collect(),
    }
}

fn plan(name: &str, backup: u8, nodes: &[NodeAddress]) -> Result<Plan, Error> {
    let catalog = old_catalog();
    let manifest = manifest(&catalog);
    let source = Source { manifest: &manifest, hash: Sha256Sum([backup; 32]), catalog: &catalog };
    Plan::new(source, Target { cluster: cluster_id(name), nodes, replication: 3 })
}

#[test]
fn every_node_comes_to_the_same_plan_in_whatever_order_it_lists_the_nodes() {
    let (up, down): (Vec<_>, Vec<_>) = ((1..=5).map(address).collect(), (1..=5).rev().map(address).collect());
    assert_eq!(plan("new", 1, &up).unwrap(), plan("new", 1, &down).unwrap());
}

#[test]
fn groups_keep_ids_and_ranges_and_get_identities_of_this_cluster_and_this_backup() {
    let old = old_catalog();
    let mut uids: BTreeSet<_> = old.groups.values().map(|record| record.descriptor.uid).collect();
    for (name, backup) in [("new", 1), ("new", 2), ("other", 1)] {
        let plan = plan(name, backup, &[address(1)]).unwrap();
        assert_eq!(plan.groups.len(), usize::from(GROUPS) + 1);
        for (id, descriptor) in &plan.groups {
            assert!(uids.insert(descriptor.uid), "group {id} of {name} has a uid that is known");
            if let Some(before) = old.groups.get(id).filter(|_| *id != CATALOG_GROUP) {
                assert_eq!(descriptor.range, before.descriptor.range);
                assert_eq!(descriptor.range_epoch, RangeEpoch(7), "the group's own, not the catalog's");
            }
        }
    }
}

#[test]
fn the_new_catalog_says_what_the_snapshots_say_and_that_every_replica_was_made() {
    let old = old_catalog();
    for nodes in [1, 2, 3, 7] {
        let nodes: Vec<_> = (1..=nodes).map(address).collect();
        let plan = plan("new", 1, &nodes).unwrap();
        let catalog = decode(plan.catalog.clone());
        assert_eq!(catalog.version, Some(0));
        assert!(catalog.next_group == old.next_group && catalog.next_replica >= old.next_replica);
        assert!(catalog.nodes.values().map(|record| record.node).eq(nodes.iter().map(|node| node.node)));
        assert!(catalog.nodes.values().all(|record| record.incarnation.is_zero()));
        let mut replicas = BTreeSet::new();
        for (id, descriptor) in &plan.groups {
            let record = &catalog.groups[id];
            assert_eq!(&record.descriptor, descriptor);
            let ids: BTreeSet<ReplicaId> =
                descriptor.replicas.iter().map(|replica| replica.replica).collect();
            assert_eq!(record.created, ids, "one that is missing is lost, never made anew");
            let wanted = if *id == CATALOG_GROUP { 5 } else { 3 };
            assert_eq!(ids.len(), nodes.len().min(wanted));
            for replica in &descriptor.replicas {
                assert_eq!(record.replica_on(replica.node), Some(ReplicaOrigin::Birth(*replica)));
                assert!(replica.replica < catalog.next_replica);
                let is_user = *id != CATALOG_GROUP;
                assert!(!is_user || replicas.insert(replica.replica) && !replica.incarnation.is_zero());
            }
        }
        assert_eq!(catalog.route(b"\x80\x00").map(|record| record.descriptor.group), Some(GroupId(3)));
    }
}

#[test]
fn the_cluster_of_the_backup_and_a_catalog_without_its_groups_are_refused() {
    assert!(matches!(plan("old", 1, &[address(1)]), Err(Error::SameCluster(_))));
    let catalog = old_catalog();
    let mut manifest = manifest(&catalog);
    manifest.groups.remove(2);
    let source = Source { manifest: &manifest, hash: Sha256Sum([1; 32]), catalog: &catalog };
    let target = Target { cluster: cluster_id("new"), nodes: &[address(1)], replication: 3 };
    assert!(matches!(Plan::new(source, target), Err(Error::NotInBackup(GroupId(2)))));
    assert!(matches!(CatalogRecords::default().decode(), Err(Error::NoCatalog)));
}
