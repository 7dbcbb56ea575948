//! A linearizability checker for registers: keys with one value each, or none.
//!
//! A [`History`] says what clients asked for and what they were told, in the order it happened; [`check()`] says
//! whether one order of the operations explains all of it: each takes effect at one point between its call and its
//! reply, and every reply says what a single copy of the data would have said. Keys are independent, so each is
//! judged on its own (Herlihy and Wing 1990, section 3.3: linearizability is local).
//!
//! An operation whose reply was lost stays open: it may take effect at any time after its call, or never. Every
//! value is written once. No clock, no I/O, no randomness: a verdict depends on the history and on [`Limits`] only.
//! The method, and why it leaves nothing out, is in `search` and `problem`.
//!
//! Not covered: `Append` and `Add`, whose values no caller names; batches are judged key by key, so that they are
//! atomic is not.

pub mod generate;
mod history;
mod model;
mod operations;
mod problem;
mod recorder;
mod search;
mod shrink;
#[cfg(test)]
mod tests;
mod violation;

pub use self::history::{Event, History, HistoryError, What};
pub use self::model::{Action, Before, ClientId, Guard, Key, OpId, Reply, Value};
pub use self::operations::Operation;
pub use self::recorder::Recorder;
pub use self::violation::Violation;

use self::operations::by_key;
use self::problem::Problem;
use self::search::{Ending, search};

/// Where a check gives up. Both bound one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most configurations that are looked at: bounds time, about a microsecond each.
    pub steps_max: u64,
    /// Most configurations that are held at a time: bounds memory, about 100 bytes each.
    pub held_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps_max: 50_000_000, held_max: 2_000_000 }
    }
}

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order that explains every reply.
    Linearizable,
    /// There is none.
    Violation(Box<Violation>),
    /// A key was given up. For a caller this is a failure: nothing was shown.
    Undecided {
        /// The key.
        key: Key,
        /// What it ran out of.
        why: GaveUp,
    },
}

impl Verdict {
    /// Whether the history was shown to be linearizable.
    pub fn is_linearizable(&self) -> bool {
        matches!(self, Self::Linearizable)
    }
}

/// Why a key was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GaveUp {
    /// [`Limits::steps_max`].
    #[error("out of time: {0} configurations were looked at")]
    Steps(u64),
    /// [`Limits::held_max`].
    #[error("out of memory: {0} configurations were held")]
    Held(usize),
    /// More operations of one key were under way at a time than this checker can tell apart.
    #[error("more than {0} operations of the key were under way at a time")]
    UnderWay(usize),
}

/// A verdict, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The verdict. Of several violations, the one whose last reply came first.
    pub verdict: Verdict,
    /// Operations that were judged: all but those that definitely failed.
    pub operations: usize,
    /// Those of them that have no reply.
    pub open_ended: usize,
    /// Keys.
    pub keys: usize,
    /// Configurations that were looked at.
    pub steps: u64,
}

/// Judges a history.
///
/// Cost: linear in its length while few operations of a key overlap; at worst exponential in how many do, up to
/// `limits`.
///
/// # Errors
/// [`HistoryError`] if it is no history: a reply without a call, a value written twice.
pub fn check(history: &History, limits: &Limits) -> Result<Report, HistoryError> {
    let keys = by_key(history)?;
    let mut report =
        Report { verdict: Verdict::Linearizable, operations: 0, open_ended: 0, keys: keys.len(), steps: 0 };
    for (key, operations) in keys {
        report.operations += operations.len();
        report.open_ended += operations.iter().filter(|operation| operation.end.is_none()).count();
        let problem = Problem::new(&operations);
        let outcome = search(&problem, limits);
        report.steps += outcome.steps;
        let verdict = match outcome.ending {
            Ending::Explained => continue,
            Ending::GaveUp(why) => Verdict::Undecided { key, why },
            Ending::Refused { .. } => Verdict::Violation(Box::new(shrink::explain(key, &operations, limits))),
        };
        report.verdict = worse(report.verdict, verdict);
    }
    Ok(report)
}

/// A violation counts more than a key that was given up, the earlier one more than the later.
fn worse(one: Verdict, other: Verdict) -> Verdict {
    match (&one, &other) {
        (Verdict::Violation(one_is), Verdict::Violation(other_is)) if other_is.at() < one_is.at() => other,
        (Verdict::Violation(_), _) | (Verdict::Undecided { .. }, Verdict::Undecided { .. }) => one,
        _ => other,
    }
}
