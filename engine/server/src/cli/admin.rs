//! `quorate admin`: a running node, asked through its admin listener.

mod consistency;
mod status;
mod target;
mod waiting;

use clap::{Args, Subcommand};
use serde_json::Value;

pub(super) use self::target::{Target, failed};
pub(super) use self::waiting::Waiting;

use super::print;
use super::repair::OnlineRepair;
use super::stopped::print_json;
use crate::exit::StartError;
use crate::operator::{NodeStatus, SnapshotTaken};

/// Arguments of `quorate admin`.
#[derive(Debug, Args)]
pub(super) struct AdminArgs {
    #[command(subcommand)]
    command: AdminCommand,
}

/// What a node is asked for.
#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// The node in short: its groups, the room on its disk, and which replicas are out of service and why.
    Status(StatusArgs),
    /// Compares the states of a group's replicas, wherever it is led; without a group, of every group with a replica on
    /// the node. One that a majority proves wrong is quarantined.
    ///
    /// Exit codes: 0 equal as far as they could be compared, 5 replicas hold different states, 1 a group could not be
    /// asked.
    Consistency(consistency::ConsistencyArgs),
    /// Publishes a snapshot of the node's replica of a group now, and prints where it stands.
    Snapshot(SnapshotArgs),
    /// Replaces the node's replica of a group, which is out of service: `quorate repair --node`.
    Repair(OnlineRepair),
}

#[derive(Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
struct SnapshotArgs {
    /// The group.
    group: u64,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    waiting: Waiting,
}

impl AdminArgs {
    /// Asks the node and prints its answer.
    pub(super) fn run(self) -> Result<(), StartError> {
        match self.command {
            AdminCommand::Status(args) => args.run(),
            AdminCommand::Consistency(args) => args.run(),
            AdminCommand::Snapshot(args) => args.run(),
            AdminCommand::Repair(repair) => repair.run(),
        }
    }
}

impl StatusArgs {
    fn run(self) -> Result<(), StartError> {
        let client = self.target.client()?;
        let answer = client.get("/status").map_err(failed)?;
        if self.target.json {
            return print_json(&answer);
        }
        let status: NodeStatus = parse(&self.target, answer)?;
        print(format_args!("{}", status::Text(&status)))
    }
}

impl SnapshotArgs {
    fn run(self) -> Result<(), StartError> {
        let client = self.target.client()?;
        let path = format!("/groups/{}/snapshot", self.group);
        let answer = self.waiting.ask(&client, &path, || format!("group {}: publishing", self.group))?;
        if self.target.json {
            return print_json(&answer);
        }
        let SnapshotTaken { group, index, term, bytes, crc } = parse(&self.target, answer)?;
        print(format_args!(
            "group {group}: snapshot at {index} (term {term}), {bytes} bytes, crc {crc:08x}\n"
        ))
    }
}

/// The answer in the form that this release knows.
///
/// # Errors
/// [`StartError::Failed`] if it is another one.
pub(super) fn parse<T: serde::de::DeserializeOwned>(target: &Target, answer: Value) -> Result<T, StartError> {
    let node = target.node.clone();
    let parsed = serde_json::from_value(answer);
    parsed.map_err(|source| failed(crate::client::ClientError::Answer { node, source }))
}
