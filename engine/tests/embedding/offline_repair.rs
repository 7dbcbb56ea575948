//! A node that is alone lost the logs of some of its groups, the catalog's among them: repaired while it is stopped,
//! everything is there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate::config::uniform_ranges;
use quorate::disk::RealDisk;
use quorate::storage::offline::repair::{Consent, RepairRefusal};
use quorate::storage::offline::{LookOptions, StoppedDir, repair};
use quorate::{Config, GroupId, GroupReadiness, Node, ReadLevel, StoreKind};
use quorate_telemetry::Rng;
use quorate_telemetry::clock::SystemClock;
use quorate_telemetry::rng::SystemRng;

use crate::cluster::{PATIENCE, start_unlocked, until};

/// Keys, spread over all groups.
const KEYS: u8 = 64;
/// The catalog's, and one of the four others.
const BROKEN: [GroupId; 2] = [GroupId(0), GroupId(2)];

async fn write(node: &Node) {
    for at in 0..KEYS {
        node.put(vec![at * 4], vec![at; 50]).await.unwrap();
    }
}

async fn check(node: &Node) {
    for at in 0..KEYS {
        let value = node.get(vec![at * 4], ReadLevel::Linearizable).await.unwrap();
        assert_eq!(value, Some(Bytes::from(vec![at; 50])), "key {at}");
    }
}

fn repair_group(config: &Config, group: GroupId) -> Result<(), RepairRefusal> {
    let dir = StoppedDir::lock(Arc::new(RealDisk::new()), &config.data_dir)?;
    let clock = Arc::new(SystemClock::new());
    let options = LookOptions { group: Some(group), clock, scratch: std::env::temp_dir() };
    let rng: Arc<dyn Rng> = Arc::new(SystemRng::new());
    repair(&dir, group, (Consent::default(), &options), &rng, &mut |_| {}).map(drop)
}

async fn a_node_that_is_alone_is_repaired(store: StoreKind) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    config.store = store;
    config.bootstrap.ranges = uniform_ranges(4);
    let node = start_unlocked(config.clone()).await;
    node.ready(PATIENCE).await.unwrap();
    write(&node).await;
    let uids = BROKEN.map(|group| node.group(group).descriptor().unwrap().uid);
    node.shutdown().await.unwrap();
    for group in BROKEN {
        let healthy = repair_group(&config, group);
        assert!(matches!(healthy, Err(RepairRefusal::NotNeeded { .. })), "{healthy:?}");
        let wal = config.data_dir.join("groups").join(group.to_string()).join("wal");
        std::fs::remove_dir_all(&wal).unwrap();
        std::fs::create_dir(&wal).unwrap();
    }

    let broken = start_unlocked(config.clone()).await;
    until("a quarantine of group 0", || {
        let groups = broken.readiness().groups;
        let is_out = |is: &GroupReadiness| matches!(is, GroupReadiness::Quarantined(_));
        groups.iter().any(|(group, is)| *group == BROKEN[0] && is_out(is)).then_some(())
    })
    .await;
    broken.shutdown().await.unwrap();
    for group in BROKEN {
        repair_group(&config, group).unwrap();
    }

    for _start in 0..2 {
        let node = start_unlocked(config.clone()).await;
        node.ready(PATIENCE).await.unwrap();
        check(&node).await;
        for (group, old) in BROKEN.into_iter().zip(uids) {
            until("the catalog to know the new uid", || {
                node.group(group).descriptor().filter(|now| now.uid != old)
            })
            .await;
        }
        let created = node.create_group(quorate::KeyRange::all(), 1).await;
        assert!(matches!(created, Err(quorate::Error::RangeTaken(_))), "the catalog is asked: {created:?}");
        write(&node).await;
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_alone_is_repaired_on_lsm() {
    tokio::time::timeout(Duration::from_secs(120), a_node_that_is_alone_is_repaired(StoreKind::Lsm))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_alone_is_repaired_on_sled() {
    tokio::time::timeout(Duration::from_secs(120), a_node_that_is_alone_is_repaired(StoreKind::Sled))
        .await
        .unwrap();
}
