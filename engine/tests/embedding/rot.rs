//! Stores that rot under a running node: found by the scan or by a read, rebuilt from snapshot and log, and of no
//! consequence to other groups.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quorate::config::uniform_ranges;
use quorate::{Builder, Config, Group, GroupId, Node, ReadLevel, StoreKind};

use crate::cluster::{PATIENCE, until};
use crate::rotting_store::RottingMachines;

const ROTTEN: GroupId = GroupId(1);
const OTHER: GroupId = GroupId(2);
/// More than the caches of a store hold.
const KEYS: u64 = 8_000;
const VALUE_BYTES: usize = 1_000;
/// A bit in every so many bytes of a file is flipped, where values are.
const DAMAGE_EVERY_BYTES: usize = 256 << 10;

fn config(dir: &Path, store: StoreKind, scrub_interval: Duration) -> Config {
    let mut config = Config::new(dir);
    config.store = store;
    config.bootstrap.ranges = uniform_ranges(2);
    config.cache_bytes = 1 << 20;
    config.scrub.interval = scrub_interval;
    config.scrub.bytes_per_second = 1 << 30;
    config.snapshots.entries = Some(5_000);
    config
}

fn key(i: u64) -> String {
    format!("key-{i:06}")
}

fn value(i: u64) -> Vec<u8> {
    format!("value-{i:06}-").repeat(VALUE_BYTES / 13).into_bytes()
}

async fn fill(node: &Node, count: u64) {
    for first in (0..count).step_by(100) {
        let batch =
            (first..first + 100).fold(quorate::WriteBatch::new(), |batch, i| batch.put(key(i), value(i)));
        node.write(batch).await.unwrap();
    }
    node.put(b"\xffother".to_vec(), "value").await.unwrap();
}

async fn check_all(node: &Node, count: u64) {
    for i in 0..count {
        let found = node.get(key(i), ReadLevel::Linearizable).await.unwrap();
        assert_eq!(found.as_deref(), Some(value(i).as_slice()), "{}", key(i));
    }
    assert_eq!(node.group(ROTTEN).count(ReadLevel::Linearizable).await.unwrap(), count);
}

/// Reads the other group all the time; stopped, it gives how often.
fn undisturbed(node: &Node) -> (Arc<AtomicBool>, tokio::task::JoinHandle<u64>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, node) = (Arc::clone(&stop), node.clone());
    let reading = tokio::spawn(async move {
        let mut count = 0;
        while !stopped.load(Ordering::Relaxed) {
            let found = node.get(b"\xffother".to_vec(), ReadLevel::Linearizable).await;
            assert_eq!(found.unwrap().as_deref(), Some(&b"value"[..]));
            count += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        count
    });
    (stop, reading)
}

/// The file of the store that holds the most: a table of the LSM tree, or sled's log.
fn data_file(dir: &Path) -> PathBuf {
    let mut found = Vec::new();
    let mut dirs = vec![dir.join("groups/1/state")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            match entry.metadata().unwrap() {
                metadata if metadata.is_dir() => dirs.push(entry.path()),
                metadata => found.push((metadata.len(), entry.path())),
            }
        }
    }
    found.into_iter().max().unwrap().1
}

/// Flips bits inside of values, all over the file.
fn damage(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let mut damaged = 0;
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(6).position(|window| window == b"value-") {
        let place = at + found + 2;
        file.write_all_at(&[bytes[place] ^ 1], u64::try_from(place).unwrap()).unwrap();
        damaged += 1;
        at = place + DAMAGE_EVERY_BYTES;
        if at >= bytes.len() {
            break;
        }
    }
    assert!(damaged > 0, "no value in {}", path.display());
}

fn rotten(group: &Group) -> u64 {
    group.local_report().map_or(0, |report| report.scrubs_rotten)
}

async fn rebuilt(node: &Node, dir: &Path) {
    until("a new generation", || dir.join("groups/1/state/2").exists().then_some(())).await;
    node.ready(PATIENCE).await.unwrap();
}

async fn found_by_the_scan(store: StoreKind) {
    let dir = tempfile::tempdir().unwrap();
    let node = Builder::from_config(config(dir.path(), store, Duration::ZERO)).open().await.unwrap();
    fill(&node, KEYS).await;
    node.shutdown().await.unwrap();
    let scanning = config(dir.path(), store, Duration::from_millis(500));
    let node = Builder::from_config(scanning).open().await.unwrap();
    damage(&data_file(dir.path()));
    let (stop, reading) = undisturbed(&node);
    until("the scan to find it", || (rotten(&node.group(ROTTEN)) > 0).then_some(())).await;
    rebuilt(&node, dir.path()).await;
    check_all(&node, KEYS).await;
    stop.store(true, Ordering::Relaxed);
    assert!(reading.await.unwrap() > 0);
    assert_eq!(rotten(&node.group(OTHER)), 0);
    let scrubbed = || {
        let scrubbed = node.group(ROTTEN).local_status()?.last_scrub?;
        (scrubbed.records == KEYS).then_some(())
    };
    until("a scan that finds the new store whole", scrubbed).await;
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_lsm_store_that_rots_is_found_by_the_scan_and_rebuilt() {
    found_by_the_scan(StoreKind::Lsm).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sled_store_that_rots_is_found_by_the_scan_and_rebuilt() {
    found_by_the_scan(StoreKind::Sled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_store_that_rots_is_found_by_the_scan_and_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let machines = RottingMachines::default();
    let scanning = config(dir.path(), StoreKind::Memory, Duration::from_millis(500));
    let node =
        Builder::from_config(scanning).state_machines(Arc::new(machines.clone())).open().await.unwrap();
    fill(&node, 500).await;
    machines.rot(ROTTEN.get(), &key(123));
    let (stop, reading) = undisturbed(&node);
    until("the scan to find it", || (rotten(&node.group(ROTTEN)) > 0).then_some(())).await;
    let whole = || {
        let scrubbed = node.group(ROTTEN).local_status()?.last_scrub?;
        (scrubbed.records == 500).then_some(())
    };
    until("a scan that finds the new store whole", whole).await;
    check_all(&node, 500).await;
    stop.store(true, Ordering::Relaxed);
    assert!(reading.await.unwrap() > 0);
    assert_eq!(rotten(&node.group(OTHER)), 0);
    node.shutdown().await.unwrap();
}

/// Whoever reads it is answered in the end, and rightly; an error on the way is one that may be tried again.
async fn found_by_a_read(store: StoreKind) {
    let dir = tempfile::tempdir().unwrap();
    let node = Builder::from_config(config(dir.path(), store, Duration::ZERO)).open().await.unwrap();
    fill(&node, KEYS).await;
    node.shutdown().await.unwrap();
    let node = Builder::from_config(config(dir.path(), store, Duration::ZERO)).open().await.unwrap();
    damage(&data_file(dir.path()));
    let (stop, reading) = undisturbed(&node);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    for i in 0..KEYS {
        loop {
            match node.get(key(i), ReadLevel::Linearizable).await {
                Ok(found) => {
                    assert_eq!(found.as_deref(), Some(value(i).as_slice()), "{}", key(i));
                    break;
                }
                Err(error) => assert!(tokio::time::Instant::now() < deadline, "{}: {error}", key(i)),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    rebuilt(&node, dir.path()).await;
    check_all(&node, KEYS).await;
    stop.store(true, Ordering::Relaxed);
    assert!(reading.await.unwrap() > 0);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotten_value_of_an_lsm_store_is_never_read_and_the_store_is_rebuilt() {
    found_by_a_read(StoreKind::Lsm).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotten_value_of_a_sled_store_is_never_read_and_the_store_is_rebuilt() {
    found_by_a_read(StoreKind::Sled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotten_value_of_a_memory_store_is_never_read_and_the_store_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let machines = RottingMachines::default();
    let quiet = config(dir.path(), StoreKind::Memory, Duration::ZERO);
    let node = Builder::from_config(quiet).state_machines(Arc::new(machines.clone())).open().await.unwrap();
    fill(&node, 500).await;
    machines.rot(ROTTEN.get(), &key(123));
    let _ = node.get(key(123), ReadLevel::Linearizable).await;
    rebuilt(&node, dir.path()).await;
    check_all(&node, 500).await;
    node.shutdown().await.unwrap();
}
