//! What a run over a large instance came to.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::corruption::run::Report;
use crate::corruption::verdict::Outcome;

/// By which means a damage was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// The start of the node, or of the group.
    Start,
    /// A read of a value.
    Read,
    /// The background scan: a value, a snapshot, or counts and digest that do not add up.
    Scan,
    /// Nothing while it ran; `quorate verify` names it.
    Verify,
}

impl Means {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::Start, Self::Read, Self::Scan, Self::Verify];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Read => "read",
            Self::Scan => "scan",
            Self::Verify => "verify",
        }
    }
}

/// What one case came to.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    /// `None` if nothing was changed.
    pub outcome: Option<Outcome>,
    /// `None` if nothing found it.
    pub means: Option<Means>,
    /// What happened, in words.
    pub what: Vec<String>,
}

impl Tried {
    pub(super) fn new(outcome: Outcome, means: Option<Means>, what: Vec<String>) -> Self {
        Self { outcome: Some(outcome), means, what }
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LargeReport {
    /// The table.
    #[serde(flatten)]
    pub report: Report,
    /// Its store.
    pub store: &'static str,
    /// Bytes of the damaged replica's files together.
    pub replica_bytes: u64,
    /// How the damages of each kind of file were found.
    pub found: BTreeMap<&'static str, BTreeMap<Means, u64>>,
    /// Panics of a store's library, caught.
    pub caught_panics: u64,
}

impl fmt::Display for LargeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.report)?;
        write!(f, "{:<11}", "found by")?;
        for means in Means::ALL {
            write!(f, " {:>8}", means.name())?;
        }
        writeln!(f)?;
        for (kind, found) in &self.found {
            write!(f, "{kind:<11}")?;
            for means in Means::ALL {
                write!(f, " {:>8}", found.get(&means).copied().unwrap_or(0))?;
            }
            writeln!(f)?;
        }
        write!(
            f,
            "store={} replica_bytes={} caught_panics={}",
            self.store, self.replica_bytes, self.caught_panics
        )
    }
}
