//! `quorate backup`: a backup of a running cluster.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use quorate::backup::Backup;
use quorate::disk::RealDisk;
use quorate_telemetry::Clock;
use quorate_telemetry::clock::SystemClock;
use serde_json::json;

use super::admin::Target;
use super::print;
use super::progress::Progress;
use super::stopped::print_json;
use crate::backup::{BackupError, TakeOptions, take};
use crate::config::TimeSpan;
use crate::engine::start_error;
use crate::exit::StartError;

/// Options of `quorate backup`.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    #[command(flatten)]
    target: Target,
    /// The directory to be made. It must not be there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How long to wait, for example for a leader, while nothing at all arrives.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    patience: TimeSpan,
}

impl BackupArgs {
    /// Takes the backup and says what is in it.
    pub(super) fn run(self) -> Result<(), StartError> {
        let client = self.target.client()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let mut progress = Progress::new(Arc::clone(&clock), "backed up");
        let options = TakeOptions { dir: self.out.clone(), patience: self.patience.0 };
        let taken = take(&client, &options, &clock, &mut |now| {
            progress.tell(now.bytes, None, &|| format!("{} of {} groups", now.groups, now.groups_total));
        });
        progress.finish();
        let manifest = taken.map_err(failed)?;
        let hash = Backup::open(Arc::new(RealDisk::new()), &self.out);
        let hash = hash.map_err(|error| start_error(error.into()))?.hash().to_string();
        let (path, groups, bytes) = (self.out.display(), manifest.groups.len(), manifest.bytes());
        if self.target.json {
            return print_json(&json!({
                "path": path.to_string(),
                "cluster": manifest.cluster.to_string(),
                "cluster_name": manifest.cluster_name,
                "begun_ms": manifest.begun_ms,
                "ended_ms": manifest.ended_ms,
                "groups": groups,
                "bytes": bytes,
                "records": manifest.groups.iter().map(|group| group.records).sum::<u64>(),
                "manifest_sha256": hash,
            }));
        }
        print(format_args!("{path}: {groups} groups, {bytes} bytes; SHA-256 of the manifest {hash}\n"))
    }
}

fn failed(error: BackupError) -> StartError {
    match error {
        BackupError::Engine(error) => start_error(error),
        other => StartError::Failed { source: Arc::new(other) },
    }
}
