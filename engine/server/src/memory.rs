//! A backend that keeps everything in memory of this process: for tests of the frontends and to measure them
//! without the engine. Nothing is durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use quorate::StartProgress;
use serde_json::json;

use crate::backend::{
    Access, Backend, BackendError, BoxFuture, Check, InfoSection, KeyPage, Topology, When, Write, Written,
};
use crate::cluster::{Cluster, ClusterNode, RunningCluster, Started};
use crate::config::NodeSettings;
use crate::exit::StartError;
use crate::options::DevOptions;

/// An ordered map behind a lock, which answers at once. Clones share the map.
#[derive(Clone, Debug, Default)]
pub struct MemoryBackend {
    pairs: Arc<RwLock<BTreeMap<Bytes, Bytes>>>,
    topology: Topology,
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

    /// The same map, told as part of `topology`. It still serves every key itself.
    #[must_use]
    pub fn with_topology(&self, topology: Topology) -> Self {
        Self { pairs: Arc::clone(&self.pairs), topology }
    }
}

fn apply(pairs: &mut BTreeMap<Bytes, Bytes>, write: Write) -> Result<Written, BackendError> {
    let before = pairs.get(write.key()).cloned();
    let existed = before.is_some();
    Ok(match write {
        Write::Put { key, value } => {
            pairs.insert(key, Bytes::copy_from_slice(&value));
            Written::Done { existed, previous: None }
        }
        Write::Delete { key } => {
            pairs.remove(&key);
            Written::Done { existed, previous: None }
        }
        Write::Set { key, value, when, returns_previous } => {
            let previous = before.filter(|_| returns_previous);
            let is_met = match when {
                When::Always => true,
                When::Absent => !existed,
                When::Present => existed,
            };
            if !is_met {
                return Ok(Written::Unmet { previous });
            }
            pairs.insert(key, Bytes::copy_from_slice(&value));
            Written::Done { existed, previous }
        }
        Write::Take { key } => {
            pairs.remove(&key);
            Written::Done { existed, previous: before }
        }
        Write::Append { key, suffix } => {
            let whole = [before.as_deref().unwrap_or_default(), &suffix].concat();
            let length = i64::try_from(whole.len()).unwrap_or(i64::MAX);
            pairs.insert(key, whole.into());
            Written::Number(length)
        }
        Write::Add { key, delta } => {
            let number = match &before {
                None => 0,
                Some(value) => std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse::<i64>().ok())
                    .ok_or(BackendError::NotAnInteger)?,
            };
            let sum = number.checked_add(delta).ok_or(BackendError::Overflow)?;
            pairs.insert(key, sum.to_string().into());
            Written::Number(sum)
        }
    })
}

impl Backend for MemoryBackend {
    fn read(
        &self,
        keys: Vec<Bytes>,
        value_bytes_max: usize,
        _access: Access,
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

    fn lengths(
        &self,
        keys: Vec<Bytes>,
        _access: Access,
    ) -> BoxFuture<'_, Vec<Result<Option<usize>, BackendError>>> {
        let pairs = self.pairs.read();
        let lengths: Vec<_> = keys.iter().map(|key| Ok(pairs.get(key).map(Bytes::len))).collect();
        Box::pin(std::future::ready(lengths))
    }

    fn write(
        &self,
        writes: Vec<Write>,
        _access: Access,
    ) -> BoxFuture<'_, Vec<Result<Written, BackendError>>> {
        let mut pairs = self.pairs.write();
        let written: Vec<_> = writes.into_iter().map(|write| apply(&mut pairs, write)).collect();
        Box::pin(std::future::ready(written))
    }

    fn key_count(&self, _access: Access) -> BoxFuture<'_, Result<u64, BackendError>> {
        let count = self.pairs.read().len() as u64;
        Box::pin(std::future::ready(Ok(count)))
    }

    fn keys(
        &self,
        start: Bytes,
        end: Bytes,
        limit: usize,
        _access: Access,
    ) -> BoxFuture<'_, Result<KeyPage, BackendError>> {
        let pairs = self.pairs.read();
        let mut found = pairs.range(start.clone()..end.max(start)).map(|(key, _)| key.clone());
        let keys: Vec<_> = found.by_ref().take(limit).collect();
        let page = KeyPage { keys, next: found.next() };
        Box::pin(std::future::ready(Ok(page)))
    }

    fn topology(&self) -> Arc<Topology> {
        Arc::new(self.topology.clone())
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
    fn start<'a>(&'a self, options: &'a DevOptions) -> BoxFuture<'a, Started> {
        let backend: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
        let node = |node| ClusterNode { backend: Arc::clone(&backend), peer_addr: options.peer_addr(node) };
        let nodes = (0..options.nodes).map(node).collect();
        Box::pin(std::future::ready(Ok(Box::new(RunningMemoryCluster { nodes }) as Box<dyn RunningCluster>)))
    }

    fn start_node<'a>(&'a self, settings: &'a NodeSettings) -> BoxFuture<'a, Started> {
        let peer_addr = settings.listen_peer().unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
        let nodes = vec![ClusterNode { backend: Arc::new(MemoryBackend::new()), peer_addr }];
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

    fn progress(&self) -> StartProgress {
        StartProgress::default()
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<(), StartError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
