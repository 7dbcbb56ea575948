//! One voter without a listener: everything the key-value side can do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use quorate::config::uniform_ranges;
use quorate::storage::kv::KeyValue;
use quorate::{Builder, Error, KvOutcome, Node, Op, OpResult, ReadLevel, ScanOptions, WriteBatch};
use tempfile::TempDir;

use crate::cluster::PATIENCE;

const READ: ReadLevel = ReadLevel::Linearizable;

async fn open() -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Builder::new(dir.path()).ranges(uniform_ranges(4)).open().await.unwrap();
    (dir, node)
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puts_and_deletes_say_what_was_there() {
    let (_dir, node) = open().await;
    let existed = |written: quorate::Written| match written.results() {
        [OpResult::Done { existed, previous: None }] => [*existed],
        other => panic!("{other:?}"),
    };
    assert_eq!(node.get("a", READ).await.unwrap(), None);
    assert_eq!(existed(node.put("a", "1").await.unwrap()), [false]);
    assert_eq!(existed(node.put("a", "2").await.unwrap()), [true]);
    assert_eq!(node.get("a", READ).await.unwrap(), Some(bytes("2")));
    assert_eq!(existed(node.delete("a").await.unwrap()), [true]);
    assert_eq!(existed(node.delete("a").await.unwrap()), [false]);
    assert_eq!(node.get("a", ReadLevel::Local).await.unwrap(), None);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compare_and_set_takes_effect_only_on_the_expected_value() {
    let (_dir, node) = open().await;
    let absent = node.compare_and_set("a", Some(bytes("1")), Some(bytes("2"))).await.unwrap();
    assert_eq!(absent.outcome, KvOutcome::Refused { condition: 0, actual: None });
    assert!(node.compare_and_set("a", None, Some(bytes("1"))).await.unwrap().is_applied());
    let present = node.compare_and_set("a", None, Some(bytes("2"))).await.unwrap();
    assert_eq!(present.outcome, KvOutcome::Refused { condition: 0, actual: Some(bytes("1")) });
    assert_eq!(node.get("a", READ).await.unwrap(), Some(bytes("1")));
    assert!(node.compare_and_set("a", Some(bytes("1")), None).await.unwrap().is_applied());
    assert_eq!(node.get("a", READ).await.unwrap(), None);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_takes_effect_as_a_whole_or_not_at_all() {
    let (_dir, node) = open().await;
    node.put("c", "old").await.unwrap();
    let batch = WriteBatch::new().put("a", "1").put("b", "1").delete("c");
    let refused = node.write(batch.clone().only_if("c", Some(bytes("other")))).await.unwrap();
    assert_eq!(refused.outcome, KvOutcome::Refused { condition: 0, actual: Some(bytes("old")) });
    let keys = [bytes("a"), bytes("b"), bytes("c")];
    assert_eq!(node.get_many(&keys, READ).await.unwrap(), [None, None, Some(bytes("old"))]);
    assert!(node.write(batch.only_if("c", Some(bytes("old")))).await.unwrap().is_applied());
    assert_eq!(node.get_many(&keys, READ).await.unwrap(), [Some(bytes("1")), Some(bytes("1")), None]);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_over_two_groups_is_refused_whole() {
    let (_dir, node) = open().await;
    let (low, high) = (Bytes::from_static(&[1]), Bytes::from_static(&[0xf0]));
    let batch = WriteBatch::new().put(low.clone(), "1").put(high.clone(), "1");
    assert!(matches!(node.write(batch).await, Err(Error::CrossesGroups)));
    let conditional = WriteBatch::new().put(low.clone(), "1").only_if(high.clone(), None);
    assert!(matches!(node.write(conditional).await, Err(Error::CrossesGroups)));
    assert!(node.write(WriteBatch::new()).await.is_err(), "an empty batch has no group");
    assert_eq!(node.get_many(&[low, high], READ).await.unwrap(), [None, None]);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_and_writes_of_many_keys_keep_their_order_over_groups() {
    let (_dir, node) = open().await;
    let keys: Vec<Bytes> = (0..=255u8).rev().map(|byte| Bytes::from(vec![byte])).collect();
    let ops: Vec<Op> = keys.iter().map(|key| Op::Put(key.clone(), key.clone())).collect();
    for was_there in [false, true] {
        let written: Result<Vec<OpResult>, Error> = node.write_each(&ops).await.into_iter().collect();
        assert_eq!(written.unwrap(), vec![OpResult::done(was_there); 256]);
    }
    let mut asked = keys.clone();
    asked.insert(7, bytes("\u{1}missing"));
    let found = node.get_each(&asked, READ).await;
    for (key, value) in asked.iter().zip(found) {
        let expected = keys.contains(key).then(|| key.clone());
        assert_eq!(value.unwrap(), expected, "{key:?}");
    }
    node.shutdown().await.unwrap();
}

/// More than a page of pairs in each of the four groups.
async fn fill(node: &Node) -> Vec<KeyValue> {
    let mut model = BTreeMap::new();
    for at in 0..800u32 {
        // Spread over all groups, and within each of them.
        let key = (at.wrapping_mul(0x0051_eb85)).to_be_bytes();
        let value = vec![u8::try_from(at % 251).unwrap(); 6_000 + at as usize];
        model.insert(Bytes::copy_from_slice(&key), Bytes::from(value));
    }
    let pairs: Vec<KeyValue> = model.into_iter().collect();
    let ops: Vec<Op> = pairs.iter().map(|(key, value)| Op::Put(key.clone(), value.clone())).collect();
    for part in ops.chunks(400) {
        for written in node.write_each(part).await {
            assert_eq!(written.unwrap(), OpResult::done(false));
        }
    }
    pairs
}

/// Says where they part instead of all they hold.
fn assert_same(found: &[Bytes], expected: &[Bytes]) {
    let same = found.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
    let next = (found.get(same), expected.get(same));
    assert!(next == (None, None), "{same} keys are the same, then (found, expected) {next:?}");
}

/// Keys in place of pairs, for a readable failure, once the values are known to be right.
fn keys(pairs: &[KeyValue], model: &[KeyValue]) -> Vec<Bytes> {
    for pair in pairs {
        assert!(model.contains(pair), "{:?} has another value", pair.0);
    }
    pairs.iter().map(|(key, _)| key.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans_go_page_by_page_through_all_groups_in_both_directions() {
    let (_dir, node) = open().await;
    let model = fill(&node).await;
    let all: Vec<Bytes> = model.iter().map(|(key, _)| key.clone()).collect();
    let (start, end) = (all[50].clone(), all[750].clone());
    for reverse in [false, true] {
        let directed = |mut part: Vec<Bytes>| {
            if reverse {
                part.reverse();
            }
            part
        };
        let everything = ScanOptions { reverse, ..ScanOptions::default() };
        let found = node.scan(&everything, usize::MAX, READ).await.unwrap();
        assert_same(&keys(&found, &model), &directed(all.clone()));
        let part = ScanOptions { start: start.clone(), end: Some(end.clone()), reverse };
        let found = node.scan(&part, usize::MAX, READ).await.unwrap();
        assert_same(&keys(&found, &model), &directed(all[50..750].to_vec()));
        for limit in [0, 1, 333] {
            let found = node.scan(&part, limit, READ).await.unwrap();
            let expected: Vec<Bytes> = directed(all[50..750].to_vec()).into_iter().take(limit).collect();
            assert_same(&keys(&found, &model), &expected);
        }
        let nothing = ScanOptions { start: end.clone(), end: Some(start.clone()), reverse };
        assert!(node.scan(&nothing, usize::MAX, READ).await.unwrap().is_empty());
    }
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_its_limit_is_refused_and_the_node_goes_on() {
    let (_dir, node) = open().await;
    assert!(node.put(vec![1; 32 * 1024 + 1], "value").await.is_err());
    assert!(node.put("key", vec![1; 8 * 1024 * 1024 + 1]).await.is_err());
    let largest = Bytes::from(vec![1; 8 * 1024 * 1024]);
    node.put(vec![1; 32 * 1024], largest.clone()).await.unwrap();
    assert_eq!(node.get(vec![1; 32 * 1024], READ).await.unwrap(), Some(largest));
    node.shutdown().await.unwrap();
}

/// A writer goes on behind a scan, and faster than it: the scan ends with what was there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_of_everything_ends_while_a_writer_goes_on_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = Builder::new(dir.path()).open().await.unwrap();
    let large = Bytes::from(vec![b'v'; 128 << 10]);
    let key = |number: u64| Bytes::copy_from_slice(&number.to_be_bytes());
    for number in 1_000_000..1_000_040 {
        node.put(key(number), large.clone()).await.unwrap();
    }
    for reverse in [false, true] {
        let (writer, is_done) = (node.clone(), Arc::new(AtomicBool::new(false)));
        let (stop, value) = (Arc::clone(&is_done), large.clone());
        let behind = tokio::spawn(async move {
            let mut written = 0;
            while !stop.load(Ordering::Relaxed) {
                written += 1;
                let number = if reverse { 1_000_000 - written } else { 2_000_000 + written };
                writer.put(Bytes::copy_from_slice(&u64::to_be_bytes(number)), value.clone()).await.unwrap();
            }
            written
        });
        let everything = ScanOptions { reverse, ..ScanOptions::default() };
        let found = tokio::time::timeout(PATIENCE, node.scan(&everything, usize::MAX, READ)).await;
        let found = found.expect("the scan ends").unwrap();
        is_done.store(true, Ordering::Relaxed);
        behind.await.unwrap();
        let there =
            found.iter().filter(|(found, _)| (key(1_000_000)..key(1_000_040)).contains(found)).count();
        assert_eq!(there, 40, "what was there is found");
    }
    node.shutdown().await.unwrap();
}
