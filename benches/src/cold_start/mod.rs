//! `bench cold-start`: what the start of a group costs, by what it does. Every start is one of a process of its own,
//! with the page cache of its files dropped before.

mod child;
mod files;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use quorate::StoreKind;
use serde::Serialize;

use crate::{Error, machine};
pub(crate) use child::ChildOptions;
use child::{Mode, Told};

/// MiB written behind the snapshot before a process is killed.
const TAIL_MIB: u64 = 8;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Sizes of the state, in MiB.
    #[arg(long, value_delimiter = ',', default_value = "64,256,1024")]
    mib: Vec<u64>,
    /// State stores: lsm, sled.
    #[arg(long, value_delimiter = ',', default_value = "lsm,sled")]
    stores: Vec<StoreKind>,
    /// Starts of each kind.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where the node's directory is made, and removed afterwards; on the disk that is to be measured.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Also writes the report here.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// One size on one store. Times are medians in milliseconds; the range of all rounds is in `*_range_ms`.
#[derive(Serialize)]
struct Report {
    mib: u64,
    store: String,
    /// Bytes of the snapshot.
    snapshot_bytes: u64,
    /// The gate's work without the store's own opening, in each kind of start.
    full_restore_ms: f64,
    full_restore_range_ms: [f64; 2],
    skip_eager_ms: f64,
    skip_eager_range_ms: [f64; 2],
    skip_deferred_ms: f64,
    skip_deferred_range_ms: [f64; 2],
    /// The store's own opening after a clean stop.
    store_open_ms: f64,
    store_open_range_ms: [f64; 2],
    /// The same after `kill -9` under writes.
    store_open_killed_ms: f64,
    store_open_killed_range_ms: [f64; 2],
    /// From the first read of the group's files until its raft node is made, of a start that skips.
    total_deferred_ms: f64,
    bytes_read_deferred: u64,
    /// `dd bs=1M` of the snapshot.
    dd_ms: f64,
    dd_range_ms: [f64; 2],
    /// How fast the eager skip reads, as a part of how fast `dd` does; round by round.
    eager_speed_to_dd: f64,
    eager_speed_to_dd_range: [f64; 2],
    rounds: usize,
    filesystem: String,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let mut reports = Vec::new();
    for store in &options.stores {
        for &mib in &options.mib {
            reports.push(measure(options, *store, mib)?);
        }
    }
    let text = serde_json::to_string_pretty(&reports)?;
    if let Some(path) = &options.json {
        let what = "cannot write the report";
        machine::write_report(path, &text).map_err(|source| Error::Io { what, source })?;
    }
    #[expect(clippy::print_stdout, reason = "the report is what this tool is for")]
    {
        println!("{text}");
    }
    Ok(())
}

/// A process that is run, and what it must come to.
pub(crate) fn run_child(options: &ChildOptions) -> Result<(), Error> {
    child::run(options)
}

#[derive(Default)]
struct Rounds {
    restore: Vec<Told>,
    eager: Vec<Told>,
    deferred: Vec<Told>,
    killed: Vec<Told>,
    dd: Vec<f64>,
}

fn measure(options: &Options, store: StoreKind, mib: u64) -> Result<Report, Error> {
    let io = |what| move |source| Error::Io { what, source };
    let dir = tempfile::Builder::new().prefix("quorate-bench-").tempdir_in(&options.dir);
    let dir = dir.map_err(io("cannot make a directory"))?;
    let filesystem = machine::filesystem(dir.path()).map_err(io("cannot read the mounts"))?;
    let data = dir.path().join("node");
    let start = |mode| {
        files::drop_caches(dir.path()).map_err(io("cannot drop the page cache"))?;
        child::spawn(&ChildOptions { mode, data: data.clone(), store, mib })
    };
    start(Mode::Fill)?;
    let snapshot = files::newest_snapshot(&data).map_err(io("cannot find the snapshot"))?;
    let mut rounds = Rounds::default();
    let dd = || {
        files::drop_caches(dir.path()).map_err(io("cannot drop the page cache"))?;
        dd(&snapshot).map_err(io("cannot run dd"))
    };
    for round in 0..options.rounds {
        rounds.deferred.push(expect(start(Mode::Deferred)?, "skipped")?);
        // Side by side, and by turns first: what came before leaves the disk in another state.
        if round.is_multiple_of(2) {
            rounds.dd.push(dd()?);
            rounds.eager.push(expect(start(Mode::Eager)?, "skipped")?);
        } else {
            rounds.eager.push(expect(start(Mode::Eager)?, "skipped")?);
            rounds.dd.push(dd()?);
        }
    }
    for _ in 0..options.rounds {
        child::write_and_kill(&ChildOptions { mode: Mode::Tail, data: data.clone(), store, mib: TAIL_MIB })?;
        rounds.killed.push(start(Mode::Deferred)?);
    }
    for _ in 0..options.rounds {
        files::remove_state(&data).map_err(io("cannot remove the state"))?;
        rounds.restore.push(expect(start(Mode::Deferred)?, "fallback")?);
    }
    let snapshot_bytes = snapshot.metadata().map_err(io("cannot find the snapshot"))?.len();
    Ok(report((store, mib, snapshot_bytes), &rounds, filesystem))
}

fn expect(told: Told, outcome: &str) -> Result<Told, Error> {
    if told.outcome == outcome {
        return Ok(told);
    }
    Err(Error::Load(format!("a start was {}, not {outcome}", told.outcome)))
}

fn report(
    (store, mib, snapshot_bytes): (StoreKind, u64, u64),
    rounds: &Rounds,
    filesystem: String,
) -> Report {
    let of = |told: &[Told], time: fn(&Told) -> f64| summary(told.iter().map(time).collect());
    let (full_restore_ms, full_restore_range_ms) = of(&rounds.restore, |told| told.gate_ms);
    let (skip_eager_ms, skip_eager_range_ms) = of(&rounds.eager, |told| told.gate_ms);
    let (skip_deferred_ms, skip_deferred_range_ms) = of(&rounds.deferred, |told| told.gate_ms);
    let (store_open_ms, store_open_range_ms) = of(&rounds.deferred, |told| told.store_open_ms);
    let (store_open_killed_ms, store_open_killed_range_ms) = of(&rounds.killed, |told| told.store_open_ms);
    let (total_deferred_ms, _) = of(&rounds.deferred, |told| told.total_ms);
    let (dd_ms, dd_range_ms) = summary(rounds.dd.clone());
    let pairs = rounds.dd.iter().zip(&rounds.eager);
    let (eager_speed_to_dd, eager_speed_to_dd_range) =
        summary(pairs.map(|(dd, eager)| dd / eager.gate_ms).collect());
    Report {
        mib,
        store: store.to_string(),
        snapshot_bytes,
        full_restore_ms,
        full_restore_range_ms,
        skip_eager_ms,
        skip_eager_range_ms,
        skip_deferred_ms,
        skip_deferred_range_ms,
        store_open_ms,
        store_open_range_ms,
        store_open_killed_ms,
        store_open_killed_range_ms,
        total_deferred_ms,
        bytes_read_deferred: rounds.deferred.iter().map(|told| told.bytes_read).max().unwrap_or(0),
        dd_ms,
        dd_range_ms,
        eager_speed_to_dd,
        eager_speed_to_dd_range,
        rounds: rounds.deferred.len(),
        filesystem,
    }
}

/// Median, and the smallest and largest.
fn summary(mut values: Vec<f64>) -> (f64, [f64; 2]) {
    values.sort_by(f64::total_cmp);
    match values.as_slice() {
        [] => (f64::NAN, [f64::NAN; 2]),
        [first, .., last] => (values[values.len() / 2], [*first, *last]),
        [only] => (*only, [*only; 2]),
    }
}

/// Milliseconds that `dd bs=1M` takes to read `file`.
fn dd(file: &Path) -> std::io::Result<f64> {
    let started = Instant::now();
    let input = format!("if={}", file.display());
    let status =
        std::process::Command::new("dd").args([&input, "of=/dev/null", "bs=1M", "status=none"]).status()?;
    if !status.success() {
        return Err(std::io::Error::other("dd failed"));
    }
    Ok(millis(started.elapsed()))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
