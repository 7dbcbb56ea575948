//! Backups: one directory with a published snapshot of each group, and a manifest that says what belongs to it.
//!
//! [`BackupWriter`] makes one, beside its name until it is whole; [`Backup`] reads one; `offline::verify_backup` checks
//! one; [`RestoringDir`] makes the data directory of a new cluster's node out of one. Where the snapshots come from, and
//! what the new cluster looks like, is left to the caller. `docs/FORMAT.md` has the files.
//!
//! **What a backup is consistent in**: each group is there as it was at one index of its log. There is no point in time
//! across groups.

mod directory;
mod manifest;
mod read;
mod restore;
#[cfg(test)]
mod tests;
mod whole;
mod writer;

pub use manifest::{BackupGroup, MANIFEST_FILE, MANIFEST_HASH_FILE, Manifest};
pub use read::Backup;
pub(crate) use restore::is_unfinished;
pub use restore::{NewReplica, RestoringDir};
pub use whole::{OnRecord, WholeSnapshot, read_whole};
pub use writer::{BackupWriter, GroupFile};

/// Beside the other files while a backup is written: two of one directory exclude each other.
pub(crate) const LOCK_FILE: &str = "lock";
