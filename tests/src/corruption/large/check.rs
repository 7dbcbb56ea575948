//! Whether a node has what was acknowledged.

use bytes::Bytes;
use quorate::{Node, ReadLevel, ReplicaAnswer, Verdict};
use tokio::time::{Instant, sleep};

use super::instance::{LOOK, PATIENCE};
use super::seen::ReplicaSeen;
use super::trial::Lab;
use crate::corruption::cluster::{GROUPS, NODES};

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

    /// Why to ask again: the first answer that is none, or that a replica gave that was being restored: a local read may be
    /// of an older state then.
    async fn read(&self, node: &Node, keys: &[Bytes]) -> Result<Option<String>, String> {
        let before = self.standing(node);
        let answers = node.get_each(keys, ReadLevel::Local).await;
        let mut failure = None;
        for (key, answer) in keys.iter().zip(answers) {
            let text = match answer {
                Ok(value) if value == self.model[key] => continue,
                Ok(value) => {
                    let bytes = |value: &Option<Bytes>| value.as_ref().map(Bytes::len);
                    let (found, expected) = (bytes(&value), bytes(&self.model[key]));
                    let text =
                        format!("wrong value of {key:?}: {found:?} bytes, acknowledged were {expected:?}");
                    if before.is_some() && self.standing(node) == before {
                        return Err(text);
                    }
                    text
                }
                Err(error) => error.to_string(),
            };
            failure.get_or_insert(text);
        }
        Ok(failure)
    }

    /// How often the group with the keys was started on `node`; `None` while it has not caught up.
    fn standing(&self, node: &Node) -> Option<u64> {
        let report = node.group(GROUPS[1]).local_report()?;
        let starts = report.cold_starts.iter().map(|start| start.count).sum();
        self.has_caught_up(node, GROUPS[1]).then_some(starts)
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
