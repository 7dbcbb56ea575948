//! The benchmarks. Each prints JSON; machines are shared and noisy, so compare figures of one run.

mod cluster;
mod cold_start;
mod kv;
mod machine;
mod resp;
mod snapshot;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "bench", about = "Benchmarks of Quorate: real disk, loopback TCP, JSON out")]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Replicated key-value writes, then linearizable reads, by clients on the embedding API.
    Kv(kv::Options),
    /// SET and GET through the Redis frontend of a cluster, against one Redis server that syncs every write.
    Resp(resp::Options),
    /// What the start of a group costs: restored, verified, skipped; after a clean stop and after kill -9.
    ColdStart(cold_start::Options),
    /// A process of `cold-start`.
    #[command(hide = true)]
    ColdStartChild(cold_start::ChildOptions),
    /// Other groups' writes while one large group publishes a snapshot and seeds a new replica with it.
    Snapshot(snapshot::Options),
}

/// Why a benchmark could not be run.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Engine(#[from] quorate::Error),
    #[error("{what}: {source}")]
    Io { what: &'static str, source: std::io::Error },
    #[error("{0}")]
    Load(String),
    #[error("the report could not be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.bench {
        Bench::Kv(options) => kv::run(options),
        Bench::Resp(options) => resp::run(options),
        Bench::ColdStart(options) => cold_start::run(options),
        Bench::ColdStartChild(options) => cold_start::run_child(options),
        Bench::Snapshot(options) => snapshot::run(options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a command line tool tells its user")]
            {
                eprintln!("bench: {error}");
            }
            ExitCode::FAILURE
        }
    }
}
