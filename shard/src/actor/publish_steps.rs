//! The order in which a published snapshot becomes durable. [`PublishJob`](super::publish_job::PublishJob) goes by it.

use quorate_storage::planted::{self, Planted};

/// One thing that a publishing does, after it has taken a view of the state and its label out of the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishStep {
    /// The file is written, synced, and renamed; the directory is synced.
    WriteFile,
    /// The store's record of the snapshot's index, or of a later one, is durable.
    RaiseMarker,
    /// The log records the snapshot.
    RecordSnapshot,
    /// Whoever asked for it has it, and followers may be sent it.
    Announce,
    /// What the device has is compared with what was written. Damage ends the publishing.
    ReadBack,
    /// The log behind the second newest snapshot is dropped.
    Compact,
    /// Older files are removed.
    Prune,
}

impl PublishStep {
    /// What must be done before what (DESIGN, section 9). At every crash point the newest snapshot of the log is at or
    /// below the store's record, and the log is shortened only behind a snapshot that the device has.
    const ORDER: [Self; 7] = [
        Self::WriteFile,
        Self::RaiseMarker,
        Self::RecordSnapshot,
        Self::Announce,
        Self::ReadBack,
        Self::Compact,
        Self::Prune,
    ];

    /// All of them, in order.
    pub fn order() -> [Self; 7] {
        let mut order = Self::ORDER;
        if planted::is(Planted::MarkerAfterRecord) {
            order.swap(1, 2);
        }
        order
    }
}
