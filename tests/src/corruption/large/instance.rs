//! Three data directories with a history on them, as real files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate::{Node, Op, StoreKind};
use quorate_transport::net::MemoryNetwork;
use tempfile::TempDir;
use tokio::time::Instant;

use super::history::History;
use super::{Error, files, node};
use crate::corruption::cluster::{GROUPS, NODES, node_id};
use crate::corruption::image::Model;

/// Live values are this part of what a replica's files are to have together: there are two snapshots, a log and a store.
const LIVE_PERCENT: u64 = 27;
/// Operations that are written at one time.
const CHUNK_OPS: usize = 256;
/// For a cluster to come up, or for all replicas to have the same.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// What an instance is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its store.
    pub store: StoreKind,
    /// About how large one replica's files are together.
    pub bytes: u64,
    /// Decides what is written.
    pub seed: u64,
}

/// The directories: `kept/0` to `kept/2`, as they were when the three nodes were stopped, and `live/LAB/0` to
/// `live/LAB/2`, in which they run.
#[derive(Debug)]
pub struct Instance {
    pub(super) settings: Settings,
    pub(super) model: Model,
    /// Every file of the node that is damaged, with its size.
    pub(super) files: Vec<(PathBuf, u64)>,
    root: PathBuf,
    temporary: Option<TempDir>,
}

impl Instance {
    /// Writes one, or takes the one that an earlier call with the same settings left in `root`. Without `root`, in a
    /// temporary directory.
    ///
    /// # Errors
    /// The history could not be written.
    pub fn prepare(settings: Settings, root: Option<&Path>) -> Result<Self, Error> {
        let temporary = root.is_none().then(TempDir::new).transpose()?;
        let root = root.or(temporary.as_ref().map(TempDir::path)).expect("one of the two").to_path_buf();
        fs::create_dir_all(root.join("scratch"))?;
        let history = History::new(settings.bytes * LIVE_PERCENT / 100, settings.seed);
        let mut this = Self { settings, model: history.model.clone(), files: Vec::new(), root, temporary };
        let told = this.root.join("settings");
        let settings = format!("{settings:?}\n");
        match fs::read_to_string(&told) {
            Ok(found) if found == settings => {}
            Ok(found) => return Err(Error::Other { found }),
            Err(_) => {
                super::on_runtime(0, this.write(history))?;
                fs::write(told, settings)?;
            }
        }
        this.files = files::below(&this.kept(DAMAGED))?;
        Ok(this)
    }

    /// The directory of node `at`, as it was when all were stopped.
    pub(super) fn kept(&self, at: usize) -> PathBuf {
        self.root.join("kept").join(at.to_string())
    }

    /// The directory in which node `at` of lab `number` runs.
    pub(super) fn live(&self, number: usize, at: usize) -> PathBuf {
        self.root.join("live").join(number.to_string()).join(at.to_string())
    }

    /// Where its directories are, if they stay.
    pub fn keep(&mut self) -> &Path {
        self.temporary.take().map(TempDir::keep);
        &self.root
    }

    /// An empty directory beside them.
    pub(super) fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }

    /// Names the case that lab `number` tries, in a file: should the process not survive it.
    pub(super) fn note_case(&self, number: usize, name: &str) -> Result<(), Error> {
        Ok(fs::write(self.root.join(format!("running-{number}")), name)?)
    }

    async fn write(&self, history: History) -> Result<(), Error> {
        let network = MemoryNetwork::new();
        let mut nodes = Vec::new();
        for at in 0..NODES {
            let dir = self.live(0, at);
            fs::create_dir_all(&dir)?;
            nodes.push(node::open((self.settings.store, &network), 0, (at, &dir), self.settings.seed).await?);
        }
        for node in &nodes {
            node.ready(PATIENCE).await?;
        }
        let [first, second, last] = history.waves;
        for wave in [first, second] {
            write_wave(&nodes[0], &wave).await?;
            equal(&nodes).await?;
            for node in &nodes {
                for group in GROUPS {
                    node.group(group).publish_snapshot(PATIENCE).await?;
                }
            }
        }
        write_wave(&nodes[0], &last).await?;
        equal(&nodes).await?;
        for node in &nodes {
            node.shutdown_together().await?;
        }
        fs::rename(self.root.join("live").join("0"), self.root.join("kept"))?;
        Ok(())
    }
}

/// The node that is damaged. The others run all the time.
pub(super) const DAMAGED: usize = NODES - 1;

async fn write_wave(node: &Node, ops: &[Op]) -> Result<(), Error> {
    for chunk in ops.chunks(CHUNK_OPS) {
        for outcome in node.write_each(chunk).await {
            outcome?;
        }
    }
    Ok(())
}

/// Waits until all replicas have applied the same.
async fn equal(nodes: &[Node]) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    for group in GROUPS {
        loop {
            let statuses: Vec<_> = nodes.iter().filter_map(|node| node.group(group).local_status()).collect();
            let last = statuses.iter().map(|status| status.last).max();
            if statuses.len() == nodes.len() && statuses.iter().all(|status| Some(status.applied) == last) {
                break;
            }
            if Instant::now() > deadline {
                return Err(Error::Behind { node: node_id(0), group });
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(())
}
