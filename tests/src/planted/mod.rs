//! Known mistakes (`quorate_storage::planted`), and the table of what must find each: `tests/planted.toml`.
//!
//! A mistake counts as found only if the law that the table names is what finds it: so each law is seen to say no to the
//! product, and not only to what its own test tells it. The table names a seed. Should a change of the product or of a
//! simulation have made another run of it, the seeds from 0 on are tried for as long as there is time.

mod choice;
mod control;
mod simulation;
mod storm;
mod survey;
#[cfg(test)]
mod tests;
mod trial;

pub use self::choice::chosen_by;
pub use self::control::control;
pub use self::simulation::Simulation;
pub use self::storm::Storm;
pub use self::survey::{Surveyed, survey};
pub use self::trial::{TIME_MAX, Trial, Tried, search, try_one};

/// All mistakes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// In the order in which they are tried.
    #[serde(rename = "mistake")]
    pub mistakes: Vec<Mistake>,
}

/// A mistake, and what finds it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mistake {
    /// Its name in `quorate_storage::planted`.
    pub name: String,
    /// What finds it.
    pub caught: Caught,
}

/// What finds a mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum Caught {
    /// A seed of the protocol simulator.
    Protocol {
        /// The seed.
        seed: u64,
        /// Its faults, if the seed does not draw them.
        #[serde(default)]
        faults: Storm,
        /// The law that says no: the name of a `protocol::invariants::Law`, or `panic`.
        law: String,
    },
    /// A seed of the full-stack simulation.
    FullStack {
        /// The seed.
        seed: u64,
        /// How what it says begins.
        law: String,
    },
    /// A test of a library.
    Test {
        /// The package.
        package: String,
        /// The test's path in it.
        test: String,
    },
}

impl Table {
    /// Reads the text of `tests/planted.toml`.
    ///
    /// # Errors
    /// The line that is no part of a table.
    pub fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The mistake of this name.
    pub fn find(&self, name: &str) -> Option<&Mistake> {
        self.mistakes.iter().find(|mistake| mistake.name == name)
    }
}

impl Caught {
    /// The simulation, its seed and the law, if it is one that finds it.
    pub fn simulation(&self) -> Option<(Simulation, u64, &str)> {
        match self {
            Self::Protocol { seed, faults, law } => Some((Simulation::Protocol(*faults), *seed, law)),
            Self::FullStack { seed, law } => Some((Simulation::FullStack, *seed, law)),
            Self::Test { .. } => None,
        }
    }
}
