//! Reads: how fresh, and what a caller gets.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use quorate_storage::Index;
use quorate_storage::state::StateReader;
use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// How fresh a read must be. The caller always names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadLevel {
    /// Sees everything acknowledged before the read began: one round to a quorum, shared by all reads that
    /// wait for one.
    Linearizable,
    /// Sees everything acknowledged up to `lag_max` before the read began; may be served by any replica
    /// without a round if a round within that time has proven it.
    BoundedStale {
        /// How old the answer may be.
        lag_max: Duration,
    },
    /// Whatever this replica holds.
    Local,
}

/// Applied state that is fresh enough for the level asked for. Reading through it blocks: do it on a worker, or
/// use [`crate::actor::GroupHandle::read_with`].
#[derive(Clone, Debug)]
pub struct ReadGuard {
    reader: Arc<dyn StateReader>,
    index: Index,
}

impl ReadGuard {
    pub(crate) fn new(reader: Arc<dyn StateReader>, index: Index) -> Self {
        Self { reader, index }
    }

    /// The state.
    pub fn reader(&self) -> &dyn StateReader {
        self.reader.as_ref()
    }

    /// The state, shared.
    pub fn share(&self) -> Arc<dyn StateReader> {
        Arc::clone(&self.reader)
    }

    /// The applied index when this was given out; the state is at least there.
    pub fn index(&self) -> Index {
        self.index
    }
}

/// Who waits for a read.
pub(crate) enum ReadWaiter {
    /// A caller that wants the guard itself.
    Guard(oneshot::Sender<Result<ReadGuard>>),
    /// A caller whose closure is run on a read worker.
    Work(Box<dyn ReadWork>),
}

impl fmt::Debug for ReadWaiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Guard(_) => "Guard",
            Self::Work(_) => "Work",
        })
    }
}

impl ReadWaiter {
    /// Whether nobody waits any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        match self {
            Self::Guard(reply) => reply.is_closed(),
            Self::Work(work) => work.is_abandoned(),
        }
    }

    /// Ends the read without a result.
    pub(crate) fn fail(self, error: Error) {
        match self {
            Self::Guard(reply) => drop(reply.send(Err(error))),
            Self::Work(work) => work.fail(error),
        }
    }
}

/// A caller's closure with its way back.
pub(crate) trait ReadWork: Send {
    fn is_abandoned(&self) -> bool;
    fn run(self: Box<Self>, reader: &dyn StateReader);
    fn fail(self: Box<Self>, error: Error);
}

/// The one implementation of [`ReadWork`], for every result type.
pub(crate) struct ReadCall<F, R> {
    pub(crate) call: F,
    pub(crate) reply: oneshot::Sender<Result<R>>,
}

impl<F, R> ReadWork for ReadCall<F, R>
where
    F: FnOnce(&dyn StateReader) -> R + Send,
    R: Send,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(self: Box<Self>, reader: &dyn StateReader) {
        let result = (self.call)(reader);
        drop(self.reply.send(Ok(result)));
    }

    fn fail(self: Box<Self>, error: Error) {
        drop(self.reply.send(Err(error)));
    }
}
