use bytes::Bytes;
use quorate_storage::kv::{Condition, KeyValue, KvCommand, Op};
use quorate_storage::{ConfEpoch, GroupUid, KeyRange, RangeEpoch};
use quorate_telemetry::{Rng, SeededRng};

use super::*;

const SEED: u64 = 0x5eed_0010;

/// Group 0 as far as the catalog needs it.
#[derive(Clone, Debug, Default)]
struct Store(BTreeMap<Bytes, Bytes>);

impl Store {
    /// Whether the command took effect.
    fn apply(&mut self, command: &KvCommand) -> bool {
        let holds = command.conditions.iter().all(|condition| match condition {
            Condition::Equals(key, value) => self.0.get(key) == Some(value),
            Condition::Absent(key) => !self.0.contains_key(key),
            Condition::Present(key) => self.0.contains_key(key),
        });
        if holds {
            for op in &command.ops {
                match op {
                    Op::Put(key, value) => self.0.insert(key.clone(), value.clone()),
                    Op::Delete(key) => self.0.remove(key),
                    other => unreachable!("the catalog has no use for {other:?}"),
                };
            }
        }
        holds
    }

    fn pairs(&self) -> Vec<KeyValue> {
        self.0
            .range(Bytes::from_static(CATALOG_START)..Bytes::from_static(CATALOG_END))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    fn catalog(&self) -> Catalog {
        Catalog::decode(&self.pairs()).unwrap()
    }
}

fn node(id: u64) -> NodeRecord {
    NodeRecord {
        node: NodeId(id),
        incarnation: Incarnation([3; 16]),
        peer: ([127, 0, 0, 1], 7000).into(),
        resp: id.is_multiple_of(2).then(|| "[::1]:6379".parse().unwrap()),
        admin: None,
    }
}

fn replica(id: ReplicaId, on: u64) -> ReplicaDescriptor {
    ReplicaDescriptor { replica: id, node: NodeId(on), incarnation: Incarnation([7; 16]) }
}

fn add_group(edit: &mut CatalogEdit, start: &'static str, end: &'static str) -> GroupRecord {
    let group = edit.take_group();
    let mut record = GroupRecord::new(GroupDescriptor {
        group,
        uid: GroupUid([5; 16]),
        range: KeyRange { start: start.into(), end: Some(end.into()) },
        range_epoch: RangeEpoch(1),
        conf_epoch: ConfEpoch(1),
        replicas: (1..=3).map(|on| replica(edit.take_replica(), on)).collect(),
    });
    record.joining.push(replica(edit.take_replica(), 4));
    record.created.insert(record.descriptor.replicas[0].replica);
    edit.put_group(&record);
    record
}

fn first_version(store: &mut Store) -> GroupRecord {
    let mut edit = Catalog::default().edit();
    edit.replicas_from(ReplicaId(5));
    for id in 1..=4 {
        edit.put_node(&node(id));
    }
    let record = add_group(&mut edit, "b", "f");
    assert!(store.apply(&edit.into_command()));
    record
}

#[test]
fn what_was_put_is_what_is_decoded() {
    let mut store = Store::default();
    let record = first_version(&mut store);
    let catalog = store.catalog();
    assert_eq!(catalog.version, Some(0));
    assert_eq!(catalog.nodes.values().cloned().collect::<Vec<_>>(), (1..=4).map(node).collect::<Vec<_>>());
    assert_eq!(catalog.groups.values().collect::<Vec<_>>(), [&record]);
    assert_eq!(catalog.route(b"c").map(|found| found.descriptor.group), Some(record.descriptor.group));
    assert_eq!(catalog.route(b"f"), None);
    assert_eq!(catalog.next_replica, ReplicaId(9));
}

#[test]
fn of_two_edits_of_one_version_only_the_first_takes_effect() {
    let mut store = Store::default();
    first_version(&mut store);
    let base = store.catalog();
    let (mut first, mut second) = (base.edit(), base.edit());
    let won = add_group(&mut first, "g", "h");
    let lost = add_group(&mut second, "i", "j");
    assert!(store.apply(&first.into_command()));
    let before = store.clone().0;
    assert!(!store.apply(&second.into_command()));
    assert_eq!(store.0, before);
    let catalog = store.catalog();
    assert_eq!(catalog.version, Some(1));
    assert_eq!(catalog.groups[&lost.descriptor.group], won, "the loser's ids were the winner's");
    assert!(!store.apply(&Catalog::default().edit().into_command()), "there is one first version only");
}

#[test]
fn ids_are_never_used_twice() {
    let mut store = Store::default();
    let mut seen = BTreeSet::new();
    let record = first_version(&mut store);
    seen.extend(record.descriptor.replicas.iter().chain(&record.joining).map(|replica| replica.replica));
    for round in 0..5 {
        let mut edit = store.catalog().edit();
        let record = add_group(&mut edit, "x", "y");
        let mut dropped = record.clone();
        dropped.dropped = true;
        edit.put_group(&dropped);
        assert!(store.apply(&edit.into_command()));
        for replica in record.descriptor.replicas.iter().chain(&record.joining) {
            assert!(seen.insert(replica.replica), "round {round}: {replica:?} was used before");
        }
        let catalog = store.catalog();
        assert_eq!(catalog.groups.len(), 2 + round, "a dropped group keeps its record and its id");
        assert_eq!(catalog.route(b"x"), None);
    }
}

#[test]
fn a_replica_that_was_not_there_at_birth_joins() {
    let mut store = Store::default();
    let mut record = first_version(&mut store);
    assert!(matches!(record.replica_on(NodeId(1)), Some(ReplicaOrigin::Birth(_))));
    assert!(matches!(record.replica_on(NodeId(4)), Some(ReplicaOrigin::Joining(_))));
    let joined = record.joining.remove(0);
    record.descriptor.replicas.push(joined);
    assert_eq!(record.replica_on(NodeId(4)), Some(ReplicaOrigin::Joining(joined)));
    record.dropped = true;
    assert_eq!(record.replica_on(NodeId(1)), None);
}

#[test]
fn records_under_foreign_keys_are_refused() {
    let mut store = Store::default();
    first_version(&mut store);
    let mut pairs = store.pairs();
    let at = pairs.iter().position(|(key, _)| key.starts_with(b"c/n")).unwrap();
    pairs[at].0 = codec::node_key(NodeId(9));
    assert!(Catalog::decode(&pairs).is_err());
    assert!(Catalog::decode(&[(Bytes::from_static(b"c/x"), Bytes::new())]).is_err());
}

/// The next change counts on from them.
#[test]
fn counters_at_the_end_of_numbers_are_refused() {
    for key in [&b"c/v"[..], b"c/r", b"c/i"] {
        let pairs = [(Bytes::from_static(key), Bytes::copy_from_slice(&u64::MAX.to_le_bytes()))];
        assert!(Catalog::decode(&pairs).is_err(), "{}", key.escape_ascii());
    }
}

#[test]
fn mutated_records_never_panic() {
    println!("seed {SEED:#x}");
    let rng = SeededRng::new(SEED);
    let mut store = Store::default();
    first_version(&mut store);
    let below = |bound: usize| usize::try_from(rng.below(bound as u64)).unwrap();
    for _ in 0..5_000 {
        let mut pairs = store.pairs();
        let at = below(pairs.len());
        let mut value = pairs[at].1.to_vec();
        for _ in 0..=rng.below(3) {
            let byte = below(value.len());
            value[byte] ^= 1 << rng.below(8);
        }
        if rng.below(4) == 0 {
            value.truncate(below(value.len() + 1));
        }
        pairs[at].1 = value.into();
        drop(Catalog::decode(&pairs));
    }
}
