//! A backend whose calls wait until the test lets them go.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use quorate_server::{Backend, BackendError, BoxFuture, Check, InfoSection, MemoryBackend, Write};
use tokio::sync::Semaphore;

/// [`MemoryBackend`] with a gate in front of reads and one in front of writes.
#[derive(Debug)]
pub(crate) struct GatedBackend {
    pub(crate) memory: MemoryBackend,
    pub(crate) reads: Semaphore,
    pub(crate) writes: Semaphore,
    pub(crate) write_calls: AtomicUsize,
}

impl GatedBackend {
    pub(crate) fn closed() -> Self {
        Self {
            memory: MemoryBackend::new(),
            reads: Semaphore::new(0),
            writes: Semaphore::new(0),
            write_calls: AtomicUsize::new(0),
        }
    }
}

impl Backend for GatedBackend {
    fn read(
        &self,
        keys: Vec<Bytes>,
        value_bytes_max: usize,
    ) -> BoxFuture<'_, Vec<Result<Option<Bytes>, BackendError>>> {
        Box::pin(async move {
            self.reads.acquire().await.unwrap().forget();
            self.memory.read(keys, value_bytes_max).await
        })
    }

    fn exists(&self, keys: Vec<Bytes>) -> BoxFuture<'_, Vec<Result<bool, BackendError>>> {
        self.memory.exists(keys)
    }

    fn write(&self, writes: Vec<Write>) -> BoxFuture<'_, Vec<Result<bool, BackendError>>> {
        self.write_calls.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            self.writes.acquire().await.unwrap().forget();
            self.memory.write(writes).await
        })
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
}
