//! What reads see of acknowledged writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quorate::{Node, ReadLevel};

use crate::cluster::{Cluster, GROUP};

/// Writes of one key.
const WRITES: u64 = 400;

async fn number(node: &Node, level: ReadLevel) -> u64 {
    let found: Option<Bytes> = node.get("counter", level).await.unwrap();
    found.map_or(0, |value| u64::from_le_bytes(value.as_ref().try_into().unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linearizable_reads_on_every_node_see_every_acknowledged_write() {
    let cluster = Cluster::of_three().await;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let writer = {
        let (node, acknowledged) = (cluster.node(1).clone(), Arc::clone(&acknowledged));
        tokio::spawn(async move {
            for value in 1..=WRITES {
                node.put("counter", Bytes::copy_from_slice(&value.to_le_bytes())).await.unwrap();
                acknowledged.store(value, Ordering::SeqCst);
            }
        })
    };
    let readers: Vec<_> = (1..=3)
        .map(|id| {
            let (node, acknowledged) = (cluster.node(id).clone(), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                let mut before = 0;
                while before < WRITES {
                    let at_least = acknowledged.load(Ordering::SeqCst).max(before);
                    let found = number(&node, ReadLevel::Linearizable).await;
                    assert!(found >= at_least, "node {id} read {found} after {at_least}");
                    before = found;
                }
            })
        })
        .collect();
    writer.await.unwrap();
    for reader in readers {
        reader.await.unwrap();
    }
    let follower = cluster.follower(GROUP).await;
    let recent = ReadLevel::BoundedStale { lag_max: Duration::from_secs(5) };
    assert_eq!(number(cluster.node(follower), recent).await, WRITES);
    cluster.shutdown().await;
}
