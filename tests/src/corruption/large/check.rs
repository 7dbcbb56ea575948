//! Whether a node has what was acknowledged.

use bytes::Bytes;
use quorate::{Node, ReadLevel, ReplicaAnswer, Verdict};
use tokio::time::{Instant, sleep};

use super::instance::{LOOK, PATIENCE};
use super::seen::ReplicaSeen;
use super::trial::Lab;
use crate::corruption::cluster::NODES;

/// Keys and bytes that are read with one call.
const READ_KEYS: usize = 512;
const READ_BYTES: usize = 4 << 20;

impl Lab<'_> {
    /// Reads every key at `node` itself until all are answered, and compares.
    pub(super) async fn read_all(&self, node: &Node) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let (mut keys, mut bytes) = (Vec::new(), 0);
        let mut left = self.model.iter().peekable();
        while let Some((key, value)) = left.next() {
            bytes += value.as_ref().map_or(0, Bytes::len);
            keys.push(key.clone());
            if keys.len() < READ_KEYS && bytes < READ_BYTES && left.peek().is_some() {
                continue;
            }
            while let Some(error) = self.read(node, &keys).await? {
                if Instant::now() > deadline {
                    return Err(format!("keys cannot be read: {error}"));
                }
                self.settle(node).await?;
            }
            keys.clear();
            bytes = 0;
        }
        Ok(())
    }

    /// The first answer that is none.
    async fn read(&self, node: &Node, keys: &[Bytes]) -> Result<Option<quorate::Error>, String> {
        let mut failure = None;
        for (key, answer) in keys.iter().zip(node.get_each(keys, ReadLevel::Local).await) {
            match answer {
                Ok(value) if value == self.model[key] => {}
                Ok(value) => {
                    let bytes = |value: &Option<Bytes>| value.as_ref().map(Bytes::len);
                    let (found, expected) = (bytes(&value), bytes(&self.model[key]));
                    return Err(format!(
                        "wrong value of {key:?}: {found:?} bytes, acknowledged were {expected:?}"
                    ));
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Ok(failure)
    }

    /// The replicas' digests, at one index.
    pub(super) async fn compare(&self, ends: &[ReplicaSeen]) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        for end in ends {
            loop {
                let checked = self.peers[0].check_consistency(end.group).await;
                let digests = checked.as_ref().map_or(0, |report| {
                    let is_digest = |answer| matches!(answer, ReplicaAnswer::Digest(_));
                    report.replicas.iter().filter(|replica| is_digest(replica.answer)).count()
                });
                match checked.as_ref().map(|report| &report.verdict) {
                    Ok(Verdict::Consistent) if digests == NODES => break,
                    Ok(Verdict::Diverged { .. } | Verdict::Divided) => {
                        return Err(format!("the replicas differ: {checked:?}"));
                    }
                    _ if Instant::now() > deadline => {
                        return Err(format!("the replicas cannot be compared: {checked:?}"));
                    }
                    _ => sleep(LOOK).await,
                }
            }
        }
        Ok(())
    }
}
