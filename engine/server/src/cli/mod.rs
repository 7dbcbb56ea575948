//! The command line of `quorate`, and what happens around a command: logging, runtime, exit code.
//!
//! # To add a subcommand
//!
//! 1. A file beside this one, named like the subcommand, with its arguments and what it does:
//!    `#[derive(Debug, clap::Args)] pub(super) struct InspectArgs { … }` (or a `clap::Subcommand`, if it has some of
//!    its own) and `impl InspectArgs { pub(super) fn run(self) -> Result<(), StartError> }`. The arguments'
//!    documentation is their help text. The file parses and prints; what it does is a module of the library,
//!    which knows neither clap nor standard output.
//! 2. `mod inspect;` here, one variant of `Command` and one line of `Command::run`.
//!
//! # What every subcommand keeps to
//!
//! - **Standard output is for scripts**, and for nothing but the answer. With `--json` it is one JSON document, or
//!   one document a line where there is no end to wait for; names are `snake_case` and end in their unit. Text for
//!   people may change, JSON only gets new names. Print with `print`, never with `println!`.
//! - **Standard error is for people**: the log, progress, questions, and in the end `quorate: <what went wrong>`.
//! - **Exit codes** say who has to act ([`crate::exit`]): 0 done, 1 failed, 2 usage, 3 settings, 4 the data
//!   directory is locked, 5 damaged data, 6 not done for want of `--yes`. A subcommand whose answer is itself a finding (`verify` on a damaged
//!   log) prints it and ends with [`StartError::Reported`], so that nothing is said twice.
//! - A subcommand that waits runs in `block_on`; one that only reads files needs no runtime.
//! - What works on a stopped node's files takes the lock of the data directory. What destroys something asks for
//!   `--yes` and says before what it will do.

mod admin;
mod config;
mod dev;
mod inspect;
mod node;
mod repair;
mod stopped;
mod verify;

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cluster::Cluster;
use crate::exit::StartError;
use crate::{exit, logging};

/// Embeddable multi-raft storage engine.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a whole cluster in this process, for development.
    Dev(dev::DevArgs),
    /// Runs one node of a cluster.
    Node(node::NodeArgs),
    /// Checks and prints configurations of nodes.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Shows what is in the data directory of a stopped node, and what a start would do with it.
    ///
    /// Changes nothing. What cannot be read is among what it shows; `quorate verify` says whether all is right.
    Inspect(inspect::InspectArgs),
    /// Checks every checksum in the data directory of a stopped node.
    ///
    /// Changes nothing. Prints every finding with file and offset. Exit codes: 0 clean (a torn tail, which a crash may
    /// leave, is clean), 5 corruption, 4 the directory is in use, 1 no corruption, but not all of it could be checked.
    Verify(verify::VerifyArgs),
    /// Asks a running node, or has it do something: its admin listener as commands.
    Admin(admin::AdminArgs),
    /// Brings a quarantined replica back.
    ///
    /// `quorate repair --node URL GROUP`: on a running node the replica leaves its group, and a new one takes its
    /// place. `quorate repair DIR --group G`: on a stopped node, for a group whose only voter it is, the state that is
    /// there becomes the group's beginning. Prints what it will do and needs --yes. Exit codes: 0 done, 6 not done for
    /// want of --yes, 1 failed (say it again: it goes on where it stopped), 4 the directory is in use, 5 damaged state.
    Repair(repair::RepairArgs),
}

impl Command {
    fn run(self, cluster: &dyn Cluster) -> Result<(), StartError> {
        if !matches!(self, Self::Node(_)) {
            logging::install_for_command();
        }
        match self {
            Self::Dev(args) => args.run(cluster),
            Self::Node(args) => args.run(cluster),
            Self::Config(command) => command.run(),
            Self::Inspect(args) => args.run(),
            Self::Verify(args) => args.run(),
            Self::Admin(args) => args.run(),
            Self::Repair(args) => args.run(),
        }
    }
}

/// Runs the command given on the command line over `cluster`; the whole of `main`.
pub fn main(cluster: &dyn Cluster) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, as successes.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::DONE });
        }
    };
    match cli.command.run(cluster) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !matches!(error, StartError::Reported { .. }) {
                let _ = writeln!(io::stderr(), "quorate: {error}");
            }
            ExitCode::from(&error)
        }
    }
}

/// Prints a part of the answer and flushes it: whoever reads it may wait for it.
///
/// # Errors
/// [`StartError::Io`], when the reader is gone.
pub fn print(text: fmt::Arguments<'_>) -> Result<(), StartError> {
    let mut out = io::stdout().lock();
    let printed = out.write_fmt(text).and_then(|()| out.flush());
    printed.map_err(|source| StartError::Io { action: "write to standard output", source })
}

/// Runs `work` on a runtime of its own. What still runs when it ends (after a timeout, or after a second signal) is
/// left behind.
fn block_on<T>(work: impl Future<Output = Result<T, StartError>>) -> Result<T, StartError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| StartError::Io { action: "start the runtime", source })?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}
