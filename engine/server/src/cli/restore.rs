//! `quorate restore`: the data directory of a new cluster's node, out of a backup.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use quorate::backup::{Backup, restore};
use quorate::disk::{Disk, RealDisk};
use quorate_telemetry::Rng;
use quorate_telemetry::clock::SystemClock;
use quorate_telemetry::rng::SystemRng;
use serde_json::json;

use super::node::ConfigArgs;
use super::print;
use super::progress::Progress;
use super::stopped::print_json;
use crate::engine::start_error;
use crate::exit::StartError;

/// Options of `quorate restore`.
#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The directory of the backup.
    backup: PathBuf,
    #[command(flatten)]
    config: ConfigArgs,
    /// Prints JSON, for scripts.
    #[arg(long)]
    json: bool,
}

/// The backup has another number of groups than the node would be started with.
#[derive(Debug, thiserror::Error)]
#[error("the backup has {found} groups: set bootstrap.groups = {found}, not {asked}")]
struct OtherGroups {
    found: usize,
    asked: usize,
}

impl RestoreArgs {
    /// Makes the directory and says what is in it.
    pub(super) fn run(self) -> Result<(), StartError> {
        let settings = self.config.load()?.settings;
        let config = settings.engine();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
        let rng: Arc<dyn Rng> = Arc::new(SystemRng::new());
        if !Backup::is_at(&*disk, &self.backup).map_err(|error| start_error(error.into()))? {
            let problem = format!("{} is no backup: it has no manifest", self.backup.display());
            return Err(StartError::Option { option: "BACKUP", problem });
        }
        let backup = Backup::open(Arc::clone(&disk), &self.backup);
        let backup = backup.map_err(|error| start_error(error.into()))?;
        let (found, asked) = (backup.manifest().groups.len() - 1, config.bootstrap.ranges.len());
        if found != asked {
            return Err(StartError::Config { source: Arc::new(OtherGroups { found, asked }) });
        }
        let mut progress = Progress::new(Arc::new(SystemClock::new()), "restored");
        let restored = restore((&disk, &rng), &backup, &config, &mut |now| {
            progress.tell(now.bytes, Some(now.bytes_total), &String::new);
        });
        progress.finish();
        let restored = restored.map_err(start_error)?;
        let (path, groups) = (config.data_dir.display(), restored.groups.len());
        let (cluster, node, bytes) = (&settings.cluster, restored.node, restored.bytes);
        if self.json {
            return print_json(&json!({
                "path": path.to_string(),
                "cluster": cluster,
                "cluster_id": restored.cluster.to_string(),
                "node": node.get(),
                "groups": restored.groups.iter().map(|group| group.get()).collect::<Vec<_>>(),
                "bytes": bytes,
                "manifest_sha256": backup.hash().to_string(),
            }));
        }
        print(format_args!(
            "{path}: node {node} of cluster {cluster:?}, {groups} groups, {bytes} bytes\n\
             start it once every node of the cluster is restored from this backup\n"
        ))
    }
}
