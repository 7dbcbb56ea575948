//! What a shell around a [`core::Group`](crate::core::Group) is made of, without its tasks, queues and channels: for the
//! actor, and for a simulator that has a loop of its own.
//!
//! Everything here blocks, or is pure. The order of a shell's duties is that of [`Output`](crate::core::Output)'s fields.

use quorate_storage::payload::Unsealer;
use quorate_storage::state::{AppliedRecord, Command};
use quorate_storage::{Entry, Index};

use crate::actor::quarantine::Failure;
use crate::applier::ApplyEntry;
use crate::applier::batch::Batch;
use crate::core::Committed;

pub use crate::actor::compaction::Trailing;
pub use crate::actor::create::create_replica;
pub use crate::actor::launch::Opened;
pub use crate::actor::open::open_replica;
pub use crate::actor::publish_job::{compact_through, label_of};
pub use crate::actor::publish_steps::PublishStep;
pub use crate::repair::{EntriesAnswer, EntriesQuestion, Found, RepairSteps, Verdict, look_up};

/// What a state machine is given of a batch of committed entries.
#[derive(Debug, Default)]
pub struct Judged {
    /// Commands, in the order of their entries.
    pub commands: Vec<Command>,
    /// Entries at or below what is applied already, in front of the others: not to be applied again.
    pub duplicates: Vec<Entry>,
    /// Entries of every kind above that.
    pub entries: u64,
}

/// An entry that cannot be understood: the group halts in front of it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("entry {index} cannot be applied: {cause}")]
pub struct Halted {
    /// The entry.
    pub index: Index,
    /// What is wrong with it.
    #[source]
    pub cause: quorate_storage::Error,
}

/// Judges `committed`, which is one apply batch (a conf change ends it), against `record`, and moves `record` behind the
/// last of them. Pure: every replica comes to the same result.
///
/// # Errors
/// [`Halted`]; `record` is meaningless then.
///
/// # Panics
/// If the entries leave a gap.
pub fn judge(
    committed: Vec<Committed>,
    record: &mut AppliedRecord,
    unsealer: &dyn Unsealer,
) -> Result<Judged, Halted> {
    let entries = committed.into_iter().map(|Committed { entry, conf, .. }| ApplyEntry {
        entry,
        conf,
        reply: None,
        since: None,
    });
    match Batch::build(entries.collect(), record, unsealer) {
        Ok(Batch { commands, duplicates, entries, .. }) => Ok(Judged { commands, duplicates, entries }),
        Err(halted) => match halted.failure {
            Failure::Entry { index, cause } => Err(Halted { index, cause }),
            other => unreachable!("an entry is at fault, not {other}"),
        },
    }
}
