//! A backend that keeps everything in memory of this process: for tests of the frontends and to measure them
//! without the engine. Nothing is durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use serde_json::json;

use crate::backend::{Backend, BackendError, BoxFuture, Check, InfoSection, Write};
use crate::dev::{Cluster, ClusterNode, RunningCluster};
use crate::exit::StartError;
use crate::options::DevOptions;

/// An ordered map behind a lock, which answers at once. Clones share the map.
#[derive(Clone, Debug, Default)]
pub struct MemoryBackend {
    pairs: Arc<RwLock<BTreeMap<Bytes, Bytes>>>,
}

impl MemoryBackend {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many keys there are.
    pub fn key_count(&self) -> usize {
        self.pairs.read().len()
    }
}

impl Backend for MemoryBackend {
    fn read(
        &self,
        keys: Vec<Bytes>,
        value_bytes_max: usize,
    ) -> BoxFuture<'_, Vec<Result<Option<Bytes>, BackendError>>> {
        let pairs = self.pairs.read();
        let mut budget = value_bytes_max;
        let read = |key| {
            let Some(value) = pairs.get(key) else { return Ok(None) };
            let too_large = BackendError::ReplyTooLarge { bytes_max: value_bytes_max };
            budget = budget.checked_sub(value.len()).ok_or(too_large)?;
            Ok(Some(value.clone()))
        };
        let values: Vec<_> = keys.iter().map(read).collect();
        Box::pin(std::future::ready(values))
    }

    fn exists(&self, keys: Vec<Bytes>) -> BoxFuture<'_, Vec<Result<bool, BackendError>>> {
        let pairs = self.pairs.read();
        let found: Vec<_> = keys.iter().map(|key| Ok(pairs.contains_key(key))).collect();
        Box::pin(std::future::ready(found))
    }

    fn write(&self, writes: Vec<Write>) -> BoxFuture<'_, Vec<Result<bool, BackendError>>> {
        let mut pairs = self.pairs.write();
        let apply = |write| match write {
            Write::Put { key, value } => Ok(pairs.insert(key, Bytes::copy_from_slice(&value)).is_some()),
            Write::Delete { key } => Ok(pairs.remove(&key).is_some()),
        };
        let existed: Vec<_> = writes.into_iter().map(apply).collect();
        Box::pin(std::future::ready(existed))
    }

    fn info(&self) -> Vec<InfoSection> {
        let keys = format!("keys={},expires=0,avg_ttl=0", self.key_count());
        vec![InfoSection { title: "Keyspace", fields: vec![("db0", keys)] }]
    }

    fn health(&self) -> Vec<Check> {
        vec![Check { name: "memory".to_owned(), problem: None }]
    }

    fn readiness(&self) -> Vec<Check> {
        self.health()
    }

    fn metrics(&self) -> String {
        format!("# TYPE quorate_memory_keys gauge\nquorate_memory_keys {}\n", self.key_count())
    }

    fn groups(&self) -> Vec<serde_json::Value> {
        self.group(1).into_iter().collect()
    }

    fn group(&self, id: u64) -> Option<serde_json::Value> {
        (id == 1).then(|| json!({ "id": 1, "role": "leader", "keys": self.key_count() }))
    }
}

/// A cluster of nodes that share one [`MemoryBackend`]: the `dev` command without an engine, for tests.
#[derive(Clone, Copy, Debug)]
pub struct MemoryCluster;

#[derive(Debug)]
struct RunningMemoryCluster {
    nodes: Vec<ClusterNode>,
}

impl Cluster for MemoryCluster {
    fn start<'a>(
        &'a self,
        options: &'a DevOptions,
    ) -> BoxFuture<'a, Result<Box<dyn RunningCluster>, StartError>> {
        let backend: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
        let node = |node| ClusterNode { backend: Arc::clone(&backend), peer_addr: options.peer_addr(node) };
        let nodes = (0..options.nodes).map(node).collect();
        Box::pin(std::future::ready(Ok(Box::new(RunningMemoryCluster { nodes }) as Box<dyn RunningCluster>)))
    }
}

impl RunningCluster for RunningMemoryCluster {
    fn nodes(&self) -> Vec<ClusterNode> {
        self.nodes.clone()
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), StartError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<(), StartError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
