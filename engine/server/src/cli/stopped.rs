//! The data directory of a node that does not run, as `inspect` and `verify` take it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use quorate::GroupId;
use quorate::disk::RealDisk;
use quorate::storage::Error;
use quorate::storage::offline::{LookOptions, StoppedDir};
use quorate_telemetry::clock::SystemClock;
use serde::Serialize;

use super::print;
use crate::exit::StartError;

/// What both commands take.
#[derive(Debug, Args)]
pub(super) struct StoppedArgs {
    /// Data directory of a node that does not run. `quorate dev --data DIR` keeps one for each node: DIR/node-1, …
    dir: PathBuf,
    /// Only this group.
    #[arg(long)]
    group: Option<u64>,
    /// Prints JSON, for scripts.
    #[arg(long)]
    pub(super) json: bool,
    /// Where a directory is made that is removed in the end. A sled store is verified on a copy: then it needs room
    /// for the largest one. Without it: the system's directory for temporary files.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

impl StoppedArgs {
    /// Takes the directory's lock.
    ///
    /// # Errors
    /// [`StartError::Locked`]; [`StartError::Option`] if it is no data directory; [`StartError::Failed`].
    pub(super) fn lock(&self) -> Result<StoppedDir, StartError> {
        lock(&self.dir)
    }

    /// What to look at.
    pub(super) fn options(&self) -> LookOptions {
        LookOptions {
            group: self.group.map(GroupId),
            clock: Arc::new(SystemClock::new()),
            scratch: self.scratch.clone().unwrap_or_else(std::env::temp_dir),
        }
    }

    /// Whether the group that was asked for is there.
    ///
    /// # Errors
    /// [`StartError::Option`] if it is not.
    pub(super) fn check_group(&self) -> Result<(), StartError> {
        let Some(group) = self.group else { return Ok(()) };
        if self.dir.join("groups").join(group.to_string()).is_dir() {
            return Ok(());
        }
        let problem = format!("there is no group {group} in {}", self.dir.display());
        Err(StartError::Option { option: "--group", problem })
    }
}

/// Takes the lock of the data directory `dir`.
///
/// # Errors
/// [`StartError::Locked`]; [`StartError::Option`] if it is no data directory; [`StartError::Failed`].
pub(super) fn lock(dir: &Path) -> Result<StoppedDir, StartError> {
    StoppedDir::lock(Arc::new(RealDisk::new()), dir).map_err(|error| match error {
        Error::Locked { .. } => StartError::Locked { path: dir.to_path_buf() },
        Error::Missing { .. } => StartError::Option { option: "DIR", problem: no_data_dir(dir) },
        other => StartError::Failed { source: Arc::new(other) },
    })
}

fn no_data_dir(dir: &Path) -> String {
    let shown = dir.display();
    match first_node(dir) {
        None => format!("{shown} is no data directory: it has no node file"),
        Some(node) => {
            let node = node.display();
            format!("{shown} is no data directory: it has those of `quorate dev` in it, {node} the first")
        }
    }
}

/// The first directory of a node of `quorate dev` below `dir`.
fn first_node(dir: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dir).ok()?;
    let nodes =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.join("node").is_file());
    nodes.min()
}

/// Prints one JSON document.
///
/// # Errors
/// [`StartError::Io`], when the reader is gone.
pub(super) fn print_json(report: &impl Serialize) -> Result<(), StartError> {
    let json = serde_json::to_string_pretty(report)
        .unwrap_or_else(|error| unreachable!("a report has texts for keys: {error}"));
    print(format_args!("{json}\n"))
}
