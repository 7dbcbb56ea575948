//! The processes that are started, and what they tell on their standard output.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use quorate::storage::cold_start::{ColdStartObserver, ColdStartReport, VerifyMode};
use quorate::{Config, GroupId, Node, Seams, StoreKind, WriteBatch};
use quorate_telemetry::Rng as _;
use quorate_telemetry::rng::SeededRng;
use serde::{Deserialize, Serialize};

use super::millis;
use crate::Error;

/// The group that is measured.
const GROUP: GroupId = GroupId(1);
/// Bytes of a value.
const VALUE_BYTES: usize = 4 << 10;
/// Values written as one entry.
const BATCH_VALUES: u64 = 128;
/// Entries under way.
const WRITES_MAX: usize = 8;
/// For anything that takes as long as the state is large.
const LONG: Duration = Duration::from_secs(600);

/// What a process does with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// Makes it, writes so many MiB, publishes a snapshot, and stops it.
    Fill,
    /// Starts it, and stops it.
    Deferred,
    /// Starts it with eager verification, and stops it.
    Eager,
    /// Starts it, writes so many MiB, says so, and goes on writing.
    Tail,
}

#[derive(clap::Args)]
pub(crate) struct ChildOptions {
    /// What to do.
    #[arg(long)]
    pub(crate) mode: Mode,
    /// The node's directory.
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// State store.
    #[arg(long)]
    pub(crate) store: StoreKind,
    /// MiB to write.
    #[arg(long)]
    pub(crate) mib: u64,
}

/// What is told of the start of the group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) outcome: String,
    pub(crate) gate_ms: f64,
    pub(crate) store_open_ms: f64,
    pub(crate) total_ms: f64,
    pub(crate) bytes_read: u64,
}

#[derive(Debug, Default)]
struct Heard(Mutex<Option<Told>>);

impl ColdStartObserver for Heard {
    fn started(&self, group: GroupId, report: &ColdStartReport) {
        if group != GROUP {
            return;
        }
        *self.0.lock() = Some(Told {
            outcome: report.decision.outcome.as_str().to_owned(),
            gate_ms: millis(report.restore),
            store_open_ms: millis(report.store_open),
            total_ms: millis(report.total),
            bytes_read: report.bytes_read,
        });
    }
}

/// The process itself.
pub(super) fn run(options: &ChildOptions) -> Result<(), Error> {
    let io = |what| move |source| Error::Io { what, source };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(io("cannot start the runtime"))?;
    runtime.block_on(async {
        let heard = Arc::new(Heard::default());
        let node = open(options, Arc::clone(&heard)).await?;
        let told =
            heard.0.lock().take().ok_or_else(|| Error::Load("the group was not started".to_owned()))?;
        match options.mode {
            Mode::Fill => {
                write(&node, options.mib, 1).await?;
                node.group(GROUP).publish_snapshot(LONG).await?;
            }
            Mode::Deferred | Mode::Eager => {}
            Mode::Tail => {
                write(&node, options.mib, 2).await?;
                tell(&told).map_err(io("cannot tell"))?;
                loop {
                    write(&node, options.mib, 2).await?;
                }
            }
        }
        node.shutdown().await?;
        tell(&told).map_err(io("cannot tell"))
    })
}

async fn open(options: &ChildOptions, heard: Arc<Heard>) -> Result<Node, Error> {
    let mut config = Config::new(&options.data);
    config.store = options.store;
    // The one snapshot is published when everything has been written, as fast as the disk takes it.
    config.snapshots.log_bytes_min = 1 << 40;
    config.snapshots.bytes_per_second = 16 << 30;
    config.deadline = LONG;
    config.cold_start.observer = Some(heard);
    if options.mode == Mode::Eager {
        config.cold_start.verify = VerifyMode::Eager;
    }
    let seams = Seams::production(&config)?;
    let node = quorate::open_with_seams(config, seams).await?;
    node.ready(LONG).await?;
    Ok(node)
}

/// Writes `mib` MiB of random values under keys of their own.
async fn write(node: &Node, mib: u64, seed: u64) -> Result<(), Error> {
    let values = (mib << 20) / VALUE_BYTES as u64;
    let rng = SeededRng::new(seed);
    let mut under_way = tokio::task::JoinSet::new();
    let mut at = 0;
    while at < values {
        let mut batch = WriteBatch::new();
        for _ in 0..BATCH_VALUES.min(values - at) {
            let key = Bytes::copy_from_slice(&(at.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ seed).to_be_bytes());
            let value: Vec<u8> = (0..VALUE_BYTES / 8).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
            batch = batch.put(key, value);
            at += 1;
        }
        if under_way.len() >= WRITES_MAX
            && let Some(written) = under_way.join_next().await
        {
            written.expect("a write does not panic")?;
        }
        let node = node.clone();
        under_way.spawn(async move { node.write(batch).await.map(drop) });
    }
    while let Some(written) = under_way.join_next().await {
        written.expect("a write does not panic")?;
    }
    Ok(())
}

fn tell(told: &Told) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{}", serde_json::to_string(told)?)?;
    out.flush()
}

fn begin(options: &ChildOptions) -> Result<Child, Error> {
    let failed = |source| Error::Io { what: "cannot start a process", source };
    let mode = clap::ValueEnum::to_possible_value(&options.mode).expect("every mode has a name");
    Command::new(std::env::current_exe().map_err(failed)?)
        .args(["cold-start-child", "--mode", mode.get_name(), "--store", options.store.name()])
        .args(["--mib", &options.mib.to_string(), "--data"])
        .arg(&options.data)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)
}

fn read(child: &mut Child) -> Result<Told, Error> {
    let failed = |source| Error::Io { what: "cannot hear a process", source };
    let out = child.stdout.take().expect("it is piped");
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line).map_err(failed)?;
    Ok(serde_json::from_str(&line)?)
}

/// Runs a process to its end.
pub(super) fn spawn(options: &ChildOptions) -> Result<Told, Error> {
    let mut child = begin(options)?;
    let told = read(&mut child);
    let failed = |source| Error::Io { what: "cannot await a process", source };
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        return Err(Error::Load(format!("a process ended with {status}")));
    }
    told
}

/// Runs a process that writes, and kills it while it does.
pub(super) fn write_and_kill(options: &ChildOptions) -> Result<(), Error> {
    let mut child = begin(options)?;
    let told = read(&mut child);
    let failed = |source| Error::Io { what: "cannot kill a process", source };
    child.kill().map_err(failed)?;
    child.wait().map_err(failed)?;
    told.map(drop)
}
