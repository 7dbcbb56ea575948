//! Schedules of one kind of fault, again and again: for mistakes that the drawn ones hardly ever come to.

use crate::protocol::{self, Cut, Fault, Files, Keeps, Planned, Schedule};

/// Simulated seconds under faults.
const SECONDS: u64 = 60;
/// Operations of all clients in a storm: more than in a drawn schedule, so that each moment has some.
const OPERATIONS: u64 = 6_000;
/// Nodes and groups of the protocol simulator.
const NODES: u64 = protocol::settings::NODES as u64;
const GROUPS: u64 = protocol::settings::GROUPS;

/// Which faults a run of the protocol simulator has. The seed decides all else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Storm {
    /// Those that the seed draws.
    #[default]
    Drawn,
    /// One node after the other is cut off for as long as an election takes.
    Partitions,
    /// Packets are late, and nodes die and come back at once.
    Elections,
    /// Bits of logs flip at rest.
    Rot,
    /// The end of logs is taken away.
    Cuts,
    /// Syncs of logs fail, and then power goes.
    FailingSyncs,
    /// Power goes within a call, while snapshots are published one after the other.
    PowerCuts,
}

impl Storm {
    /// Its schedule, run with this seed.
    pub fn schedule(self, seed: u64) -> Schedule {
        let faults: Vec<Planned> = match self {
            Self::Drawn => return protocol::schedule(seed, SECONDS),
            Self::Partitions => every(2_000, |round| vec![Fault::Isolate { node: node(round), ms: 1_200 }]),
            Self::Elections => {
                let delay = Fault::Delay { max_ms: 400, ms: SECONDS * 1_000 };
                let crash = |round| Fault::Crash { node: node(round), keeps: Keeps::Synced, down_ms: 60 };
                let mut faults = vec![Planned { at_ms: 1, fault: delay }];
                faults.extend(every(230, |round| vec![crash(round)]));
                faults
            }
            Self::Rot => every(150, |round| {
                let (node, group) = (node(round / 8 / GROUPS), 1 + round % GROUPS);
                vec![Fault::RotLog { node, group, loses_state: true }]
            }),
            Self::Cuts => every(1_000, |round| {
                vec![Fault::CutLog { node: 0, group: 1 + round % GROUPS, cut: Cut::BelowState }]
            }),
            Self::FailingSyncs => every(400, |round| {
                let (node, group) = (node(round / 2), 1 + round / 2 % GROUPS);
                let is_failing = round % 2 == 0;
                vec![if is_failing {
                    Fault::FailSync { node, group, files: Files::Log }
                } else {
                    Fault::Crash { node, keeps: Keeps::Synced, down_ms: 60 }
                }]
            }),
            Self::PowerCuts => every(500, |round| {
                let cut = Fault::PowerCut {
                    node: node(round),
                    calls: 1 + round * 37 % 90,
                    keeps: if round % 2 == 0 { Keeps::All } else { Keeps::Pages },
                    down_ms: 100,
                };
                let publish = |group| Fault::Snapshot { node: node(round), group };
                (1..=GROUPS).map(publish).chain([cut]).collect()
            }),
        };
        Schedule { seed, seconds: SECONDS, operations: OPERATIONS, faults }
    }
}

/// What `faults` gives for each round.
fn every(period_ms: u64, faults: impl Fn(u64) -> Vec<Fault>) -> Vec<Planned> {
    let rounds = 1..SECONDS * 1_000 / period_ms;
    let planned = |round: u64| {
        let at_ms = round * period_ms;
        faults(round).into_iter().map(move |fault| Planned { at_ms, fault })
    };
    rounds.flat_map(planned).collect()
}

fn node(round: u64) -> usize {
    usize::try_from(round % NODES).unwrap_or_default()
}
