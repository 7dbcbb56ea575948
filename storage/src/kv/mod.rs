//! The built-in key-value state machine: its commands, its reads and the stores below it.

mod apply;
mod batch;
mod command;
pub mod conformance;
mod decide;
mod generations;
mod lsm;
mod machine;
pub(crate) mod marker;
mod memory;
pub(crate) mod offline;
mod op;
mod outcome;
mod paged;
mod reader;
mod rebuild;
pub mod record;
mod restore;
mod shared;
mod sled;
mod store;
#[cfg(test)]
mod tests;
pub(crate) mod trust;
mod undo;
mod view;

pub use batch::{Batch, Write};
pub(crate) use lsm::{check_files as check_lsm_files, count_tables as count_lsm_tables};
pub use machine::KvStateMachine;
pub use marker::Counts;
pub use memory::{MemoryEngine, MemoryLoss};
pub use op::{Op, OpFailure, OpResult, When};
pub use restore::verify_snapshot;
pub use shared::{StoreConfig, StoreKind, StoreShared, UnknownStore};
pub use sled::{OnHung, StoreHung};
pub use store::{ALL_RECORDS, KvEngine, KvReader, KvStore, KvView, MARKER_KEY, Visit};

use bytes::Bytes;

use crate::error::Result;

/// Longest key, in bytes (`lsm-tree` ends at 64 KiB).
pub const KEY_BYTES_MAX: usize = 32 * 1024;

/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most operations of one command.
pub const OPS_MAX: usize = 4_096;

/// Most operations of one command that give a value back. An outcome travels in one frame: a command whose
/// outcome might not fit must never be applied.
pub const RETURNING_OPS_MAX: usize = 1;

/// A test that must hold for a command to take effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The key has this value.
    Equals(Bytes, Bytes),
    /// The key is absent.
    Absent(Bytes),
    /// The key is present.
    Present(Bytes),
}

/// A write batch: `ops` in order and atomically, if all of `conditions` hold before the first of them; otherwise
/// nothing. An operation sees what the ones before it did, and is decided on its own: one that fails changes
/// nothing and says so in its result, the others happen. Decided at apply, the same way on every replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvCommand {
    /// What must hold.
    pub conditions: Vec<Condition>,
    /// What changes.
    pub ops: Vec<Op>,
}

impl Condition {
    /// The key that is tested.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Equals(key, _) | Self::Absent(key) | Self::Present(key) => key,
        }
    }
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvOutcome {
    /// The conditions held, and the operations were run.
    Applied {
        /// What each operation did.
        results: Vec<OpResult>,
    },
    /// A condition did not hold; nothing changed.
    Refused {
        /// Position of the first condition that failed.
        condition: u32,
        /// The value its key has.
        actual: Option<Bytes>,
    },
}

/// A key and its value.
pub type KeyValue = (Bytes, Bytes);

/// Ordered reads of applied state.
pub trait KvRead: Send + Sync {
    /// The value of `key`. Returned bytes own their memory.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Up to `limit` pairs of `start..end` in key order (in reverse from the end, if asked), cut after
    /// `bytes_max` of keys and values but at least one. Consistent at one applied index.
    fn scan(&self, range: ScanRange<'_>, limit: usize, bytes_max: usize) -> Result<Vec<KeyValue>>;

    /// Up to `limit` keys of `range`, cut after `bytes_max` of keys but at least one, and where to go on.
    /// Consistent at one applied index. Values are read and checked, not copied.
    fn keys(&self, range: ScanRange<'_>, limit: usize, bytes_max: usize) -> Result<KeysPage>;

    /// What the state holds, without looking at it.
    fn counts(&self) -> Result<Counts>;
}

/// Some keys of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysPage {
    /// In the order asked for.
    pub keys: Vec<Bytes>,
    /// The key behind the last one; `None` if the range is exhausted.
    pub next: Option<Bytes>,
}

/// The bounds and direction of a scan.
#[derive(Clone, Copy, Debug)]
pub struct ScanRange<'a> {
    /// First key.
    pub start: &'a [u8],
    /// First key behind the range; `None` for no end.
    pub end: Option<&'a [u8]>,
    /// From the end towards the start.
    pub reverse: bool,
}
