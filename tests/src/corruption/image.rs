//! What cases begin with: three disks with a small history on them, and a model of what they hold.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use quorate::{Node, Op};
use quorate_storage::disk::{CrashMode, SimDisk};
use quorate_transport::net::MemoryNetwork;

use super::cluster::{GROUPS, NODES, Setup, node_id, open, simulate};
use super::{Error, short};

/// Keys that the history writes, overwrites and removes.
const KEYS: usize = 8;
/// Writes, one wave after the other.
const WAVES: usize = 5;
/// Operations of a wave.
const WAVE_OPS: usize = 5;
/// Waves after the newest snapshot.
const LAST_WAVES: usize = 2;
/// Operations of each of these.
const LAST_WAVE_OPS: usize = 2;
/// The wave after which the older versions of files are taken.
const OLDER_AT: usize = 2;
/// Between two waves: long enough for a proof of the tail, and for followers to hear what is committed.
const BETWEEN_WAVES: Duration = Duration::from_millis(150);
/// For what goes on behind the last answer: snapshots, compaction, proofs.
const SETTLES: Duration = Duration::from_secs(3);
/// After the last write and before the power goes: the followers have it too, but nothing is proven.
pub(super) const UNPROVEN: Duration = Duration::from_millis(4);
/// Entries after which a snapshot is published.
const SNAPSHOT_ENTRIES: u64 = 5;
const _: () =
    assert!(((LAST_WAVES * LAST_WAVE_OPS) as u64) < SNAPSHOT_ENTRIES, "they stay above the snapshot");

const SETUP: Setup =
    Setup { snapshot_entries: Some(SNAPSHOT_ENTRIES), ..Setup::with_segments(16 << 10, 12 << 10) };
/// For a group to come up.
pub(super) const READY: Duration = Duration::from_secs(30);
/// Decides everything.
pub(super) const SEED: u64 = 20;

/// How the nodes of an image ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Stopped cleanly: checkpointed, proven, closed.
    Clean,
    /// All three lost power at once, within the time of the last proof.
    PowerCut,
    /// [`End::Clean`], of a history so short that all of it can be tried.
    ShortClean,
    /// [`End::PowerCut`], of such a history.
    ShortPowerCut,
}

/// Acknowledged keys; `None` for one that was removed.
pub type Model = BTreeMap<Bytes, Option<Bytes>>;

/// Three disks at rest.
#[derive(Clone, Debug)]
pub struct Image {
    /// How the nodes ended.
    pub end: End,
    /// The disk of each node.
    pub disks: [SimDisk; NODES],
    /// The same disks earlier in the same history.
    pub older: [SimDisk; NODES],
    /// What every reader must find.
    pub model: Model,
}

impl End {
    /// All.
    pub const ALL: [Self; 4] = [Self::Clean, Self::PowerCut, Self::ShortClean, Self::ShortPowerCut];

    /// Whether the power went.
    pub const fn is_power_cut(self) -> bool {
        matches!(self, Self::PowerCut | Self::ShortPowerCut)
    }

    /// Whether it is of a history that is tried whole.
    pub const fn is_short(self) -> bool {
        matches!(self, Self::ShortClean | Self::ShortPowerCut)
    }

    /// Its name in the name of a case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::PowerCut => "cut",
            Self::ShortClean => "short-clean",
            Self::ShortPowerCut => "short-cut",
        }
    }
}

/// The images of all histories, one for each [`End`].
///
/// # Errors
/// A history could not be written.
pub fn images() -> Result<Vec<Image>, Error> {
    let mut images = simulate(write_history())?;
    images.extend(short::images()?);
    Ok(images)
}

async fn write_history() -> Result<Vec<Image>, Error> {
    let network = MemoryNetwork::new();
    let disks: [SimDisk; NODES] = std::array::from_fn(|_| SimDisk::new());
    let mut nodes = Vec::new();
    for (at, disk) in disks.iter().enumerate() {
        nodes.push(open(at, disk, &network, SEED, SETUP).await?);
    }
    for node in &nodes {
        node.ready(READY).await?;
    }
    let mut model = Model::new();
    let mut older = None;
    for wave in 0..WAVES {
        if wave == OLDER_AT {
            older = Some(forks(&disks));
        }
        if wave >= WAVES - LAST_WAVES {
            // The last ones are written on their own: above the newest snapshot, and the last is unproven when the
            // power goes.
            tokio::time::sleep(SETTLES).await;
        }
        write_wave(&nodes[0], &wave_ops(wave), &mut model).await?;
        if wave < WAVES - 1 {
            tokio::time::sleep(BETWEEN_WAVES).await;
        }
    }
    tokio::time::sleep(UNPROVEN).await;
    let cut = forks(&disks).map(|disk| disk.crash(CrashMode::LoseUnsynced));
    tokio::time::sleep(SETTLES).await;
    check_history(&nodes)?;
    for node in &nodes {
        node.shutdown_together().await?;
    }
    let older = older.expect("a wave of that number was written");
    let image = |end, disks| Image { end, disks, older: older.clone(), model: model.clone() };
    Ok(vec![image(End::Clean, forks(&disks)), image(End::PowerCut, cut)])
}

/// Independent copies.
pub fn forks(disks: &[SimDisk; NODES]) -> [SimDisk; NODES] {
    std::array::from_fn(|at| disks[at].fork())
}

fn wave_ops(wave: usize) -> Vec<Op> {
    // The last ones together are too small to be followed by a snapshot.
    let count = if wave >= WAVES - LAST_WAVES { LAST_WAVE_OPS } else { WAVE_OPS };
    let op = |number: usize| {
        let key = Bytes::from(format!("key-{}", number % KEYS));
        if number % 7 == 6 { Op::Delete(key) } else { Op::Put(key, Bytes::from(format!("{number:.<40}"))) }
    };
    (0..count).map(|at| op(wave * WAVE_OPS + at)).collect()
}

/// Writes `ops`: an entry each, and all of them in one batch of the log.
pub(super) async fn write_wave(node: &Node, ops: &[Op], model: &mut Model) -> Result<(), Error> {
    for op in ops {
        match op {
            Op::Put(key, value) => drop(model.insert(key.clone(), Some(value.clone()))),
            other => drop(model.insert(other.key().clone(), None)),
        }
    }
    let entries = ops.chunks(1).map(|op| node.write_each(op));
    for outcome in join_all(entries).await.into_iter().flatten() {
        outcome?;
    }
    Ok(())
}

/// The history must have what is to be damaged: snapshots, several log files, and all of it on every node.
fn check_history(nodes: &[Node]) -> Result<(), Error> {
    for (at, node) in nodes.iter().enumerate() {
        for group in GROUPS {
            let report =
                node.group(group).local_report().ok_or(Error::History { node: node_id(at), group })?;
            if report.snapshots_published == 0 || report.applied != report.last {
                return Err(Error::History { node: node_id(at), group });
            }
        }
    }
    Ok(())
}
