//! A writer of keys that are never written twice, which remembers what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quorate::Node;
use quorate::storage::kv::KeyValue;
use tokio::task::JoinHandle;

use crate::machines::until;

/// Writes through all nodes in turn, until it is stopped.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    task: JoinHandle<Vec<u64>>,
}

impl Writer {
    pub(crate) fn through(nodes: Vec<Node>) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        let task = tokio::spawn(async move {
            let mut written = Vec::new();
            for (number, node) in (0..).zip(nodes.iter().cycle()) {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                if node.put(key(number), value(number)).await.is_ok() {
                    written.push(number);
                    count.fetch_add(1, Ordering::Relaxed);
                } else {
                    // A node that refuses at once is not asked without end.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            written
        });
        Self { stop, acknowledged, task }
    }

    /// Waits for `more` acknowledged writes from now on.
    pub(crate) async fn go_on(&self, more: u64) {
        let enough = self.acknowledged.load(Ordering::Relaxed) + more;
        let is_enough = || self.acknowledged.load(Ordering::Relaxed) >= enough;
        until("another acknowledged write", || is_enough().then_some(())).await;
    }

    /// Stops, and gives everything that was acknowledged.
    pub(crate) async fn stop(self) -> Vec<KeyValue> {
        self.stop.store(true, Ordering::Relaxed);
        let written = self.task.await.unwrap();
        written.into_iter().map(|number| (key(number), value(number))).collect()
    }
}

/// Panics unless `found` holds everything of `acknowledged`.
pub(crate) fn check_all_there(acknowledged: &[KeyValue], found: &[KeyValue], context: &str) {
    for (key, value) in acknowledged {
        let there = found.binary_search_by(|(known, _)| known.cmp(key)).ok().map(|at| &found[at].1);
        assert_eq!(there, Some(value), "{context}: the write of {key:?} was acknowledged");
    }
}

fn key(number: u64) -> Bytes {
    format!("key-{number:08}").into()
}

fn value(number: u64) -> Bytes {
    format!("value {number}").into()
}
