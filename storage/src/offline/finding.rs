//! Something about a data directory that is not as it should be.

use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::error::Error;
use crate::identity::Divergence;
use crate::ids::{GroupId, Index};

/// Most findings kept of one look; more are only counted.
pub const FINDINGS_MAX: usize = 10_000;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingClass {
    /// Something that was durable is gone or wrong.
    Damage,
    /// Bytes are wrong that nothing is lost with: they stand elsewhere too, or nobody reads them. The device still
    /// gave back what was not written.
    Redundant,
    /// Every byte is what was written, but a majority of the group's replicas proved the state wrong.
    Diverged,
    /// What a crash left of a write that was never acknowledged. Not damage.
    TornTail,
    /// Could not be looked at: a newer format, another owner, a refused read. Says nothing of what is there.
    Unchecked,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub class: FindingClass,
    /// The group whose directory it is in.
    pub group: Option<u64>,
    /// The file or directory.
    #[serde(serialize_with = "lossy")]
    pub file: PathBuf,
    /// Where the structure starts that is not right, in bytes; `None` if that is not known.
    pub offset: Option<u64>,
    /// Index of the log entry it is about.
    pub entry: Option<u64>,
    /// What is wrong, for people.
    pub problem: String,
}

impl FindingClass {
    /// Its name, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Damage => "damage",
            Self::Redundant => "redundant",
            Self::Diverged => "diverged",
            Self::TornTail => "torn_tail",
            Self::Unchecked => "unchecked",
        }
    }

    /// Whether bytes were found that are not what was written, or a state that is not what was replicated.
    pub const fn is_corruption(self) -> bool {
        matches!(self, Self::Damage | Self::Redundant | Self::Diverged)
    }
}

impl Finding {
    /// What `error` says; about `place` if it does not say itself where it was.
    pub(crate) fn of(error: &Error, place: &Path) -> Self {
        let class = class_of(error);
        let (file, offset) = error.location().unwrap_or((place, None));
        let file = file.to_path_buf();
        Self { class, group: None, file, offset, entry: None, problem: problem(error) }
    }

    /// A batch at `offset` of the log segment `file` that was never proven whole.
    pub(crate) fn torn(file: &Path, offset: u64, problem: &str) -> Self {
        Self {
            class: FindingClass::TornTail,
            group: None,
            file: file.to_path_buf(),
            offset: Some(offset),
            entry: None,
            problem: problem.to_owned(),
        }
    }

    /// The mark in `file` of a replica whose state was proven wrong.
    pub(crate) fn diverged(file: &Path, divergence: &Divergence) -> Self {
        Self {
            class: FindingClass::Diverged,
            group: None,
            file: file.to_path_buf(),
            offset: None,
            entry: Some(divergence.index.get()),
            problem: divergence.to_string(),
        }
    }

    pub(crate) fn in_group(self, group: GroupId) -> Self {
        Self { group: Some(group.get()), ..self }
    }

    pub(crate) fn about(self, entry: Option<Index>) -> Self {
        Self { entry: entry.map(Index::get), ..self }
    }

    /// The same, of a copy that nothing is lost with.
    pub(crate) fn redundant(self) -> Self {
        let class = if self.class == FindingClass::Damage { FindingClass::Redundant } else { self.class };
        Self { class, ..self }
    }
}

/// A path in a report: JSON has only text.
pub(super) fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

fn class_of(error: &Error) -> FindingClass {
    match error {
        Error::Corrupt { .. }
        | Error::LogLost { .. }
        | Error::Malformed { .. }
        | Error::Missing { .. }
        | Error::Store { .. } => FindingClass::Damage,
        Error::Closed { cause } => class_of(cause),
        _ => FindingClass::Unchecked,
    }
}

/// What is wrong, without the place, which a finding names itself.
fn problem(error: &Error) -> String {
    match error {
        Error::Corrupt { what, expected, found, .. } => {
            format!("corrupt {what}: expected {expected:#x}, found {found:#x}")
        }
        Error::LogLost { reason, .. } => format!("log lost: {reason}"),
        Error::Missing { .. } => "missing".to_owned(),
        Error::Closed { cause } => problem(cause),
        other => other.to_string(),
    }
}
