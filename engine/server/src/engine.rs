//! The engine behind the frontends: one [`Backend`] per node, and the cluster of `quorate dev`.

mod admission;
mod cluster;
mod errors;
mod keys;
mod operate;
mod pages;
mod slots;
mod write;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{OptionFuture, join_all};
use quorate::{Node, ReadLevel};
use quorate_telemetry::exporter::Exporter;
use tokio::sync::Semaphore;

use crate::backend::{
    Access, Backend, BackendError, BoxFuture, Check, InfoSection, KeyPage, Topology, Write, Written,
};

use crate::operator::Operator;
use admission::Admission;
pub use cluster::EngineCluster;
use slots::TopologyCache;

/// How many requests at a time may take as much memory as a call may bring, before what they hold is counted.
const LARGE_READS_MAX: usize = 2;

/// One node of the engine.
#[derive(Clone, Debug)]
pub struct EngineBackend {
    pub(super) node: Node,
    exporter: Arc<Exporter>,
    topology: Arc<TopologyCache>,
    /// Held while values are read one by one that were too much for one answer.
    large_reads: Arc<Semaphore>,
}

impl EngineBackend {
    /// Serves `node`, whose metrics go to `exporter`.
    pub fn new(node: Node, exporter: Arc<Exporter>) -> Self {
        let large_reads = Arc::new(Semaphore::new(LARGE_READS_MAX));
        Self { node, exporter, topology: Arc::default(), large_reads }
    }

    async fn value(&self, key: &Bytes, access: Access) -> Result<Option<Bytes>, BackendError> {
        let level = Admission::new(&self.node, access).admit(key).await?;
        self.node.get(key.clone(), level).await.map_err(errors::of_read)
    }

    /// The values of `keys`, each from where `access` says.
    async fn values(&self, keys: &[Bytes], access: Access) -> Vec<Result<Option<Bytes>, BackendError>> {
        if let [key] = keys {
            return vec![self.value(key, access).await];
        }
        let mut admission = Admission::new(&self.node, access);
        if admission.serves_all(keys.iter()) {
            let values = self.node.get_each(keys, ReadLevel::Linearizable).await;
            return values.into_iter().map(|value| value.map_err(errors::of_read)).collect();
        }
        let mut values = Vec::with_capacity(keys.len());
        let mut parts: Vec<(ReadLevel, Vec<usize>)> = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            // Stands for the value until it is read.
            values.push(Err(BackendError::NoLeader));
            match admission.admit(key).await {
                Err(refused) => values[at] = Err(refused),
                Ok(level) => match parts.iter_mut().find(|(of, _)| *of == level) {
                    Some((_, places)) => places.push(at),
                    None => parts.push((level, vec![at])),
                },
            }
        }
        let read = parts.into_iter().map(|(level, places)| async move {
            let part: Vec<Bytes> = places.iter().map(|&at| keys[at].clone()).collect();
            (places, self.node.get_each(&part, level).await)
        });
        for (places, part) in join_all(read).await {
            for (at, value) in places.into_iter().zip(part) {
                values[at] = value.map_err(errors::of_read);
            }
        }
        values
    }
}

/// Whether a group refused because the values asked of it are more than one answer takes: each alone is not.
fn is_too_much(value: &Result<Option<Bytes>, BackendError>) -> bool {
    matches!(value, Err(BackendError::TooLarge { .. }))
}

impl Backend for EngineBackend {
    fn read(
        &self,
        keys: Vec<Bytes>,
        value_bytes_max: usize,
        access: Access,
    ) -> BoxFuture<'_, Vec<Result<Option<Bytes>, BackendError>>> {
        Box::pin(async move {
            let mut left = value_bytes_max;
            let mut fits = |value: Option<Bytes>| {
                let bytes = value.as_ref().map_or(0, Bytes::len);
                let Some(rest) = left.checked_sub(bytes) else {
                    return Err(BackendError::ReplyTooLarge { bytes_max: value_bytes_max });
                };
                left = rest;
                Ok(value)
            };
            let mut values = self.values(&keys, access).await;
            let large = values.iter().any(is_too_much).then(|| self.large_reads.acquire());
            let _large = OptionFuture::from(large).await;
            let mut is_full = false;
            for (key, value) in keys.iter().zip(&mut values) {
                if is_too_much(value) {
                    *value = if is_full {
                        Err(BackendError::ReplyTooLarge { bytes_max: value_bytes_max })
                    } else {
                        self.value(key, access).await
                    };
                }
                if let Ok(found) = value {
                    *value = fits(found.take());
                    is_full |= value.is_err();
                }
            }
            values
        })
    }

    fn lengths(
        &self,
        keys: Vec<Bytes>,
        access: Access,
    ) -> BoxFuture<'_, Vec<Result<Option<usize>, BackendError>>> {
        Box::pin(async move {
            let values = self.values(&keys, access).await;
            let mut lengths = Vec::with_capacity(values.len());
            for (key, mut value) in keys.iter().zip(values) {
                if is_too_much(&value) {
                    value = self.value(key, access).await;
                }
                lengths.push(value.map(|value| value.map(|value| value.len())));
            }
            lengths
        })
    }

    fn write(&self, writes: Vec<Write>, access: Access) -> BoxFuture<'_, Vec<Result<Written, BackendError>>> {
        Box::pin(write::write(&self.node, writes, access))
    }

    fn key_count(&self, access: Access) -> BoxFuture<'_, Result<u64, BackendError>> {
        Box::pin(keys::count(&self.node, access))
    }

    fn keys(
        &self,
        start: Bytes,
        end: Bytes,
        limit: usize,
        access: Access,
    ) -> BoxFuture<'_, Result<KeyPage, BackendError>> {
        Box::pin(keys::page(&self.node, (start, end), limit, access))
    }

    fn topology(&self) -> Arc<Topology> {
        self.topology.get(&self.node)
    }

    fn info(&self) -> Vec<InfoSection> {
        pages::info(&self.node)
    }

    fn health(&self) -> Vec<Check> {
        pages::health(&self.node)
    }

    fn readiness(&self) -> Vec<Check> {
        pages::readiness(&self.node)
    }

    fn metrics(&self) -> String {
        self.exporter.render()
    }

    fn groups(&self) -> Vec<serde_json::Value> {
        pages::groups(&self.node)
    }

    fn group(&self, id: u64) -> Option<serde_json::Value> {
        pages::group(&self.node, id)
    }

    fn operator(&self) -> Option<&dyn Operator> {
        Some(self)
    }
}
