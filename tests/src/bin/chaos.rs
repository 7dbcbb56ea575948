//! Chaos on real processes, by command: see `quorate_tests::chaos`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use quorate_tests::chaos::{self, Options, failover};

#[derive(Parser)]
#[command(
    name = "chaos",
    about = "Breaks a cluster of real processes under load, and judges what clients saw"
)]
struct Cli {
    /// Minutes of load and faults.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Nodes: 3 or 5.
    #[arg(long, default_value_t = 3)]
    nodes: u16,
    /// Groups beside group 0.
    #[arg(long, default_value_t = 16)]
    groups: u16,
    /// Decides faults and what clients ask.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the report is written.
    #[arg(long, default_value = "chaos-report")]
    out: PathBuf,
    /// Instead: kills the leader of a group so many times, and measures how long it has none.
    #[arg(long)]
    leader_kills: Option<usize>,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the report is what this tool is for")]
fn main() -> ExitCode {
    let cli = Cli::parse();
    // With a network and mounts of its own more can be broken.
    if let Some(ended) = chaos::run_inside() {
        return match ended {
            Ok(status) if status.success() => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("chaos: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("chaos: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        if let Some(kills) = cli.leader_kills {
            let report = failover::run(kills, &cli.out).await?;
            println!("{}", serde_json::json!({
                "kills": report.kills, "without_leader_ms": report.without_leader_ms, "aim_ms": report.aim_ms
            }));
            return Ok(ExitCode::SUCCESS);
        }
        let time = Duration::from_secs_f64(cli.minutes * 60.0);
        let Cli { nodes, groups, seed, out, .. } = cli;
        let report = chaos::run(&Options { time, nodes, groups, seed, out }).await?;
        for violation in &report.violations {
            println!("VIOLATION {violation}");
        }
        println!("{}", serde_json::json!({
            "seed": report.seed, "seconds": report.seconds, "acknowledged": report.acknowledged,
            "acknowledged_per_second": report.acknowledged_per_second, "judged": report.judged,
            "open_ended": report.open_ended, "faults": report.faults, "impossible": report.impossible,
            "recovery_s": report.recovery_s,
            "seconds_without_service": report.seconds_without_service, "quarantines": report.quarantines,
            "violations": report.violations.len(),
        }));
        let is_good = report.violations.is_empty();
        Ok::<_, chaos::Error>(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    });
    outcome.unwrap_or_else(|error| {
        eprintln!("chaos: {error}");
        ExitCode::FAILURE
    })
}
