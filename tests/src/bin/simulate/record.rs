//! The record of runs over many seeds: one line of JSON each, in one array.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// What a run over many seeds came to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    /// `protocol` or `full_stack`.
    pub(crate) simulation: String,
    /// The commit it was run at.
    pub(crate) commit: String,
    pub(crate) first_seed: u64,
    pub(crate) seeds: u64,
    /// Simulated seconds under faults, of each.
    pub(crate) seconds: u64,
    pub(crate) passed: u64,
    /// Seeds that did not pass.
    pub(crate) failed: Vec<u64>,
    pub(crate) simulated_hours: f64,
    /// Simulated time by real time and thread.
    pub(crate) speed_per_core: f64,
    /// By kind.
    pub(crate) faults: BTreeMap<String, u64>,
}

/// Adds `run` to the record.
///
/// # Errors
/// If the file cannot be read or written, or is no record.
pub(crate) fn add(path: &Path, run: Run) -> std::io::Result<()> {
    let mut runs: Vec<Run> = match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    runs.push(run);
    let lines: Result<Vec<_>, _> = runs.iter().map(serde_json::to_string).collect();
    std::fs::write(path, format!("[\n{}\n]\n", lines?.join(",\n")))
}

/// The commit that is checked out, with a `+` if there are changes.
pub(crate) fn commit() -> String {
    let said = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    let commit = said(&["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    let is_changed =
        said(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
    format!("{}{}", commit.trim(), if is_changed { "+" } else { "" })
}
