//! What cases begin with: three disks with a small history on them, and a model of what they hold.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use quorate::{Node, Op};
use quorate_storage::disk::{CrashMode, SimDisk};
use quorate_transport::net::MemoryNetwork;

use super::Error;
use super::cluster::{GROUPS, NODES, node_id, open, simulate};

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
const UNPROVEN: Duration = Duration::from_millis(4);
/// Entries after which a snapshot is published.
const SNAPSHOT_ENTRIES: u64 = 5;
const _: () =
    assert!(((LAST_WAVES * LAST_WAVE_OPS) as u64) < SNAPSHOT_ENTRIES, "they stay above the snapshot");

/// For a group to come up.
const READY: Duration = Duration::from_secs(30);
/// Decides everything.
const SEED: u64 = 20;

/// How the nodes of an image ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Stopped cleanly: checkpointed, proven, closed.
    Clean,
    /// All three lost power at once, within the time of the last proof.
    PowerCut,
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
    /// Both.
    pub const ALL: [Self; 2] = [Self::Clean, Self::PowerCut];

    /// Its name in the name of a case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::PowerCut => "cut",
        }
    }
}

/// The images of one history, one for each [`End`].
///
/// # Errors
/// The history could not be written.
pub fn images() -> Result<Vec<Image>, Error> {
    simulate(write_history())
}

async fn write_history() -> Result<Vec<Image>, Error> {
    let network = MemoryNetwork::new();
    let disks: [SimDisk; NODES] = std::array::from_fn(|_| SimDisk::new());
    let mut nodes = Vec::new();
    for (at, disk) in disks.iter().enumerate() {
        nodes.push(open(at, disk, &network, SEED, Some(SNAPSHOT_ENTRIES)).await?);
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
        write_wave(&nodes[0], wave, &mut model).await?;
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

async fn write_wave(node: &Node, wave: usize, model: &mut Model) -> Result<(), Error> {
    let mut ops = Vec::new();
    // The last ones together are too small to be followed by a snapshot.
    let count = if wave >= WAVES - LAST_WAVES { LAST_WAVE_OPS } else { WAVE_OPS };
    for at in 0..count {
        let number = wave * WAVE_OPS + at;
        let key = Bytes::from(format!("key-{}", number % KEYS));
        if number % 7 == 6 {
            ops.push(Op::Delete(key.clone()));
            model.insert(key, None);
        } else {
            let value = Bytes::from(format!("{number:.<40}"));
            ops.push(Op::Put(key.clone(), value.clone()));
            model.insert(key, Some(value));
        }
    }
    // An entry each, and all of them in one batch of the log.
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
