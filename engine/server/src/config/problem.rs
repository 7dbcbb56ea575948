//! What is wrong with a configuration, and where it was said.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Where a value comes from; later ones win.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The file, at this line, from 1.
    File {
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag of the command line, as it is written there.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { line } => write!(f, "line {line}"),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One reason to refuse a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was said; [`Origin::Default`] if it is missing, or about the file as a whole.
    pub origin: Origin,
    /// The key, as `raft.tick` or `nodes[2].peer`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub text: String,
}

/// A configuration that is refused, with every problem that was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    file: PathBuf,
    problems: Vec<Problem>,
}

/// A problem as JSON.
#[derive(Serialize)]
struct Report<'a> {
    file: Option<&'a Path>,
    line: Option<usize>,
    source: Option<&'a str>,
    key: &'a str,
    problem: &'a str,
}

impl ConfigError {
    /// In the order of the file, then of the environment, then of the flags.
    pub(super) fn new(file: &Path, mut problems: Vec<Problem>) -> Self {
        assert!(!problems.is_empty(), "a refusal has a reason");
        problems.sort_by(|a, b| a.origin.cmp(&b.origin));
        Self { file: file.to_path_buf(), problems }
    }

    /// What is wrong; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// One object per problem: `file` and `line`, or `source` (a variable or a flag); `key`; `problem`.
    pub fn to_json(&self) -> Vec<serde_json::Value> {
        let report = |problem: &Problem| {
            let (file, line, source) = match &problem.origin {
                Origin::Default => (Some(self.file.as_path()), None, None),
                Origin::File { line } => (Some(self.file.as_path()), Some(*line), None),
                Origin::Variable(name) | Origin::Flag(name) => (None, None, Some(name.as_str())),
            };
            let report = Report { file, line, source, key: &problem.key, problem: &problem.text };
            serde_json::to_value(report).unwrap_or_default()
        };
        self.problems.iter().map(report).collect()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for (at, Problem { origin, key, text }) in self.problems.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "\n" })?;
            match origin {
                Origin::Default => write!(f, "{file}: ")?,
                Origin::File { line } => write!(f, "{file}:{line}: ")?,
                Origin::Variable(name) | Origin::Flag(name) => write!(f, "{name}: ")?,
            }
            if !key.is_empty() {
                write!(f, "{key}: ")?;
            }
            f.write_str(text)?;
        }
        Ok(())
    }
}
