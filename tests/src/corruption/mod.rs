//! Rot, in every place of a small cluster's files: three nodes, a history, one byte (or sector, or file) that is not
//! what was written, and then all of them started again.

pub mod attempt;
pub mod case;
pub mod cluster;
pub mod damage;
pub mod helical;
pub mod image;
pub mod large;
mod panics;
pub mod place;
pub mod plan;
pub mod run;
pub mod short;
pub mod verdict;
mod world;

use quorate::{GroupId, NodeId};

/// Why no case could be tried. What a case finds wrong is a violation, and no error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine failed where nothing was damaged.
    #[error(transparent)]
    Engine(#[from] quorate::Error),
    /// The disk of a history failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A replica of the short history has too many bytes.
    #[error("the short history takes {bytes} bytes of {group} on {node}")]
    TooLong {
        /// The node.
        node: NodeId,
        /// The group.
        group: GroupId,
        /// Of all its files.
        bytes: u64,
    },
    /// A large instance could not be made, or run.
    #[error(transparent)]
    Large(#[from] Box<large::Error>),
    /// The history did not come to what the cases need.
    #[error("the history of {group} on {node} has no snapshot, or was not applied")]
    History {
        /// The node.
        node: NodeId,
        /// The group.
        group: GroupId,
    },
}
