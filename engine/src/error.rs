//! What can go wrong at the node's door.

use quorate_storage::NodeId;

use crate::repair::NotRepairable;

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Errors of the embedding API.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// How a proposal, read or command ended.
    #[error(transparent)]
    Group(#[from] quorate_shard::Error),

    /// Durable state could not be opened or written.
    #[error(transparent)]
    Storage(#[from] quorate_storage::Error),

    /// The transport could not be started.
    #[error(transparent)]
    Transport(#[from] quorate_transport::Error),

    /// A group could not be opened.
    #[error(transparent)]
    Start(#[from] quorate_shard::actor::StartError),

    /// The write was applied, but what came back is no outcome of the key-value state machine.
    #[error("the write was applied, its outcome cannot be read: {0}")]
    UnreadableOutcome(quorate_storage::Error),

    /// A field of the configuration is out of bounds. Nothing was opened.
    #[error("config field {field}: {why}")]
    Config {
        /// The field.
        field: &'static str,
        /// What is wrong.
        why: &'static str,
    },

    /// No group serves the key (yet).
    #[error("no group serves that key")]
    NoRoute,

    /// The keys of one atomic batch belong to different groups. Nothing was written.
    #[error("the batch touches more than one group")]
    CrossesGroups,

    /// The catalog knows no such node.
    #[error("node {0} is not in the catalog")]
    NoSuchNode(NodeId),

    /// Another change of the catalog won again and again within the deadline. Nothing was changed.
    #[error("the catalog changed too often to be changed")]
    CatalogContended,

    /// The new group's range touches one that exists. Nothing was created.
    #[error("the key range is already served by group {0}")]
    RangeTaken(quorate_storage::GroupId),

    /// There is nothing to repair, or not in this way. Nothing was changed.
    #[error("group {group} cannot be repaired from here: {reason}")]
    NotRepairable {
        /// The group.
        group: quorate_storage::GroupId,
        /// Why.
        reason: NotRepairable,
    },

    /// The node is being stopped.
    #[error("the node is stopped")]
    Stopped,
}

impl Error {
    /// Whether the same request may simply be sent again, because it had no effect.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Group(error) => error.is_retryable(),
            Self::NoRoute | Self::CatalogContended => true,
            _ => false,
        }
    }

    /// Whether a write that ended with this may nevertheless take effect.
    pub fn is_maybe_committed(&self) -> bool {
        match self {
            Self::Group(error) => error.is_maybe_committed(),
            Self::UnreadableOutcome(_) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_whose_outcome_cannot_be_read_is_never_called_a_failure() {
        let error = Error::UnreadableOutcome(quorate_storage::Error::Malformed { what: "outcome" });
        assert!(error.is_maybe_committed() && !error.is_retryable());
    }
}
