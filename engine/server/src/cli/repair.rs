//! `quorate repair`: a replica that is out of service is brought back.

mod offline;
mod online;

use std::path::PathBuf;

use clap::Args;
use quorate::storage::offline::repair::Consent;

use self::offline::OfflineRepair;
pub(super) use self::online::OnlineRepair;
use super::admin::{Target, Waiting};
use crate::exit::StartError;

/// Options of `quorate repair`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct RepairArgs {
    /// With --node the group; with --group the data directory of a node that does not run.
    #[arg(value_name = "GROUP|DIR")]
    what: PathBuf,
    /// The admin listener of the node whose replica is out of service.
    #[arg(long, value_name = "URL", conflicts_with = "group", required_unless_present = "group")]
    node: Option<String>,
    /// File that holds the token, if the node asks for one. Without it: the variable QUORATE_ADMIN_TOKEN.
    #[arg(long, value_name = "FILE", requires = "node")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    waiting: Waiting,
    /// The group in DIR whose state is adopted.
    #[arg(long)]
    group: Option<u64>,
    /// Gives up the group's other replicas: what only they have is lost, and they have to join again.
    #[arg(long, requires = "group")]
    abandon_others: bool,
    /// Believes a store that does not survive a power cut, if its digest agrees.
    #[arg(long, requires = "group")]
    trust_store: bool,
    /// Where a directory is made that is removed in the end; a sled store is copied there. Without it: the system's
    /// directory for temporary files.
    #[arg(long, value_name = "DIR", requires = "group")]
    scratch: Option<PathBuf>,
    /// Does it. Without it, what would be done is printed, and the exit code is 6.
    #[arg(long)]
    yes: bool,
    /// Prints JSON, for scripts.
    #[arg(long)]
    json: bool,
}

impl RepairArgs {
    /// Prints what it will do, and does it if it may.
    pub(super) fn run(self) -> Result<(), StartError> {
        let Self { what, node, token_file, waiting, yes, json, .. } = self;
        match (node, self.group) {
            (Some(node), _) => {
                let group = what.to_string_lossy().parse().map_err(|_| StartError::Option {
                    option: "GROUP",
                    problem: format!("{} is no number", what.display()),
                })?;
                OnlineRepair { group, target: Target { node, token_file, json }, waiting, yes }.run()
            }
            (None, group) => {
                let repair = OfflineRepair {
                    dir: what,
                    group: group.unwrap_or_else(|| unreachable!("one of both is required")),
                    consent: Consent { abandons_others: self.abandon_others, trusts_store: self.trust_store },
                    scratch: self.scratch.unwrap_or_else(std::env::temp_dir),
                    yes,
                    json,
                };
                repair.run()
            }
        }
    }
}
