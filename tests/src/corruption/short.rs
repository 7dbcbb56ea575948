//! Histories so short that a replica's files have about 32 KiB together: every place of them can be tried. Of each file
//! there is what a log must keep: all behind the older one of two snapshots, and a few writes more.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use quorate::{GroupId, Node, NodeId, Op};
use quorate_storage::disk::{CrashMode, Disk as _, SimDisk};
use quorate_transport::net::MemoryNetwork;

use super::Error;
use super::cluster::{DATA, GROUPS, NODES, Setup, node_id, open, simulate};
use super::image::{End, Image, Model, READY, UNPROVEN, forks, write_wave};

/// What was ever written of all files of one replica together has at most so many bytes.
pub const REPLICA_BYTES_MAX: u64 = 32 << 10;

/// Chosen so that a file ends where the older snapshot is recorded, and all before it goes.
const SETUP: Setup = Setup::with_segments(36 << 10, 16 << 10);
/// One of those under which no replica's log takes a page more.
const SEED: u64 = 22;
/// For one snapshot.
const PUBLISHES: Duration = Duration::from_secs(5);

/// One image of each kind.
///
/// # Errors
/// A history could not be written, or is not that short.
pub fn images() -> Result<Vec<Image>, Error> {
    [End::ShortClean, End::ShortPowerCut].into_iter().map(|end| simulate(write_history(end))).collect()
}

async fn write_history(end: End) -> Result<Image, Error> {
    let network = MemoryNetwork::new();
    let disks: [SimDisk; NODES] = std::array::from_fn(|_| SimDisk::new());
    let nodes = begin(&disks, &network).await?;
    let mut model = Model::new();
    let put = |key: &'static str, value: &'static str| Op::Put(Bytes::from(key), Bytes::from(value));
    write_wave(&nodes[0], &[put("a", "1"), put("b", "2"), put("c", "3")], &mut model).await?;
    publish(&nodes).await?;
    let older = forks(&disks);
    write_wave(&nodes[0], &[put("b", "4"), Op::Delete(Bytes::from("c"))], &mut model).await?;
    // A lease is an entry, of the catalog's group too.
    nodes[0].group(GROUPS[0]).timestamp().await?;
    publish(&nodes).await?;
    write_wave(&nodes[0], &[put("a", "5"), put("d", "6")], &mut model).await?;
    tokio::time::sleep(UNPROVEN).await;
    check_published(&nodes)?;
    let cut = forks(&disks);
    for stopped in join_all(nodes.iter().map(Node::shutdown_together)).await {
        stopped?;
    }
    let disks = if end.is_power_cut() {
        let crashed = forks(&cut).map(|disk| disk.crash(CrashMode::LoseUnsynced));
        for (disk, before) in crashed.iter().zip(&cut) {
            remove_others(disk, before)?;
        }
        crashed
    } else {
        disks
    };
    let image = Image { end, disks, older, model };
    check_sizes(&image)?;
    Ok(image)
}

/// Files that had been removed, and whose removal was not synced, do not come back: the log's would make the replica long.
fn remove_others(disk: &SimDisk, before: &SimDisk) -> Result<(), Error> {
    let kept: BTreeSet<PathBuf> = before.files().into_iter().map(|(path, _)| path).collect();
    for (path, _) in disk.files().into_iter().filter(|(path, _)| !kept.contains(path)) {
        disk.remove_file(&path)?;
    }
    Ok(())
}

/// Three nodes whose stores know the beginning only as a snapshot: what applies it entry by entry has a long file.
async fn begin(disks: &[SimDisk; NODES], network: &MemoryNetwork) -> Result<Vec<Node>, Error> {
    let mut nodes = Vec::new();
    for (at, disk) in disks.iter().enumerate() {
        nodes.push(open(at, disk, network, SEED, SETUP).await?);
    }
    ready(&nodes).await?;
    for (at, disk) in disks.iter().enumerate() {
        nodes[at].shutdown().await?;
        for group in GROUPS {
            disk.remove_dir_all(&Path::new(DATA).join("groups").join(group.to_string()).join("state"))?;
        }
        nodes[at] = open(at, disk, network, SEED + 1 + at as u64, SETUP).await?;
        ready(&nodes).await?;
    }
    Ok(nodes)
}

async fn ready(nodes: &[Node]) -> Result<(), Error> {
    for node in nodes {
        node.ready(READY).await?;
    }
    Ok(())
}

fn check_published(nodes: &[Node]) -> Result<(), Error> {
    for (at, node) in nodes.iter().enumerate() {
        for group in GROUPS {
            let report = node.group(group).local_report();
            if report.is_none_or(|report| report.snapshots_published < 2) {
                return Err(Error::History { node: node_id(at), group });
            }
        }
    }
    Ok(())
}

/// On every node, of both groups, once all have applied the same.
async fn publish(nodes: &[Node]) -> Result<(), Error> {
    tokio::time::sleep(UNPROVEN).await;
    for node in nodes {
        for group in GROUPS {
            node.group(group).publish_snapshot(PUBLISHES).await?;
        }
    }
    Ok(())
}

fn check_sizes(image: &Image) -> Result<(), Error> {
    match replica_bytes(image).into_iter().find(|(.., bytes)| *bytes > REPLICA_BYTES_MAX) {
        Some((node, group, bytes)) => Err(Error::TooLong { node, group, bytes }),
        None => Ok(()),
    }
}

/// What was ever written of the files of each replica.
pub fn replica_bytes(image: &Image) -> Vec<(NodeId, GroupId, u64)> {
    let of = |at: usize, group: GroupId| {
        let (disk, dir) = (&image.disks[at], Path::new(DATA).join("groups").join(group.to_string()));
        let files = disk.files().into_iter().filter(|(path, _)| path.starts_with(&dir));
        let parts = files.flat_map(|(path, _)| disk.written(&path).unwrap_or_default());
        (node_id(at), group, parts.map(|part| part.end - part.start).sum())
    };
    (0..NODES).flat_map(|at| GROUPS.map(|group| of(at, group))).collect()
}
