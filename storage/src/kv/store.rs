//! What the key-value state machine asks of a store. Implementations must pass [`super::conformance`].
//!
//! A store is a rebuildable cache: snapshot and log hold everything acknowledged. So it may lose its newest
//! batches at a crash, but never a part of one, never one before another, and never the marker alone.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::batch::Batch;
use super::{ScanRange, record};
use crate::error::Result;
use crate::ids::Index;

/// Key under which stores keep the marker, before every record. Never in a [`Batch`].
pub const MARKER_KEY: &[u8] = &[0x00];

/// Takes key and value of one record; says whether to go on.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>> + 'a;

/// Opens the generations of one kind of store.
pub trait KvEngine: fmt::Debug + Send + Sync {
    /// Opens the store in `dir`, an existing directory; an empty one becomes an empty store. Never scans
    /// the data.
    ///
    /// # Errors
    /// The store cannot be read. It can be rebuilt in another directory.
    fn open(&self, dir: &Path) -> Result<Box<dyn KvStore>>;

    /// Whether what a store said is durable survives a power cut.
    fn survives_power_cut(&self) -> bool;
}

/// One generation of a group's state, written by one thread.
///
/// All keys in a [`Batch`] start with the record prefix (see [`super::record`]) and have at most
/// [`super::KEY_BYTES_MAX`] + 1 bytes.
pub trait KvStore: fmt::Debug + Send {
    /// The marker of the newest batch that is there, `None` in a new store.
    fn marker(&self) -> Result<Option<Bytes>>;

    /// Takes `batch` atomically. Readers see it when this returns, and nothing of it before. Durable only
    /// after [`KvStore::checkpoint`], or once [`KvStore::durable_index`] says so. Indexes never fall.
    ///
    /// # Errors
    /// The store is unusable from then on.
    fn write(&mut self, batch: &Batch) -> Result<()>;

    /// A shared reader.
    fn reader(&self) -> Arc<dyn KvReader>;

    /// All records and the marker as they are now. Writes go on beside it.
    fn view(&self) -> Result<Box<dyn KvView>>;

    /// Makes every batch taken so far durable. Returns the durable index.
    fn checkpoint(&mut self) -> Result<Index>;

    /// Index of the newest batch that survives what this store promises to survive.
    fn durable_index(&self) -> Index;

    /// Whether what was found at opening can be counted on.
    fn is_trusted(&self) -> bool;

    /// Checkpoints and stops: readers fail from then on. To drop a store instead is a crash of the process.
    fn close(&mut self) -> Result<()>;
}

/// Reads a store; shared between threads.
pub trait KvReader: fmt::Debug + Send + Sync {
    /// The value of `key`, in memory of its own.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Visits the records in `range`, in its order, all as of one batch. Short: it may hold up writes.
    fn scan(&self, range: ScanRange<'_>, visit: &mut Visit<'_>) -> Result<()>;
}

/// All of a store at one batch.
pub trait KvView: fmt::Debug + Send {
    /// The marker of that batch.
    fn marker(&self) -> Option<&Bytes>;

    /// Visits every record in key order. A walk that `visit` breaks off goes on behind that record when this is called
    /// again.
    fn for_each(&mut self, visit: &mut Visit<'_>) -> Result<()>;
}

/// The range of all records.
pub const ALL_RECORDS: ScanRange<'static> =
    ScanRange { start: &[record::PREFIX], end: Some(&[record::PREFIX + 1]), reverse: false };
