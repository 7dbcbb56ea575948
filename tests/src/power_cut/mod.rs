//! Power cuts on a real kernel: a node on a file system of its own, which is shut down under it while it
//! acknowledges writes. What the kernel had not been told to sync is gone then, as after a real cut.
//!
//! The parent ([`run()`]) makes the file system and cuts it; children of the same binary open the node, one to write
//! ([`write()`]), after the cut another one to check ([`check()`]). The parent's memory is the truth: it read every
//! acknowledgement from the writer's pipe.

mod check;
mod cycle;
mod kernel;
mod log_disk;
mod node;
mod run;
mod value;
mod volume;
mod write;

use std::path::PathBuf;

pub use check::check;
pub use kernel::{AppendArgs, KernelOutcome, KernelPlan, append, kernel};
pub use run::{Outcome, Plan, run};
pub use write::write;

/// What a child is told.
#[derive(Clone, Debug, clap::Args)]
pub struct ChildArgs {
    /// The node's directory, on the file system that is cut.
    #[arg(long)]
    pub data: PathBuf,
    /// `lsm`, `sled` or `memory`.
    #[arg(long)]
    pub store: quorate::StoreKind,
    /// The file the boot id is read from.
    #[arg(long)]
    pub boot_id: PathBuf,
    /// The first number that was never written.
    #[arg(long, default_value_t = 0)]
    pub first: u64,
    /// Ignore syncs of the log, to show that this test can fail.
    #[arg(long)]
    pub lying_log: bool,
}

/// Why a run or a child could not go on. A violation of durability is no error but a result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] quorate::Error),
    /// Groups did not come up in time.
    #[error("not ready; not running: {groups}")]
    NotReady {
        /// Those that do not run, with their reason.
        groups: String,
    },
    /// The boot id could not be read.
    #[error(transparent)]
    BootId(#[from] quorate_telemetry::clock::BootIdError),
    /// The system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A command of the system failed.
    #[error("{command} ended with {status}: {said}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said.
        said: String,
    },
    /// A child said something it never says.
    #[error("a child said {line:?}")]
    Protocol {
        /// The line.
        line: String,
    },
    /// Too few writes were acknowledged before the cut.
    #[error("the writer ended after {acknowledged} acknowledged writes: {said}")]
    Writer {
        /// How many there were.
        acknowledged: usize,
        /// What the writer said.
        said: String,
    },
}

fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source }
}
