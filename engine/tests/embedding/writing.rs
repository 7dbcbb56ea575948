//! Writers that go on while things happen, and remember what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use quorate::{Node, ReadLevel};
use tokio::task::JoinHandle;

use crate::cluster::until;

/// A writer of keys that are never written twice.
pub(crate) struct Writing {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    task: JoinHandle<Vec<u64>>,
}

impl Writing {
    /// Writes through `node`, one after the other, until it is stopped. Failures are skipped.
    pub(crate) fn through(node: &Node) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (node, stopped, count) = (node.clone(), Arc::clone(&stop), Arc::clone(&acknowledged));
        let task = tokio::spawn(async move {
            let mut written = Vec::new();
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                if node.put(key(number), value(number)).await.is_ok() {
                    written.push(number);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
            written
        });
        Self { stop, acknowledged, task }
    }

    /// Waits for `more` acknowledged writes from now on.
    pub(crate) async fn go_on(&self, more: u64) {
        let enough = self.acknowledged.load(Ordering::Relaxed) + more;
        until("another write", || (self.acknowledged.load(Ordering::Relaxed) >= enough).then_some(())).await;
    }

    /// Stops, and checks through `node` that every acknowledged write is there.
    pub(crate) async fn verify(self, node: &Node) {
        self.stop.store(true, Ordering::Relaxed);
        let written = self.task.await.unwrap();
        assert!(!written.is_empty(), "nothing was written");
        let keys: Vec<Bytes> = written.iter().map(|&number| key(number)).collect();
        for (numbers, keys) in written.chunks(1_000).zip(keys.chunks(1_000)) {
            let found = node.get_many(keys, ReadLevel::Linearizable).await.unwrap();
            for (&number, found) in numbers.iter().zip(found) {
                assert_eq!(found, Some(value(number)), "write {number} was acknowledged");
            }
        }
    }
}

fn key(number: u64) -> Bytes {
    format!("key-{number:08}").into()
}

fn value(number: u64) -> Bytes {
    format!("value {number}").into()
}
