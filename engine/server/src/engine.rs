//! The engine behind the frontends: one [`Backend`] per node, and the cluster of `quorate dev`.

mod cluster;
mod errors;
mod pages;
mod write;

use std::sync::Arc;

use bytes::Bytes;
use quorate::{Node, ReadLevel};
use quorate_telemetry::exporter::Exporter;

use crate::backend::{
    Access, Backend, BackendError, BoxFuture, Check, InfoSection, KeyPage, Topology, Write, Written,
};

pub use cluster::EngineCluster;

/// One node of the engine.
#[derive(Clone, Debug)]
pub struct EngineBackend {
    node: Node,
    exporter: Arc<Exporter>,
}

impl EngineBackend {
    /// Serves `node`, whose metrics go to `exporter`.
    pub fn new(node: Node, exporter: Arc<Exporter>) -> Self {
        Self { node, exporter }
    }
}

impl Backend for EngineBackend {
    fn read(
        &self,
        keys: Vec<Bytes>,
        value_bytes_max: usize,
        _access: Access,
    ) -> BoxFuture<'_, Vec<Result<Option<Bytes>, BackendError>>> {
        Box::pin(async move {
            let mut left = value_bytes_max;
            let fits = |value: Option<Bytes>| {
                let bytes = value.as_ref().map_or(0, Bytes::len);
                let Some(rest) = left.checked_sub(bytes) else {
                    return Err(BackendError::ReplyTooLarge { bytes_max: value_bytes_max });
                };
                left = rest;
                Ok(value)
            };
            if let [key] = keys.as_slice() {
                let value = self.node.get(key.clone(), ReadLevel::Linearizable).await;
                return vec![value.map_err(errors::of_read).and_then(fits)];
            }
            let values = self.node.get_each(&keys, ReadLevel::Linearizable).await;
            let mut fits = fits;
            values.into_iter().map(|value| value.map_err(errors::of_read).and_then(&mut fits)).collect()
        })
    }

    fn lengths(
        &self,
        keys: Vec<Bytes>,
        _access: Access,
    ) -> BoxFuture<'_, Vec<Result<Option<usize>, BackendError>>> {
        Box::pin(async move {
            let values = self.node.get_each(&keys, ReadLevel::Linearizable).await;
            let length = |value: Option<Bytes>| value.map(|value| value.len());
            values.into_iter().map(|value| value.map(length).map_err(errors::of_read)).collect()
        })
    }

    fn write(
        &self,
        writes: Vec<Write>,
        _access: Access,
    ) -> BoxFuture<'_, Vec<Result<Written, BackendError>>> {
        Box::pin(write::write(&self.node, writes))
    }

    fn key_count(&self, _access: Access) -> BoxFuture<'_, Result<u64, BackendError>> {
        Box::pin(std::future::ready(Err(BackendError::NoLeader)))
    }

    fn keys(
        &self,
        _start: Bytes,
        _end: Bytes,
        _limit: usize,
        _access: Access,
    ) -> BoxFuture<'_, Result<KeyPage, BackendError>> {
        Box::pin(std::future::ready(Err(BackendError::NoLeader)))
    }

    fn topology(&self) -> Arc<Topology> {
        Arc::default()
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
}
