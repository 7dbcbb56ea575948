//! One seed of a simulation, and which law it breaks.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Storm;
use crate::{full_stack, protocol};

/// What runs seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Simulation {
    /// [`crate::protocol`], with these faults.
    Protocol(Storm),
    /// [`crate::full_stack`].
    FullStack,
}

impl Simulation {
    /// As the table has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Protocol(_) => "protocol",
            Self::FullStack => "full_stack",
        }
    }

    /// What goes wrong in this seed, if anything does. A panic is told as one.
    pub fn run(self, seed: u64) -> Option<String> {
        match self {
            Self::Protocol(storm) => {
                let outcome = protocol::attempt(&storm.schedule(seed));
                outcome.err().map(|failed| failed.told)
            }
            Self::FullStack => {
                let run = || full_stack::run(seed, &full_stack::Options::default());
                match catch_unwind(AssertUnwindSafe(run)) {
                    Ok(outcome) => outcome.err().map(|failure| failure.what.join("; ")),
                    Err(panic) => {
                        let told = panic.downcast_ref::<String>().map(String::as_str);
                        let told = told.or_else(|| panic.downcast_ref::<&str>().copied());
                        Some(format!("panic: {}", told.unwrap_or("of another kind")))
                    }
                }
            }
        }
    }
}

/// The law that was broken: what a failure is told as begins with it.
pub(super) fn law_of(told: &str) -> &str {
    told.split(['(', ':']).next().unwrap_or_default().trim()
}
