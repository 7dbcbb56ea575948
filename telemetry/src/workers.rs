//! The `Workers` seam: where blocking work (log writes, applies, snapshots) runs.
//!
//! In production: threads fed by channels. In a simulation: the simulation's own thread, in seeded order.

use std::fmt;

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
}
