//! The fault catalogue: `tests/faults.toml`, and `docs/TESTING.md`, which is made of it.
//!
//! The tests here keep the catalogue honest as far as a program can: numbers are complete, each fault is in one state,
//! every test that is named is in the source and every command is a file. What a test asserts is for its reader.

mod check;
mod render;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use self::check::{Problem, problems};
pub use self::render::render;

/// The catalogue.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// In the order of their numbers.
    #[serde(rename = "fault")]
    pub faults: Vec<Fault>,
}

/// Something that can go wrong.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// From 1; never used for another fault.
    pub number: usize,
    /// Where it happens: faults of one layer stand together.
    pub layer: String,
    /// What it is called.
    pub name: String,
    /// What happens.
    pub fault: String,
    /// What must come of it.
    pub expected: String,
    /// What makes it happen.
    #[serde(default)]
    pub injected: Vec<Injection>,
    /// What is to be built before anything does.
    pub missing: Option<String>,
    /// The feature without which it cannot happen.
    pub waits_for: Option<String>,
}

/// Something that makes a fault happen.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Injection {
    /// `path/of/file.rs::function`, or a command whose first word is a file.
    pub by: String,
    /// What proves that it happened.
    pub counter: String,
}

/// The state of a fault: exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State<'a> {
    /// It is made to happen.
    Injected(&'a [Injection]),
    /// It could be.
    Missing(&'a str),
    /// It cannot happen yet.
    WaitsFor(&'a str),
}

impl Catalogue {
    /// Reads the text of `tests/faults.toml`.
    ///
    /// # Errors
    /// The line that is no part of a catalogue.
    pub fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// How many faults are made to happen.
    pub fn injected_count(&self) -> usize {
        self.faults.iter().filter(|fault| matches!(fault.state(), Some(State::Injected(_)))).count()
    }
}

impl Fault {
    /// Its state, if it has exactly one.
    pub fn state(&self) -> Option<State<'_>> {
        match (self.injected.as_slice(), &self.missing, &self.waits_for) {
            (injected @ [_, ..], None, None) => Some(State::Injected(injected)),
            ([], Some(missing), None) => Some(State::Missing(missing)),
            ([], None, Some(feature)) => Some(State::WaitsFor(feature)),
            _ => None,
        }
    }
}

/// The root of the source tree that this was built of.
pub fn source_root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().map_or_else(|| package.to_path_buf(), Path::to_path_buf)
}
