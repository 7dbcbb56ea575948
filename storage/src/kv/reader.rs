//! Reads of applied state, whatever generation is current.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use super::generations::Generation;
use super::{Counts, KeyValue, KeysPage, KvRead, ScanRange, record};
use crate::error::{Error, Result};
use crate::state::StateReader;

/// The current generation, shared with every reader.
#[derive(Debug)]
pub(super) struct Current {
    dir: PathBuf,
    generation: RwLock<Option<Arc<Generation>>>,
}

impl Current {
    /// No generation yet; `dir` is where they will be.
    pub(super) fn none(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), generation: RwLock::new(None) }
    }

    pub(super) fn set(&self, generation: Option<Arc<Generation>>) {
        *self.generation.write() = generation;
    }

    fn get(&self) -> Result<Arc<Generation>> {
        let generation = self.generation.read().clone();
        generation.ok_or_else(|| Error::Closed { cause: Arc::new(Error::Missing { path: self.dir.clone() }) })
    }

    /// Reads the current generation, and its successor if it was replaced meanwhile.
    fn read<T>(&self, mut read: impl FnMut(&Generation) -> Result<T>) -> Result<T> {
        loop {
            let generation = self.get()?;
            let result = read(&generation);
            if result.is_ok() || Arc::ptr_eq(&generation, &self.get()?) {
                return result;
            }
        }
    }
}

/// Reads a [`super::KvStateMachine`]; it stays valid across restores.
#[derive(Debug)]
pub(super) struct KvStateReader {
    current: Arc<Current>,
}

impl KvStateReader {
    pub(super) fn new(current: Arc<Current>) -> Self {
        Self { current }
    }
}

impl StateReader for KvStateReader {
    /// The key-value state machine has no language of its own: it is read through [`KvRead`].
    fn query(&self, _request: &Bytes) -> Result<Bytes> {
        Err(Error::Malformed { what: "query: the key-value state machine has no query language" })
    }

    fn as_kv(&self) -> Option<&dyn KvRead> {
        Some(self)
    }
}

impl KvStateReader {
    /// Visits the verified pairs of `range`. `begin` makes what collects them; it is called again if the
    /// generation was replaced meanwhile.
    fn collect<C>(
        &self,
        range: ScanRange<'_>,
        begin: impl Fn() -> C,
        mut take: impl FnMut(&mut C, &[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<C> {
        let start = record::stored_key(range.start);
        let end = range.end.map_or_else(|| vec![record::PREFIX + 1], record::stored_key);
        let stored = ScanRange { start: &start, end: Some(&end), reverse: range.reverse };
        self.current.read(|generation| {
            let mut collected = begin();
            generation.reader().scan(stored, &mut |key, value| {
                let key =
                    key.strip_prefix(&[record::PREFIX]).ok_or(Error::Malformed { what: "stored key" })?;
                let value = record::verify(key, value, generation.dir())?;
                Ok(take(&mut collected, key, value))
            })?;
            Ok(collected)
        })
    }
}

impl KvRead for KvStateReader {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let stored_key = record::stored_key(key);
        self.current.read(|generation| {
            let stored = generation.reader().get(&stored_key)?;
            stored.map(|stored| record::verified(key, &stored, generation.dir())).transpose()
        })
    }

    fn scan(&self, range: ScanRange<'_>, limit: usize, bytes_max: usize) -> Result<Vec<KeyValue>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let begin = || (Vec::new(), 0);
        let (pairs, _) = self.collect(range, begin, |(pairs, bytes), key, value| {
            *bytes += key.len() + value.len();
            if *bytes > bytes_max && !pairs.is_empty() {
                return ControlFlow::Break(());
            }
            pairs.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            if pairs.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(pairs)
    }

    fn keys(&self, range: ScanRange<'_>, limit: usize, bytes_max: usize) -> Result<KeysPage> {
        let begin = || (KeysPage::default(), 0);
        let (page, _) = self.collect(range, begin, |(page, bytes), key, _value| {
            *bytes += key.len();
            let is_cut = *bytes > bytes_max && !page.keys.is_empty();
            if is_cut || page.keys.len() >= limit {
                page.next = Some(Bytes::copy_from_slice(key));
                return ControlFlow::Break(());
            }
            page.keys.push(Bytes::copy_from_slice(key));
            ControlFlow::Continue(())
        })?;
        Ok(page)
    }

    fn counts(&self) -> Result<Counts> {
        self.current.read(|generation| Ok(generation.counts()))
    }
}
