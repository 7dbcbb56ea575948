//! What nodes are told to do, as an operator would, and what they say to it.

use std::time::Duration;

use quorate::{GroupId, Node, NodeId, ReplicaAnswer, ReplicaId, Verdict};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::client::read_all;
use super::world::{Shared, now};
use crate::sim::SimHost;

/// For a command that takes more than one step.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two attempts at a step.
const AGAIN: Duration = Duration::from_millis(100);
const ATTEMPTS: u32 = 100;

/// What a node is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Leadership is handed to the replica here.
    Transfer(GroupId),
    /// A snapshot is published here.
    Snapshot(GroupId),
    /// The replica here leaves, and a new one joins in its place.
    Replace(GroupId),
    /// There is to be a voter here.
    Join(GroupId),
    /// The replica here is out of service: a new one takes its place.
    Repair(GroupId),
    /// The replicas' states are compared.
    Compare(GroupId),
    /// Every key is read.
    Read,
    /// The wall clock is set by so many milliseconds.
    SetClock(i64),
    /// The wall clock runs at this rate, in microseconds per second.
    RateClock(u32),
    /// The wall clock is right from now on.
    MendClock,
}

/// Where a node is in lists, from 0.
pub(super) fn at_of(node: NodeId) -> usize {
    usize::try_from(node.get() - 1).expect("three nodes")
}

/// How a command ended.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) node: NodeId,
    pub(super) command: Command,
    pub(super) outcome: Result<(), String>,
}

/// Carries out commands, side by side, for as long as the node lives.
pub(super) async fn serve(node: Node, mut commands: mpsc::UnboundedReceiver<Command>, shared: Shared) {
    while let Some(command) = commands.recv().await {
        let (node, shared) = (node.clone(), shared.clone());
        tokio::spawn(async move {
            let outcome = carry_out(&node, command, &shared).await;
            shared.lock().told.push(Told { node: node.id(), command, outcome });
        });
    }
}

async fn carry_out(node: &Node, command: Command, shared: &Shared) -> Result<(), String> {
    let at = at_of(node.id());
    let said = |error: quorate::Error| error.to_string();
    match command {
        Command::Transfer(group) => {
            let to = own(node, group).ok_or("no replica here")?;
            node.group(group).transfer_leader(to).await.map_err(said)
        }
        Command::Snapshot(group) => {
            node.group(group).publish_snapshot(PATIENCE).await.map(drop).map_err(said)
        }
        Command::Replace(group) => {
            let old = own(node, group).ok_or("no replica here")?;
            node.group(group).remove(old).await.map_err(said)?;
            join(node, group).await
        }
        Command::Join(group) => join(node, group).await,
        Command::Repair(group) => node.repair(group, PATIENCE).await.map(drop).map_err(said),
        Command::Compare(group) => compare(node, group).await,
        Command::Read => read_all(node, shared).await.map_err(said),
        Command::SetClock(_) | Command::RateClock(_) | Command::MendClock => {
            let machine = &shared.lock().hosts[at].machine;
            set_clock(machine, command);
            Ok(())
        }
    }
}

/// A simulated clock may only be read, and set, where its machine's time passes: here.
fn set_clock(machine: &SimHost, command: Command) {
    match command {
        Command::SetClock(by_ms) => {
            let by = Duration::from_millis(by_ms.unsigned_abs());
            if by_ms < 0 { machine.clock.jump_back(by) } else { machine.clock.jump_forward(by) }
        }
        Command::RateClock(ppm) => machine.clock.set_rate_ppm(ppm),
        _ => machine.set_clock(now()),
    }
}

/// The replica of a group that lives here, as its descriptor has it.
fn own(node: &Node, group: GroupId) -> Option<ReplicaId> {
    let descriptor = node.group(group).descriptor()?;
    descriptor.replica_on(node.id()).map(|replica| replica.replica)
}

/// A replica is added here, and gets a vote: again and again, from wherever a former attempt has come to.
async fn join(node: &Node, group: GroupId) -> Result<(), String> {
    let mut last = "not tried".to_owned();
    for _ in 0..ATTEMPTS {
        let group = node.group(group);
        let outcome = match group.add_learner(node.id()).await {
            Ok(replica) => group.promote(replica).await,
            Err(error) => match own(node, group.id()) {
                Some(replica) => group.promote(replica).await,
                None => Err(error),
            },
        };
        match outcome {
            Ok(()) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
        sleep(AGAIN).await;
    }
    Err(last)
}

async fn compare(node: &Node, group: GroupId) -> Result<(), String> {
    let report = node.check_consistency(group).await.map_err(|error| error.to_string())?;
    let all_said = report.replicas.iter().all(|replica| matches!(replica.answer, ReplicaAnswer::Digest(_)));
    if report.verdict == Verdict::Consistent && all_said && report.replicas.len() == 3 {
        return Ok(());
    }
    Err(format!("{report:?}"))
}
