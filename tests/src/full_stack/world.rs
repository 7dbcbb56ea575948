//! What the hosts of a run share with whoever watches and disturbs them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quorate::{GroupId, Node, Timestamp};
use quorate_telemetry::SeededRng;
use tokio::sync::mpsc;

use super::client::Clients;
use super::command::{self, Command, Told};
use crate::checker::History;
use crate::sim::{SimHost, Trace};

/// All of it. Only ever touched between two polls of the one thread everything runs on.
#[derive(Debug)]
pub(super) struct World {
    pub(super) hosts: Vec<Slot>,
    pub(super) clients: Clients,
    /// Ends of commands, in order.
    pub(super) told: Vec<Told>,
    /// What was wrong, as soon as it was seen.
    pub(super) violations: Vec<String>,
}

/// One machine and the node on it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) machine: SimHost,
    pub(super) starts: u64,
    pub(super) node: Option<Node>,
    /// To the node's command task.
    pub(super) commands: Option<mpsc::UnboundedSender<Command>>,
    /// Why the node did not open its directory.
    pub(super) refused: Option<String>,
}

pub(super) type Shared = Arc<Mutex<World>>;

impl World {
    pub(super) fn new(machines: Vec<SimHost>, clients: Clients) -> Shared {
        let hosts = machines.into_iter().map(|machine| Slot {
            machine,
            starts: 0,
            node: None,
            commands: None,
            refused: None,
        });
        let (told, violations) = (Vec::new(), Vec::new());
        Arc::new(Mutex::new(Self { hosts: hosts.collect(), clients, told, violations }))
    }

    /// The nodes that run.
    pub(super) fn running(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.hosts.iter().enumerate().filter_map(|(at, slot)| Some((at, slot.node.as_ref()?)))
    }

    /// Has the node of `at` carry out a command. Whether it runs.
    pub(super) fn command(&self, at: usize, command: Command) -> bool {
        self.hosts[at].commands.as_ref().is_some_and(|commands| commands.send(command).is_ok())
    }
}

/// The life of the host `at`, from a start of its process on.
pub(super) async fn live(at: usize, shared: Shared, trace: Trace) -> Result<(), Box<dyn std::error::Error>> {
    let (machine, start) = {
        let slot = &mut shared.lock().hosts[at];
        slot.starts += 1;
        (slot.machine.clone(), slot.starts)
    };
    match machine.open(start).await {
        Ok(node) => {
            trace.record(format_args!("{} started", machine.name));
            let (sender, commands) = mpsc::unbounded_channel();
            {
                let slot = &mut shared.lock().hosts[at];
                (slot.node, slot.commands) = (Some(node.clone()), Some(sender));
            }
            super::client::spawn_all(at, start, &node, &shared);
            command::serve(node, commands, shared).await;
        }
        Err(error) => {
            trace.record(format_args!("{} did not start: {error}", machine.name));
            shared.lock().hosts[at].refused = Some(error.to_string());
        }
    }
    std::future::pending().await
}

/// Timestamps that were given, by group: what a later one must exceed.
#[derive(Debug, Default)]
pub(super) struct Timestamps {
    largest: BTreeMap<GroupId, Timestamp>,
    pub(super) given: u64,
}

impl Timestamps {
    /// The largest that was given so far.
    pub(super) fn largest(&self, group: GroupId) -> Option<Timestamp> {
        self.largest.get(&group).copied()
    }

    /// One more was given. An error if it is not larger than what was given before it was asked for.
    pub(super) fn note(
        &mut self,
        group: GroupId,
        before: Option<Timestamp>,
        given: Timestamp,
    ) -> Result<(), String> {
        self.given += 1;
        let largest = self.largest.entry(group).or_insert(given);
        *largest = given.max(*largest);
        match before {
            Some(before) if given <= before => Err(format!(
                "hybrid logical clock of group {group}: {given:?} was given after {before:?} (DESIGN section 8)"
            )),
            _ => Ok(()),
        }
    }
}

/// What decides a client's doings.
pub(super) fn dice(seed: u64, label: u64) -> SeededRng {
    SeededRng::new(seed ^ label.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// A copy of the history so far.
pub(super) fn history(shared: &Shared) -> History {
    shared.lock().clients.history.clone()
}

/// The simulation's time.
pub(super) fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}
