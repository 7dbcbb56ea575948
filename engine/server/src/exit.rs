//! Exit codes of the `quorate` command, and the errors they stand for.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use crate::config::ConfigError;
use crate::listen::ListenError;

/// All is done.
pub const DONE: u8 = 0;
/// Something else went wrong, or a stop did not finish in time.
pub const FAILED: u8 = 1;
/// The command line was not understood.
pub const USAGE: u8 = 2;
/// The settings contradict each other, the directory or the machine (a port in use, another number of groups).
pub const CONFIG: u8 = 3;
/// Another process has the data directory.
pub const LOCKED: u8 = 4;
/// Data on disk is damaged beyond what a start repairs.
pub const CORRUPT: u8 = 5;

/// Nothing was done: what would be done was printed, and `--yes` was not given.
pub const UNCONFIRMED: u8 = 6;

/// A cause from the engine, kept as it came.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why a command ended without having done its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An option has a value that cannot be.
    #[error("{option}: {problem}")]
    Option {
        /// As it is written on the command line.
        option: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
    /// The settings contradict what is on disk.
    #[error("the settings do not fit the data: {source}")]
    Config {
        /// The contradiction.
        source: Cause,
    },
    /// The configuration of a node is refused.
    #[error("the configuration is refused\n{0}")]
    Settings(#[from] ConfigError),
    /// Another process has the data directory.
    #[error("{path} is in use by another process", path = path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// Data on disk is damaged.
    #[error("damaged data: {source}")]
    Corrupt {
        /// What and where.
        source: Cause,
    },
    /// A listener could not be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The operating system refused something else.
    #[error("cannot {action}: {source}")]
    Io {
        /// Verb and object.
        action: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// The engine failed in another way.
    #[error("the engine failed: {source}")]
    Engine {
        /// The cause.
        source: Cause,
    },
    /// A subcommand failed in a way of its own.
    #[error("{source}")]
    Failed {
        /// What it says.
        source: Cause,
    },
    /// A subcommand has found what it looked for and printed it; nothing more is said.
    #[error("reported")]
    Reported {
        /// What the process exits with.
        exit_code: u8,
    },
    /// The stop was not finished when its time was over.
    #[error("the stop did not finish within {seconds} s")]
    StopTimeout {
        /// The limit.
        seconds: u64,
    },
    /// A second signal came during the stop.
    #[error("stopped at once by a second signal")]
    Interrupted,
}

impl StartError {
    /// What the process exits with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Option { .. } | Self::Settings(_) | Self::Config { .. } | Self::Listen(_) => CONFIG,
            Self::Locked { .. } => LOCKED,
            Self::Corrupt { .. } => CORRUPT,
            Self::Reported { exit_code } => *exit_code,
            Self::Io { .. }
            | Self::Engine { .. }
            | Self::Failed { .. }
            | Self::StopTimeout { .. }
            | Self::Interrupted => FAILED,
        }
    }
}

impl From<&StartError> for ExitCode {
    fn from(error: &StartError) -> Self {
        Self::from(error.exit_code())
    }
}
