//! The data directory of a node that does not run, as `inspect` and `verify` take it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use quorate::GroupId;
use quorate::backup::Backup;
use quorate::disk::{Disk, RealDisk};
use quorate::storage::Error;
use quorate::storage::offline::{LookOptions, StoppedDir, VerifyProgress, VerifyReport, verify_backup};
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
    /// Whether the directory is one of a backup.
    ///
    /// # Errors
    /// [`StartError::Failed`] if it cannot be looked at.
    pub(super) fn is_backup(&self) -> Result<bool, StartError> {
        let found = Backup::is_at(&RealDisk::new(), &self.dir);
        found.map_err(|source| StartError::Failed { source: Arc::new(source) })
    }

    /// Checks the backup in the directory.
    ///
    /// # Errors
    /// [`StartError::Option`] if the group that was asked for is not in it.
    pub(super) fn verify_backup(
        &self,
        progress: &mut dyn FnMut(&VerifyProgress),
    ) -> Result<VerifyReport, StartError> {
        let (disk, group): (Arc<dyn Disk>, _) = (Arc::new(RealDisk::new()), self.group.map(GroupId));
        // What is wrong with the manifest is a finding.
        let backup = group.and_then(|_| Backup::open(Arc::clone(&disk), &self.dir).ok());
        let is_missing =
            |group| backup.as_ref().is_some_and(|backup| backup.manifest().group(group).is_none());
        if group.is_some_and(is_missing) {
            return Err(self.no_group());
        }
        Ok(verify_backup(&disk, &self.dir, group, progress))
    }

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
        Err(self.no_group())
    }

    fn no_group(&self) -> StartError {
        let group = self.group.unwrap_or_default();
        let problem = format!("there is no group {group} in {}", self.dir.display());
        StartError::Option { option: "--group", problem }
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
