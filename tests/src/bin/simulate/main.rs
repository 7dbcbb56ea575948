//! Runs simulations, by seed or by schedule.

mod record;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use quorate_tests::full_stack;
use quorate_tests::protocol::{self, Failed, Plan, Schedule, Summary};

use self::record::Run;

/// As in the server; a simulation does little but allocate.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "simulate", about = "Runs seeds of a simulation and says which failed")]
struct Cli {
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first_seed: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// Simulated seconds under faults.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Seeds at a time.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The whole node instead of the protocol alone.
    #[arg(long)]
    full_stack: bool,
    /// Runs the schedule in this file (JSON) instead of seeds.
    #[arg(long)]
    schedule: Option<PathBuf>,
    /// Makes the schedule of a seed that fails smaller, and prints that.
    #[arg(long)]
    shrink: bool,
    /// Adds what the seeds came to to the record in this file (JSON).
    #[arg(long)]
    record: Option<PathBuf>,
    /// Prints what the nodes log: a level, or directives such as "info,quorate_shard=debug".
    #[arg(long)]
    log: Option<String>,
}

/// Why there is nothing to report.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} holds no schedule: {source}")]
    Parse { path: PathBuf, source: serde_json::Error },
    #[error("cannot add to the record {path}: {source}")]
    Record { path: PathBuf, source: std::io::Error },
}

#[expect(clippy::print_stderr, reason = "a command line tool tells its user")]
fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(directives) = &cli.log {
        // The wall clock says nothing of a simulation.
        tracing_subscriber::fmt()
            .with_env_filter(directives)
            .with_writer(std::io::stderr)
            .without_time()
            .init();
    }
    let outcome = match &cli.schedule {
        _ if cli.full_stack => full_stack(&cli),
        Some(path) => read(path).map(|schedule| replay(&schedule, cli.shrink)),
        None => seeds(&cli),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("simulate: {error}");
        ExitCode::FAILURE
    })
}

fn read<T: serde::de::DeserializeOwned>(path: &PathBuf) -> Result<T, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.clone(), source })?;
    serde_json::from_str(&text).map_err(|source| Error::Parse { path: path.clone(), source })
}

#[expect(clippy::print_stdout, reason = "the report is what this tool is for")]
fn replay(schedule: &Schedule, shrinks: bool) -> ExitCode {
    match protocol::attempt(schedule) {
        Ok(report) => {
            println!("{report:#?}");
            println!("passed seed={} trace={}", schedule.seed, report.trace);
            ExitCode::SUCCESS
        }
        Err(failed) => {
            tell(&failed, shrinks);
            println!("failed seed={}", schedule.seed);
            ExitCode::FAILURE
        }
    }
}

/// Seeds, or one seed with the faults of a file, on whole nodes.
#[expect(clippy::print_stdout, reason = "the report is what this tool is for")]
fn full_stack(cli: &Cli) -> Result<ExitCode, Error> {
    let schedule = cli.schedule.as_ref().map(read).transpose()?;
    let options = full_stack::Options {
        faults_for: Duration::from_secs(cli.seconds),
        schedule,
        ..full_stack::Options::default()
    };
    let threads = NonZeroUsize::new(cli.threads).unwrap_or(NonZeroUsize::MIN);
    let began = Instant::now();
    let seeds = cli.first_seed..cli.first_seed + cli.seeds;
    let summary = full_stack::run_seeds(seeds, &options, threads, &|seed, outcome| {
        if let Err(failure) = outcome {
            println!("{failure}");
            println!(
                "replay: cargo run --release -p quorate-tests --bin simulate -- --full-stack --first-seed {seed} --seeds 1 \
                 --seconds {}",
                cli.seconds
            );
        }
    });
    let took = began.elapsed().as_secs_f64().max(f64::EPSILON);
    for (kind, count) in &summary.fired {
        println!("fault  {:<28} {count}", format!("{kind:?}"));
    }
    for ((outcome, reason), count) in &summary.gate_rows {
        println!("gate   {:<28} {count}", format!("{outcome}, {reason}"));
    }
    let simulated = summary.simulated.as_secs_f64();
    println!(
        "simulated={:.2}h speed={:.0}x/core wall={took:.1}s seeds={} first_seed={} passed={} failed={} faults={} \
         acknowledged={} installed={}",
        simulated / 3_600.0,
        simulated / took / threads.get() as f64,
        cli.seeds,
        cli.first_seed,
        summary.passed,
        summary.failed.len(),
        summary.fired.values().sum::<u64>(),
        summary.acknowledged,
        summary.installed
    );
    let run = Run {
        simulation: "full_stack".to_owned(),
        commit: record::commit(),
        first_seed: cli.first_seed,
        seeds: cli.seeds,
        seconds: cli.seconds,
        passed: summary.passed,
        failed: summary.failed,
        simulated_hours: simulated / 3_600.0,
        speed_per_core: (simulated / took / threads.get() as f64).round(),
        faults: summary.fired.iter().map(|(kind, count)| (format!("{kind:?}"), *count)).collect(),
    };
    finish(cli, run)
}

/// Records the run, if that was asked for.
fn finish(cli: &Cli, run: Run) -> Result<ExitCode, Error> {
    let code = if run.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if let Some(path) = &cli.record {
        record::add(path, run).map_err(|source| Error::Record { path: path.clone(), source })?;
    }
    Ok(code)
}

#[expect(clippy::print_stdout, reason = "the report is what this tool is for")]
fn seeds(cli: &Cli) -> Result<ExitCode, Error> {
    let plan =
        Plan { first_seed: cli.first_seed, seeds: cli.seeds, seconds: cli.seconds, threads: cli.threads };
    let began = Instant::now();
    let summary = protocol::run_all(plan, &|outcome| {
        if let Err(failed) = outcome {
            tell(failed, cli.shrink);
        }
    });
    let took = began.elapsed();
    for (kind, count) in &summary.counts.faults {
        println!("fault  {kind:<28} {count}");
    }
    for row in protocol::ROWS {
        println!("gate   {row:<28} {}", summary.counts.gate.get(row).copied().unwrap_or_default());
    }
    let hours = summary.simulated.as_secs_f64() / 3_600.0;
    let Summary { counts, passed, failed, .. } = &summary;
    println!(
        "elections {}, membership changes {}, snapshots published {}, installed {}, quarantines {}, repairs {}, \
         torn batches {}, acknowledged writes {}, reads {}, open-ended {}",
        counts.elections,
        counts.conf_changes,
        counts.snapshots_published,
        counts.snapshots_installed,
        counts.quarantines,
        counts.repairs,
        counts.torn_batches,
        counts.acknowledged_writes,
        counts.reads,
        counts.open_ended
    );
    let speed =
        summary.simulated.as_secs_f64() / took.as_secs_f64().max(f64::EPSILON) / cli.threads.max(1) as f64;
    println!(
        "simulated={hours:.2}h speed={speed:.0}x/core wall={:.1}s seeds={} first_seed={} passed={passed} failed={} \
         faults={}",
        took.as_secs_f64(),
        cli.seeds,
        cli.first_seed,
        failed.len(),
        counts.faults_fired()
    );
    let run = Run {
        simulation: "protocol".to_owned(),
        commit: record::commit(),
        first_seed: cli.first_seed,
        seeds: cli.seeds,
        seconds: cli.seconds,
        passed: *passed,
        failed: failed.iter().map(|failed| failed.schedule.seed).collect(),
        simulated_hours: hours,
        speed_per_core: speed.round(),
        faults: counts.faults.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
    };
    finish(cli, run)
}

/// What failed, its schedule, and how to see it again.
#[expect(clippy::print_stdout, reason = "the report is what this tool is for")]
fn tell(failed: &Failed, shrinks: bool) {
    let smaller = if shrinks { protocol::shrink(&failed.schedule) } else { None };
    let Failed { schedule, told } = smaller.as_ref().unwrap_or(failed);
    println!("seed {} failed: {told}", schedule.seed);
    if let Ok(text) = serde_json::to_string(schedule) {
        println!("schedule {text}");
    }
    println!(
        "replay: cargo run --release -p quorate-tests --bin simulate -- --first-seed {} --seeds 1 --seconds {}",
        schedule.seed, schedule.seconds
    );
}
