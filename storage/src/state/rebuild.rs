//! What a state machine offers whose store can be built anew while it is used: for one that takes far more room than
//! what it holds.
//!
//! The order: [`StateRebuild::begin_rebuild`], [`StateBuild::step`] until it is done, [`StateRebuild::finish_rebuild`].
//! Only the first and the last need the state machine; applies go on between them.

use std::any::Any;
use std::fmt;

use super::ScanStep;
use crate::error::{Error, Result};

/// Builds its store anew while it is used.
pub trait StateRebuild {
    /// The room that the state takes. A `stat` for each of its files.
    ///
    /// # Errors
    /// [`Error::Io`]; nothing is known then.
    fn size(&self) -> Result<StateSize>;

    /// Begins to build the store anew out of what it holds now. What is applied from here on is kept in memory for the
    /// build, within a bound. A build that was begun before comes to nothing. Touches no file.
    ///
    /// `reserve_bytes` of the disk must stay free beside the new store.
    ///
    /// # Errors
    /// There is no state to build from.
    fn begin_rebuild(&mut self, reserve_bytes: u64) -> Result<Box<dyn StateBuild>>;

    /// Writes what `build` has not seen yet, and switches to it: durable on return. Whoever reads the old store, or has a
    /// view of it, goes on. Bounded, but it writes, syncs, and opens a store.
    ///
    /// # Errors
    /// As if an apply had failed: the switch was begun, and the store must not be touched again. A start finds the old
    /// store or the new one, whole.
    fn finish_rebuild(&mut self, build: Box<dyn StateBuild>) -> Result<Switch>;
}

/// A store that is being built, apart from the state machine. Dropped before it is finished it leaves nothing; that
/// touches the disk, too.
pub trait StateBuild: Any + fmt::Debug + Send {
    /// Builds on, by about `bytes_max` of keys and values, at least one record. To be called until it says that it is
    /// done: everything was copied, read back, and little of what was applied meanwhile is missing.
    ///
    /// # Errors
    /// The build is of no use any more.
    fn step(&mut self, bytes_max: u64) -> Result<ScanStep, RebuildFailure>;
}

/// How the end of a rebuild went.
#[derive(Debug)]
pub enum Switch {
    /// The new store is the state.
    Switched,
    /// Too much was applied meanwhile for one go: the build has further steps to do. Nothing has changed.
    Behind(Box<dyn StateBuild>),
    /// The build is of no use. Nothing has changed.
    Abandoned(RebuildFailure),
}

/// Why a build came to nothing. The state is as it was.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RebuildFailure {
    /// The store in use cannot be read, or does not hold what its applied record says.
    #[error("the store in use failed: {0}")]
    Source(#[source] Error),
    /// The new store cannot be written, or does not give back what was written to it.
    #[error("the new store failed: {0}")]
    Build(#[source] Error),
    /// More was applied meanwhile than is kept in memory.
    #[error("more than {bytes_max} bytes were applied meanwhile")]
    Overtaken {
        /// What is kept.
        bytes_max: u64,
    },
    /// The state was replaced or closed meanwhile, or another build was begun.
    #[error("the state was replaced meanwhile")]
    Superseded,
}

/// The room that a state takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSize {
    /// Bytes of its files.
    pub disk_bytes: u64,
    /// Bytes of the keys and values that it holds.
    pub live_bytes: u64,
}
