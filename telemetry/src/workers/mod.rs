//! The `Workers` seam: where blocking work (log writes, applies, snapshots) runs.
//!
//! In production: threads fed by channels. In a simulation: the simulation's own thread, in seeded order.

pub mod conformance;
mod sim;
mod threads;

use std::fmt;

pub use self::sim::{SimWorkers, SimWorkersConfig};
pub use self::threads::{SpawnError, ThreadWorkers};

/// A piece of blocking work. It reports its result itself, through whatever it captured.
pub type Job = Box<dyn FnOnce() + Send + 'static>;

/// The pool has been stopped; the job was dropped without having run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker pool has been stopped")]
pub struct Stopped;

/// Runs jobs away from the async runtime.
pub trait Workers: fmt::Debug + Send + Sync + 'static {
    /// Queues `job`. Jobs of one `key` run one at a time, in the order they were submitted; jobs of
    /// different keys may run side by side. Returns at once.
    ///
    /// A job that panics must not take a thread down: the pool catches the unwind and goes on. Whoever
    /// submitted it learns of it by the completion channel it captured being dropped.
    ///
    /// # Errors
    /// [`Stopped`] once the pool has been stopped: the job is dropped.
    fn submit(&self, key: u64, job: Job) -> Result<(), Stopped>;

    /// Jobs accepted and not finished yet, running ones included.
    ///
    /// The default suits a pool that has run every job by the time `submit` returns.
    fn depth(&self) -> usize {
        0
    }

    /// Refuses further jobs and returns once every accepted one has run. Stopping twice does nothing more.
    ///
    /// Blocks: never to be called on a thread of the async runtime in production. The default suits a pool that
    /// has run every job by the time `submit` returns and never refuses one.
    fn stop(&self) {}
}
