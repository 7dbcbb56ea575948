//! A backend whose calls wait until the test lets them go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_server::operator::Operator;
use quorate_server::{
    Access, Backend, BackendError, BoxFuture, Check, InfoSection, KeyPage, MemoryBackend, Topology, Write,
    Written,
};
use tokio::sync::Semaphore;

/// [`MemoryBackend`] with a gate in front of reads and one in front of writes.
#[derive(Debug)]
pub(crate) struct GatedBackend {
    pub(crate) memory: MemoryBackend,
    pub(crate) reads: Semaphore,
    pub(crate) writes: Semaphore,
    pub(crate) write_calls: AtomicUsize,
    /// Of the reads, in order.
    pub(crate) accesses: Mutex<Vec<Access>>,
    pub(crate) operator: Option<Box<dyn Operator>>,
}

impl GatedBackend {
    pub(crate) fn closed() -> Self {
        Self {
            memory: MemoryBackend::new(),
            reads: Semaphore::new(0),
            writes: Semaphore::new(0),
            write_calls: AtomicUsize::new(0),
            accesses: Mutex::default(),
            operator: None,
        }
    }
}

impl Backend for GatedBackend {
    fn read(
        &self,
        keys: Vec<Bytes>,
        value_bytes_max: usize,
        access: Access,
    ) -> BoxFuture<'_, Vec<Result<Option<Bytes>, BackendError>>> {
        self.accesses.lock().push(access);
        Box::pin(async move {
            self.reads.acquire().await.unwrap().forget();
            self.memory.read(keys, value_bytes_max, access).await
        })
    }

    fn lengths(
        &self,
        keys: Vec<Bytes>,
        access: Access,
    ) -> BoxFuture<'_, Vec<Result<Option<usize>, BackendError>>> {
        self.memory.lengths(keys, access)
    }

    fn write(&self, writes: Vec<Write>, access: Access) -> BoxFuture<'_, Vec<Result<Written, BackendError>>> {
        self.write_calls.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            self.writes.acquire().await.unwrap().forget();
            self.memory.write(writes, access).await
        })
    }

    fn key_count(&self, access: Access) -> BoxFuture<'_, Result<u64, BackendError>> {
        Backend::key_count(&self.memory, access)
    }

    fn keys(
        &self,
        start: Bytes,
        end: Bytes,
        limit: usize,
        access: Access,
    ) -> BoxFuture<'_, Result<KeyPage, BackendError>> {
        self.memory.keys(start, end, limit, access)
    }

    fn topology(&self) -> Arc<Topology> {
        self.memory.topology()
    }

    fn info(&self) -> Vec<InfoSection> {
        Vec::new()
    }

    fn health(&self) -> Vec<Check> {
        vec![Check { name: "log".to_owned(), problem: Some("the disk is full".to_owned()) }]
    }

    fn readiness(&self) -> Vec<Check> {
        vec![Check { name: "group 1".to_owned(), problem: None }]
    }

    fn metrics(&self) -> String {
        String::new()
    }

    fn groups(&self) -> Vec<serde_json::Value> {
        Vec::new()
    }

    fn group(&self, _id: u64) -> Option<serde_json::Value> {
        panic!("a page that panics")
    }

    fn operator(&self) -> Option<&dyn Operator> {
        self.operator.as_deref()
    }
}
