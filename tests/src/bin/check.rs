//! The linearizability checker, by command: see `quorate_tests::checker`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use quorate_telemetry::{Clock as _, SystemClock};
use quorate_tests::checker::generate::{Shape, linearizable};
use quorate_tests::checker::{History, HistoryError, Limits, Report, Verdict, check};

#[derive(Parser)]
#[command(name = "check", about = "Judges whether one order of operations explains what clients were told")]
struct Cli {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Judges a generated history and prints one line of JSON. Fails unless it is found to be linearizable, which it is.
    Bench(Bench),
    /// Judges recorded histories: lines of JSON. Fails unless all are found to be linearizable.
    History {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        bounds: Bounds,
    },
}

#[derive(clap::Args)]
struct Bench {
    /// Operations.
    #[arg(long, default_value_t = 100_000)]
    ops: u32,
    /// Keys they are spread over.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    keys: u32,
    /// Clients with one operation under way each.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,
    /// Of a hundred operations, so many have no reply.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(..=100))]
    open_percent: u8,
    /// Decides what the clients do.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    bounds: Bounds,
}

/// Where a key is given up.
#[derive(clap::Args)]
struct Bounds {
    /// Configurations that are looked at.
    #[arg(long, default_value_t = Limits::default().steps_max)]
    steps_max: u64,
    /// Configurations that are held at a time.
    #[arg(long, default_value_t = Limits::default().held_max)]
    held_max: usize,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    NoHistory { path: PathBuf, source: HistoryError },
    #[error("the generated history: {0}")]
    Generated(#[from] HistoryError),
}

#[expect(clippy::print_stderr, reason = "a command line tool tells its user")]
fn main() -> ExitCode {
    let outcome = match Cli::parse().mode {
        Mode::Bench(bench) => run_bench(&bench),
        Mode::History { files, bounds } => run_files(files, &bounds.limits()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("check: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Bounds {
    fn limits(&self) -> Limits {
        Limits { steps_max: self.steps_max, held_max: self.held_max }
    }
}

#[expect(clippy::print_stdout, reason = "the report is what this tool is for")]
fn run_bench(bench: &Bench) -> Result<bool, Error> {
    let Bench { ops: operations, keys, clients, open_percent, seed, ref bounds } = *bench;
    let history = linearizable(&Shape { operations, keys, clients, open_percent, seed });
    let clock = SystemClock::new();
    let started = clock.monotonic();
    let report = check(&history, &bounds.limits())?;
    let seconds = clock.monotonic().saturating_sub(started).as_secs_f64();
    let Report { verdict, operations, open_ended, keys, steps } = &report;
    let line = serde_json::json!({
        "verdict": word(verdict), "seconds": seconds, "operations": operations, "open_ended": open_ended,
        "keys": keys, "clients": clients, "steps": steps, "seed": seed,
    });
    println!("{line}");
    tell(verdict);
    Ok(verdict.is_linearizable())
}

#[expect(clippy::print_stdout, reason = "the report is what this tool is for")]
fn run_files(files: Vec<PathBuf>, limits: &Limits) -> Result<bool, Error> {
    let mut are_linearizable = true;
    for path in files {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(Error::Read { path, source }),
        };
        let judged = History::from_lines(&text).and_then(|history| {
            let span = history.events().last().map_or(0, |event| event.nanos);
            check(&history, limits).map(|report| (report, Duration::from_nanos(span)))
        });
        let (report, span) = match judged {
            Ok(judged) => judged,
            Err(source) => return Err(Error::NoHistory { path, source }),
        };
        let line = serde_json::json!({
            "file": path, "verdict": word(&report.verdict), "operations": report.operations,
            "open_ended": report.open_ended, "keys": report.keys, "steps": report.steps,
            "recorded_seconds": span.as_secs_f64(),
        });
        println!("{line}");
        tell(&report.verdict);
        are_linearizable &= report.verdict.is_linearizable();
    }
    Ok(are_linearizable)
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Linearizable => "linearizable",
        Verdict::Violation(_) => "violation",
        Verdict::Undecided { .. } => "undecided",
    }
}

#[expect(clippy::print_stderr, reason = "a command line tool tells its user")]
fn tell(verdict: &Verdict) {
    match verdict {
        Verdict::Linearizable => {}
        Verdict::Violation(violation) => eprintln!("{violation}"),
        Verdict::Undecided { key, why } => eprintln!("key {key}: {why}"),
    }
}
