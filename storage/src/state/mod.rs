//! The state machine a group replicates, and its applied record: the durable statement of what it holds.
//!
//! Rules for every implementation: one atomic store batch per [`StateMachine::apply`], the record inside;
//! every entry moves the record, so the record is always what was applied; `apply` is a pure function of
//! (state, commands); opening never scans the data.

pub mod conformance;
mod digest;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod format;
mod rebuild;
mod record;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::descriptor::GroupDescriptor;
use crate::entry::{ConfState, EntryId};
use crate::error::Result;
use crate::ids::{Incarnation, Index, Timestamp};
use crate::kv::KvRead;
use crate::payload::Payload;
use crate::snapshot::{SnapshotPayload, SnapshotSink, SnapshotSource, StateHeader};

pub use digest::RecordHasher;
pub use rebuild::{RebuildFailure, StateBuild, StateRebuild, StateSize, Switch};

/// An order-independent sum modulo 2^128 of a keyed 128-bit hash of every live user record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StateDigest(pub u128);

/// What a state machine's store holds, written in the same atomic batch as the state. All fields exist from
/// the first format on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedRecord {
    /// The last entry applied.
    pub applied: EntryId,
    /// Membership as of `applied`.
    pub conf_state: ConfState,
    /// The group's descriptor as of `applied`.
    pub descriptor: GroupDescriptor,
    /// The replica directory this store belongs to.
    pub incarnation: Incarnation,
    /// Highest physical time a leader may issue; 0 before the first lease.
    pub hlc_ceiling: Timestamp,
    /// Index strictly above which payloads are encrypted, if encryption was turned on.
    pub cutover: Option<Index>,
    /// Wrapped data keys; empty in clear.
    pub wrapped_keys: Bytes,
    /// The digest of the state. Filled in by the state machine; what a caller passes in is ignored.
    pub digest: StateDigest,
}

/// A command for the state machine: the body of one entry.
#[derive(Clone, Debug)]
pub struct Command {
    /// Where it stands in the log.
    pub id: EntryId,
    /// The caller's bytes.
    pub body: Bytes,
}

/// A replicated state machine. One applier owns it; readers are shared.
///
/// All methods may block; they run on worker threads.
pub trait StateMachine: fmt::Debug + Send {
    /// Refuses a command that `apply` would halt on, before the leader appends it. Pure, cheap.
    fn check(&self, body: &Bytes) -> Result<()>;

    /// Applies `commands` in order and moves the applied record to `record`, all in one atomic store batch.
    /// Entries without a command (empty, conf change, lease, refused) are not in `commands`; they still
    /// move the record. Returns one output per command. Readers see the result when it returns; it is
    /// durable only after [`StateMachine::checkpoint`] (or [`StateMachine::durable_applied`] says so).
    ///
    /// # Errors
    /// Halts the group: the state is as before the call, or unknown and will be rebuilt.
    fn apply(&mut self, commands: &[Command], record: &AppliedRecord) -> Result<Vec<Bytes>>;

    /// A shared reader of the applied state.
    fn reader(&self) -> Arc<dyn StateReader>;

    /// A consistent view of the state as of the last apply; writes go on beside it.
    fn view(&self) -> Result<Box<dyn StateView>>;

    /// Replaces the whole state by a snapshot's: builds the next generation, its last batch being `record`
    /// (with the digest recomputed), checkpoints it and switches. Durable on return. After an error or a
    /// crash in between the old state is still there.
    fn restore(&mut self, source: &mut dyn SnapshotSource, record: &AppliedRecord) -> Result<()>;

    /// [`StateMachine::restore`] in pieces, for a caller that paces itself: takes about `bytes_max` of keys and values
    /// from `source`, and says whether that was the end. Then the state is replaced; until then the old one is there
    /// and can be read. Between the pieces of one restore nothing is applied. After an error nothing of it is left;
    /// a piece of another `record` begins a restore of its own.
    ///
    /// The default restores everything at once.
    ///
    /// # Errors
    /// As [`StateMachine::restore`].
    fn restore_some(
        &mut self,
        source: &mut dyn SnapshotSource,
        record: &AppliedRecord,
        bytes_max: u64,
    ) -> Result<bool> {
        let _ = bytes_max;
        self.restore(source, record).map(|()| true)
    }

    /// Makes everything applied durable. Returns the durable index.
    fn checkpoint(&mut self) -> Result<Index>;

    /// The newest index whose state would survive what this store promises to survive.
    fn durable_applied(&self) -> Index;

    /// Checkpoints and stops. Nothing may be called afterwards.
    fn close(&mut self) -> Result<()>;

    /// The applied record held by the store.
    fn as_applied_index_reader(&self) -> Option<&dyn AppliedIndexReader> {
        None
    }

    /// Raises the applied record durably.
    fn as_applied_index_writer(&mut self) -> Option<&mut dyn AppliedIndexWriter> {
        None
    }

    /// Takes the state header of a snapshot that is not restored.
    fn as_snapshot_header_applier(&mut self) -> Option<&mut dyn SnapshotHeaderApplier> {
        None
    }

    /// Builds its store anew while it is used. Without it a bloated store stays as it is.
    fn as_rebuild(&mut self) -> Option<&mut dyn StateRebuild> {
        None
    }

    /// Tells entries that act on memory only. Without it all duplicates are dropped.
    fn as_volatile_entry_classifier(&mut self) -> Option<&mut dyn VolatileEntryClassifier> {
        None
    }
}

/// Reads the applied record.
pub trait AppliedIndexReader {
    /// The record, `None` if the store has none (it is new). An error never aborts a start: it leads to a
    /// full restore.
    fn applied_record(&self) -> Result<Option<AppliedRecord>>;

    /// Whether what the store holds can be counted on after the last stop.
    fn is_trusted(&self) -> bool;
}

/// Raises the applied record, always synced: at snapshot publish and restore.
pub trait AppliedIndexWriter {
    /// Makes a record at least at `index` durable, without changing the state.
    ///
    /// # Errors
    /// Whatever kept it from that. Like an error of [`StateMachine::apply`] it takes the group out of service.
    fn persist_applied(&mut self, index: Index) -> Result<()>;
}

/// Takes the state header of the newest snapshot where a start skips the restore: for a state machine that keeps
/// ceiling and cutover in memory only. (A restore tells both with its record.)
///
/// Two phases, because the header is read before the checksum of its file is known: what is parsed is applied only
/// once the whole file has been verified.
pub trait SnapshotHeaderApplier {
    /// Whether the applied record already carries what the header holds. Then no byte of a snapshot is read on a skip,
    /// and the other two are never called.
    fn covers_header(&self) -> bool;

    /// Parses the header out of `payload`, and may drain it; what it leaves is drained by the caller. Must change
    /// nothing: the bytes are not verified yet. `None` for a file without a header.
    ///
    /// # Errors
    /// As [`SnapshotPayload::state_header`]; the file is then not used.
    fn parse_header(&self, payload: &mut SnapshotPayload) -> Result<Option<StateHeader>> {
        payload.state_header()
    }

    /// Takes the verified header, as a pure assignment. Not called for a file without one.
    fn apply_header(&mut self, header: StateHeader);
}

/// Tells entries that act on memory only, and does them again.
///
/// A start that skips the restore has the state on disk, but not what entries between the newest snapshot and the
/// floor did to memory. They are walked once, in order, and what is volatile is applied again. A state machine
/// whose applied record carries everything, as the key-value one's does, needs no classifier.
pub trait VolatileEntryClassifier {
    /// Whether the applied record already carries that memory: then nothing is walked, and every duplicate is dropped.
    fn covers_volatile(&self) -> bool;

    /// Whether this payload, in clear, acts on memory only. Pure.
    fn is_volatile(&self, payload: &Payload) -> bool;

    /// Does to memory what applying it did. It may have been done before: twice must be as once. It stands for no
    /// index: the applied record must not move.
    ///
    /// # Errors
    /// Halts the group.
    fn apply_volatile(&mut self, payload: &Payload) -> Result<()>;
}

/// Reads applied state; shared between threads.
pub trait StateReader: fmt::Debug + Send + Sync {
    /// Answers a query in the state machine's own language.
    fn query(&self, request: &Bytes) -> Result<Bytes>;

    /// Ordered key-value access, if this state machine is one.
    fn as_kv(&self) -> Option<&dyn KvRead> {
        None
    }
}

/// A consistent view of the state at one applied record.
pub trait StateView: fmt::Debug + Send {
    /// The label: exactly what this view holds.
    fn record(&self) -> &AppliedRecord;

    /// Writes every record in key order.
    fn write_to(&mut self, sink: &mut dyn SnapshotSink) -> Result<()>;

    /// [`StateView::write_to`] in pieces, for a caller that paces itself: writes about `bytes_max` of keys and values,
    /// at least one record, behind those of the piece before. Whether those were the last.
    ///
    /// The default writes everything at once.
    ///
    /// # Errors
    /// As [`StateView::write_to`]; the view is of no use afterwards.
    fn write_some(&mut self, sink: &mut dyn SnapshotSink, bytes_max: u64) -> Result<bool> {
        let _ = bytes_max;
        self.write_to(sink).map(|()| true)
    }

    /// Looks at what the view holds, piece by piece. A view is either written or scanned.
    fn as_scan(&mut self) -> Option<&mut dyn StateScan> {
        None
    }
}

/// Checks all of a consistent view, in pieces, for a caller that paces itself: whether each value is the one that was
/// written, and whether all of them together are what the applied record says.
pub trait StateScan {
    /// Reads on: about `bytes_max` of keys and values, at least one record. To be called until it says that it is done.
    ///
    /// # Errors
    /// [`crate::Error::is_store_failure`] if the store must not be trusted any more; otherwise it was closed meanwhile,
    /// and nothing is known.
    fn step(&mut self, bytes_max: u64) -> Result<ScanStep>;
}

/// A piece of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanStep {
    /// Records in it.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// It was the last: everything is as it was written.
    pub is_done: bool,
}
