//! The order in which a received snapshot becomes the state of a replica. Core and applier go by it.

use quorate_storage::planted::{self, Planted};

/// One thing that is done with a received snapshot, once its file is in place and verified and raft has taken it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallStep {
    /// One record makes token, hard state and the log's reset durable. From here on a start does the rest.
    Record,
    /// The state machine takes over what the file holds; durable on return. Until then it holds the old state.
    Restore,
    /// Readers, and whoever waits for an index, see the new state.
    Show,
}

impl InstallStep {
    /// What must be done before what (DESIGN, section 9). State that is ahead of the log could not be told from lost
    /// log, and what is shown must be what is held.
    const ORDER: [Self; 3] = [Self::Record, Self::Restore, Self::Show];

    /// All of them, in order.
    pub fn order() -> [Self; 3] {
        if planted::is(Planted::InstallShownEarly) {
            return [Self::Record, Self::Show, Self::Restore];
        }
        Self::ORDER
    }

    /// Those of the applier, in order.
    pub fn of_applier() -> impl Iterator<Item = Self> {
        Self::order().into_iter().filter(|step| *step != Self::Record)
    }

    /// Whether the applier hears of the snapshot only once the log has recorded it.
    pub(super) fn is_recorded_first() -> bool {
        Self::order()[0] == Self::Record
    }
}
