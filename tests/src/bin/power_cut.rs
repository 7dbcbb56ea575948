//! Power cuts on a real kernel, by command: see `quorate_tests::power_cut` and `tests/power_cut.sh`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use quorate_tests::power_cut::{self, AppendArgs, ChildArgs, Error, KernelPlan, Outcome, Plan};

#[derive(Parser)]
#[command(name = "power_cut", about = "Cuts the power under a node and counts what it lost")]
struct Cli {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Makes file systems, cuts them, checks. Needs root, mkfs.ext4, mkfs.xfs and xfs_io.
    Run(Plan),
    /// Cuts a file system under appends that are synced, without the engine. Needs the same.
    Kernel(KernelPlan),
    /// A child that appends.
    #[command(hide = true)]
    Append(AppendArgs),
    /// A child that writes.
    #[command(hide = true)]
    Write(ChildArgs),
    /// A child that checks.
    #[command(hide = true)]
    Check(ChildArgs),
}

#[expect(clippy::print_stderr, reason = "a command line tool tells its user")]
fn main() -> ExitCode {
    let outcome = match Cli::parse().mode {
        Mode::Run(plan) => run(&plan),
        Mode::Kernel(plan) => kernel(&plan),
        Mode::Append(args) => power_cut::append(&args).map(|()| ExitCode::SUCCESS),
        Mode::Write(args) => child(power_cut::write(args)),
        Mode::Check(args) => child(power_cut::check(args)),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("power_cut: {error}");
        ExitCode::FAILURE
    })
}

fn child(work: impl Future<Output = Result<(), Error>>) -> Result<ExitCode, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|source| Error::Io { what: "cannot start the runtime".to_owned(), source })?;
    runtime.block_on(work)?;
    // The node is not stopped: whoever comes next has to cope.
    std::process::exit(0)
}

/// Fails if anything was lost; with a lying log, if nothing was.
#[expect(clippy::print_stdout, reason = "the report is what this tool is for")]
fn run(plan: &Plan) -> Result<ExitCode, Error> {
    let dir = new_dir()?;
    let outcomes = power_cut::run(plan, dir.path(), print)?;
    let (cycles, acknowledged) = outcomes
        .iter()
        .fold((0, 0), |(cycles, acks), outcome| (cycles + outcome.cycles, acks + outcome.acknowledged));
    let violations: usize = outcomes.iter().map(|outcome| outcome.violations.len()).sum();
    println!("cycles={cycles} acknowledged={acknowledged} violations={violations} seed={}", plan.seed);
    let is_as_expected = (violations > 0) == plan.lying_log;
    Ok(if is_as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::print_stdout, reason = "the report is what this tool is for")]
fn kernel(plan: &KernelPlan) -> Result<ExitCode, Error> {
    let dir = new_dir()?;
    for outcome in power_cut::kernel(plan, dir.path())? {
        let (syncs, cycles, seed) = (plan.syncs, plan.cycles, plan.seed);
        let power_cut::KernelOutcome { filesystem, synced, lost } = outcome;
        println!(
            "filesystem={filesystem} syncs={syncs} cycles={cycles} synced={synced} lost={lost} seed={seed}"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn new_dir() -> Result<tempfile::TempDir, Error> {
    tempfile::tempdir().map_err(|source| Error::Io { what: "cannot make a directory".to_owned(), source })
}

#[expect(clippy::print_stdout, reason = "the report is what this tool is for")]
fn print(outcome: &Outcome) {
    let Outcome { store, filesystem, cycles, rebooted, acknowledged, violations } = outcome;
    println!(
        "store={store} filesystem={filesystem} cycles={cycles} rebooted={rebooted} acknowledged={acknowledged} \
         violations={}",
        violations.len()
    );
    for violation in violations.iter().take(10) {
        println!("  {violation}");
    }
}
