//! Operations that read, change and write, decided at apply.

use bytes::Bytes;
use quorate::config::uniform_ranges;
use quorate::storage::Error as StorageError;
use quorate::{Builder, Error, GroupError, Node, Op, OpFailure, OpResult, ReadLevel, When, WriteBatch};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::cluster::Cluster;

const READ: ReadLevel = ReadLevel::Linearizable;
/// As long as a value may be.
const LONGEST: usize = 8 << 20;

async fn open() -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Builder::new(dir.path()).ranges(uniform_ranges(4)).open().await.unwrap();
    (dir, node)
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn swap(key: &str, value: &str, when: When) -> Op {
    Op::Set { key: bytes(key), value: bytes(value), when, returns_previous: true }
}

fn done(existed: bool, previous: Option<&str>) -> OpResult {
    OpResult::Done { existed, previous: previous.map(bytes) }
}

async fn write_each(node: &Node, ops: &[Op]) -> Vec<OpResult> {
    node.write_each(ops).await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_that_fails_leaves_the_others_of_its_batch() {
    let (_dir, node) = open().await;
    node.put("text", "x").await.unwrap();
    let batch = WriteBatch::new()
        .add("text", 1)
        .put_if_absent("text", "no")
        .append("text", "y")
        .add("count", i64::MAX)
        .add("count", 1)
        .put_if_present("none", "no")
        .take("text");
    let written = node.write(batch.clone()).await.unwrap();
    let expected = [
        OpResult::Failed(OpFailure::NotAnInteger),
        OpResult::Unmet { previous: None },
        OpResult::Number(2),
        OpResult::Number(i64::MAX),
        OpResult::Failed(OpFailure::Overflow),
        OpResult::Unmet { previous: None },
        done(true, Some("xy")),
    ];
    assert_eq!(written.results(), expected);
    let found = node.get_many(&["text", "count", "none"].map(bytes), READ).await.unwrap();
    assert_eq!(found, [None, Some(bytes(&i64::MAX.to_string())), None]);
    let refused = node.write(batch.only_if("none", Some(bytes("1")))).await.unwrap();
    assert!(!refused.is_applied() && refused.results().is_empty(), "a condition is for the whole batch");
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_on_one_key_keep_their_order_however_many_entries_they_take() {
    let (_dir, node) = open().await;
    let ops = [
        swap("k", "1", When::Absent),
        swap("k", "2", When::Absent),
        Op::Append(bytes("k"), bytes("0")),
        swap("k", "3", When::Present),
        Op::Take(bytes("k")),
        Op::Take(bytes("k")),
        Op::Add(bytes("k"), 5),
        Op::Take(bytes("other")),
        swap("k", "end", When::Always),
    ];
    let expected = [
        done(false, None),
        OpResult::Unmet { previous: Some(bytes("1")) },
        OpResult::Number(2),
        done(true, Some("10")),
        done(true, Some("3")),
        done(false, None),
        OpResult::Number(5),
        done(false, None),
        done(true, Some("5")),
    ];
    assert_eq!(write_each(&node, &ops).await, expected);
    assert_eq!(node.get("k", READ).await.unwrap(), Some(bytes("end")));
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_an_entry_holds_is_written_whole() {
    let (_dir, node) = open().await;
    let large: Vec<Op> = (0..40).map(|at| Op::Put(vec![at].into(), vec![at; 300_000].into())).collect();
    assert_eq!(write_each(&node, &large).await, vec![done(false, None); 40]);
    let many = vec![Op::Add(bytes("count"), 1); 10_000];
    let sums = write_each(&node, &many).await;
    assert_eq!(sums, (1..=10_000).map(OpResult::Number).collect::<Vec<_>>());
    for at in 0..40 {
        assert_eq!(node.get(vec![at], READ).await.unwrap().unwrap(), vec![at; 300_000]);
    }
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_its_limit_fails_alone() {
    let (_dir, node) = open().await;
    let ops = [
        Op::Put(bytes("a"), vec![b'x'; LONGEST].into()),
        Op::Append(bytes("a"), bytes("y")),
        Op::Put(bytes("b"), vec![0; LONGEST + 1].into()),
        Op::Put(bytes("b"), bytes("ok")),
        Op::Take(bytes("a")),
    ];
    let results = node.write_each(&ops).await;
    assert_eq!(results[0].as_ref().unwrap(), &done(false, None));
    let bytes_after = LONGEST as u64 + 1;
    let too_large = OpResult::Failed(OpFailure::ValueTooLarge { bytes: bytes_after });
    assert_eq!(results[1].as_ref().unwrap(), &too_large);
    let invalid = results[2].as_ref().unwrap_err();
    assert!(
        matches!(invalid, Error::Group(GroupError::Invalid(StorageError::TooLarge { what: "value", .. }))),
        "{invalid:?}"
    );
    assert_eq!(results[3].as_ref().unwrap(), &done(false, None));
    let taken = results[4].as_ref().unwrap();
    assert!(matches!(taken, OpResult::Done { previous: Some(value), .. } if value.len() == LONGEST));
    let two = node.write(WriteBatch::new().take("a").take("b")).await;
    assert!(two.is_err(), "an outcome with two values might not fit into a frame");
    assert_eq!(node.get("b", READ).await.unwrap(), Some(bytes("ok")), "and had no effect");
    node.shutdown().await.unwrap();
}

/// Through every node, so that most outcomes travel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_adds_sum_exactly_and_long_values_travel() {
    const CLIENTS: i64 = 6;
    const ROUNDS: i64 = 25;
    let cluster = Cluster::of_three().await;
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let node = cluster.node(u64::try_from(client).unwrap() % 3 + 1).clone();
        clients.spawn(async move {
            let mut sums = Vec::new();
            for _ in 0..ROUNDS {
                let written = node.write(WriteBatch::new().add("count", 3)).await.unwrap();
                let [OpResult::Number(sum)] = written.results() else { panic!("{written:?}") };
                sums.push(*sum);
            }
            sums
        });
    }
    let mut sums: Vec<i64> = clients.join_all().await.into_iter().flatten().collect();
    sums.sort_unstable();
    assert_eq!(sums, (1..=CLIENTS * ROUNDS).map(|n| 3 * n).collect::<Vec<_>>(), "each sum is seen once");
    for id in 1..=3 {
        let node = cluster.node(id);
        let value = Bytes::from(vec![b'v'; LONGEST]);
        node.put("long", value.clone()).await.unwrap();
        let taken = node.write(WriteBatch::new().take("long")).await.unwrap();
        let expected = OpResult::Done { existed: true, previous: Some(value) };
        assert!(taken.results() == [expected], "through node {id}");
    }
    cluster.shutdown().await;
}
