//! `bench snapshot`: one large group publishes a snapshot and seeds a new replica with it, while the other groups take
//! writes at a fixed rate. What that does to their latency is the figure.

mod fill;
mod keys;
mod load;
mod report;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use quorate::{Config, Group, GroupId, Node, ReplicaId, StoreKind};
use quorate_telemetry::stats::GroupReport;

use self::load::{Load, Rate};
use self::report::{Phase, Report, Round, median_round};
use crate::cluster::Cluster;
use crate::{Error, machine};

/// The large group: the first of those beside group 0.
const LARGE: GroupId = GroupId(1);
/// Nodes: as many as a group has replicas, and the one that gets a new one.
const NODES: u64 = 4;
/// How often the state of a replica is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// By then the store has flushed what the large group was filled with (10 s after the last write) and merged it: 1 GiB took
/// until 22 s.
const SETTLE: Duration = Duration::from_secs(40);
/// After it a publish or an install has failed.
const PATIENCE: Duration = Duration::from_secs(600);
/// Snapshots are published when a follower needs one, never because of the log.
const LOG_BYTES_MIN: u64 = 1 << 40;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// MiB of the large group's state.
    #[arg(long, default_value_t = 1_024)]
    mib: u64,
    /// Groups beside group 0, the large one among them.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(2..))]
    groups: u16,
    /// State store: lsm, sled or memory.
    #[arg(long, default_value = "lsm")]
    store: StoreKind,
    /// Seconds of each quiet phase.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Rounds of quiet, publish, install, quiet; the large group is filled once.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Writes a second to the other groups, together.
    #[arg(long, default_value_t = 400)]
    rate: u32,
    /// Clients that write them; each has one write under way.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,
    /// Bytes of a value of the other groups, at least 16.
    #[arg(long, default_value_t = 128)]
    value_bytes: usize,
    /// Bytes of a value of the large group.
    #[arg(long, default_value_t = 4_096)]
    large_value_bytes: usize,
    /// Where the nodes' directories are made, and removed afterwards; on the disk that is to be measured.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Also writes the report here.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Seed of keys and values.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let io = |what| move |source| Error::Io { what, source };
    let dir = tempfile::Builder::new().prefix("quorate-bench-").tempdir_in(&options.dir);
    let dir = dir.map_err(io("cannot make a directory"))?;
    let fdatasync_per_s = machine::fdatasync_per_s(dir.path()).map_err(io("cannot probe the disk"))?;
    let filesystem = machine::filesystem(dir.path()).map_err(io("cannot read the mounts"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(io("cannot start the runtime"))?;
    let (fill_seconds, rounds) = runtime.block_on(async {
        let configure = |config: &mut Config| config.snapshots.log_bytes_min = LOG_BYTES_MIN;
        let cluster =
            Cluster::start_with(dir.path(), NODES, options.groups, options.store, &configure).await?;
        let outcome = measure(&cluster.nodes, options).await;
        cluster.stop().await?;
        outcome
    })?;
    let report = Report {
        mib: options.mib,
        groups: options.groups,
        store: options.store.to_string(),
        rate: options.rate,
        clients: options.clients,
        fill_seconds,
        median: median_round(&rounds),
        rounds,
        peak_rss_mib: machine::peak_rss_mib().map_err(io("cannot read the memory"))?,
        fdatasync_per_s,
        filesystem,
    };
    let text = serde_json::to_string_pretty(&report)?;
    if let Some(path) = &options.json {
        machine::write_report(path, &text).map_err(io("cannot write the report"))?;
    }
    #[expect(clippy::print_stdout, reason = "the report is what this tool is for")]
    {
        println!("{text}");
    }
    Ok(())
}

async fn measure(nodes: &[Node], options: &Options) -> Result<(f64, Vec<Round>), Error> {
    let began = Instant::now();
    fill::fill(&nodes[0], options.mib << 20, (options.large_value_bytes, options.seed)).await?;
    let fill_seconds = began.elapsed().as_secs_f64();
    let empty = nodes.iter().find(|node| !node.group(LARGE).has_replica());
    let empty = empty.ok_or(Error::Load("every node has a replica of the large group".to_owned()))?;
    let rate = Rate {
        per_second: options.rate,
        clients: options.clients,
        value_bytes: options.value_bytes,
        groups: options.groups,
        seed: options.seed,
    };
    tokio::time::sleep(SETTLE).await;
    let load = Load::start(nodes, rate);
    let mut rounds = Vec::new();
    for _ in 0..options.runs {
        rounds.push(round(nodes, empty, &load, options).await?);
    }
    load.stop().await;
    Ok((fill_seconds, rounds))
}

/// Quiet; a replica is added to the large group: it needs a snapshot that knows of it, so one is published, and
/// installed; quiet again.
async fn round(nodes: &[Node], empty: &Node, load: &Load, options: &Options) -> Result<Round, Error> {
    let (large, quiet) = (empty.group(LARGE), Duration::from_secs(options.seconds));
    // What stores and logs do behind the load of before is none of the quiet phase.
    tokio::time::sleep(quiet / 2).await;
    load.take();
    tokio::time::sleep(quiet).await;
    let quiet_before = load.take();
    let published_before = count(nodes, |report| report.snapshots_published);
    let replica = large.add_learner(empty.id()).await?;
    let here = std::slice::from_ref(empty);
    let received_before = count(here, |report| report.snapshot_received_bytes);
    let installed_before = count(here, |report| report.snapshots_installed);
    until(|| count(nodes, |report| report.snapshots_published) > published_before).await?;
    let publish = load.take();
    let received = || count(here, |report| report.snapshot_received_bytes) - received_before;
    // The file has the values, and a little more.
    until(|| received() >= options.mib << 20).await?;
    let transfer = load.take();
    until(|| count(here, |report| report.snapshots_installed) > installed_before).await?;
    let restore = load.take();
    let bytes = received();
    tokio::time::sleep(quiet).await;
    let quiet_after = load.take();
    remove(&large, replica).await?;
    Ok(Round::of([
        Phase::of("quiet", &quiet_before, 0),
        Phase::of("publish", &publish, bytes),
        Phase::of("transfer", &transfer, bytes),
        Phase::of("restore", &restore, bytes),
        Phase::of("install", &transfer.with(&restore), bytes),
        Phase::of("quiet_again", &quiet_after, 0),
    ]))
}

/// What the replicas of the large group on `nodes` have counted.
fn count(nodes: &[Node], what: impl Fn(&GroupReport) -> u64) -> u64 {
    nodes.iter().filter_map(|node| node.group(LARGE).local_report()).map(|report| what(&report)).sum()
}

/// Takes the new replica out again, with its directory.
async fn remove(large: &Group, replica: ReplicaId) -> Result<(), Error> {
    large.remove(replica).await?;
    until(|| !large.has_replica()).await
}

async fn until(condition: impl Fn() -> bool) -> Result<(), Error> {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() > end {
            return Err(Error::Load("a snapshot was neither published nor installed in time".to_owned()));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}
