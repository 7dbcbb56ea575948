//! What goes wrong in a run, and when: plain data that a seed draws, that can be printed, cut down and run again.

use std::time::Duration;

use quorate_telemetry::{Rng, SeededRng};
use serde::{Deserialize, Serialize};

use crate::sim::NODES;

/// Between two faults, on average.
const BETWEEN: Duration = Duration::from_millis(3_500);
/// Before the first: the groups come up.
const CALM: Duration = Duration::from_secs(3);
/// Kinds of faults in one run. Few at a time mix in more ways over many runs than all of them in each (swarm testing:
/// Groce et al., ISSTA 2012).
const KINDS_MIN: usize = 5;

/// Something that goes wrong, from a moment on. Nodes count from 0, groups from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// Machines stop, and start again after `down_ms`.
    Crash {
        /// Which.
        nodes: Vec<usize>,
        /// What they forget.
        how: Crash,
        /// How long they are down.
        down_ms: u64,
        /// Their workers are slow from then on, until the next crash.
        is_slow: bool,
    },
    /// A bit of a file is the other way round when the machine starts again.
    Rot {
        /// Whose.
        node: usize,
        /// Draws file and bit.
        seed: u64,
        /// How long it is down.
        down_ms: u64,
    },
    /// A replica's directory is gone when its machine starts again. (A node that has lost its whole data directory is
    /// another node: it does not come back under its id.)
    Wipe {
        /// Where.
        node: usize,
        /// Of which group.
        group: u64,
        /// How long it is down.
        down_ms: u64,
    },
    /// Nothing passes from the first to the second of each pair.
    Cut {
        /// From, to.
        links: Vec<(usize, usize)>,
        /// How long.
        for_ms: u64,
    },
    /// What is sent on these links arrives when this ends.
    Hold {
        /// Between which.
        link: (usize, usize),
        /// How long.
        for_ms: u64,
    },
    /// Links get slow.
    Slow {
        /// Between which.
        link: (usize, usize),
        /// Up to how slow.
        latency_ms: u64,
        /// How long.
        for_ms: u64,
    },
    /// A disk's call fails.
    Disk {
        /// Whose.
        node: usize,
        /// Which: the next of its kind,
        call: DiskCall,
        /// on a file below such a directory.
        part: Part,
    },
    /// A disk answers syncs without carrying them out, for good. Never drawn: nothing holds against it. It proves that a
    /// loss is seen.
    Lie {
        /// Whose.
        node: usize,
    },
    /// A disk has no more room.
    Full {
        /// Whose.
        node: usize,
        /// How long.
        for_ms: u64,
    },
    /// A wall clock is set.
    ClockJump {
        /// Whose.
        node: usize,
        /// By so much.
        by_ms: i64,
    },
    /// A wall clock runs at another rate: 0 is frozen.
    ClockRate {
        /// Whose.
        node: usize,
        /// Microseconds per second.
        ppm: u32,
        /// How long.
        for_ms: u64,
    },
    /// Leadership is handed to the replica on a node.
    Transfer {
        /// Of which group.
        group: u64,
        /// To.
        node: usize,
    },
    /// A snapshot is published.
    Snapshot {
        /// Of which group.
        group: u64,
        /// Where.
        node: usize,
    },
    /// A replica leaves its group, and a new one joins in its place.
    Replace {
        /// Of which group.
        group: u64,
        /// Where.
        node: usize,
    },
}

/// What a machine forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Crash {
    /// Nothing: the process was killed.
    Kill,
    /// All that was not synced.
    PowerCut,
    /// Pieces of what was not synced.
    Torn {
        /// Draws which.
        seed: u64,
    },
}

/// A call that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskCall {
    /// A sync, whose data is lost.
    Sync,
    /// A write.
    Write,
    /// A write of which half is written.
    ShortWrite,
}

/// Where a replica keeps what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Its log.
    Log,
    /// Its snapshots.
    Snapshots,
    /// Its state.
    State,
}

impl Part {
    /// The directory's name.
    pub fn directory(self) -> &'static str {
        match self {
            Self::Log => "/wal/",
            Self::Snapshots => "/snapshots/",
            Self::State => "/state/",
        }
    }
}

/// Kinds of faults, to count them by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Processes killed.
    Kill,
    /// Machines without power.
    PowerCut,
    /// Machines without power whose caches were written in part.
    TornPowerCut,
    /// All machines at once.
    CrashAll,
    /// Slow machines.
    SlowWorkers,
    /// Rot at rest.
    Rot,
    /// Lost directories.
    Wipe,
    /// A node cut off.
    Isolate,
    /// Two nodes that do not hear each other, and a third that hears both.
    Bridge,
    /// Cut in one direction.
    OneWay,
    /// Held messages.
    Hold,
    /// Slow links.
    SlowLink,
    /// Failed syncs.
    SyncFailure,
    /// Failed writes.
    WriteFailure,
    /// Disks that lie.
    Lie,
    /// Full disks.
    Full,
    /// Clocks that were set.
    ClockJump,
    /// Clocks that run wrong.
    ClockRate,
    /// Leaders that hand over.
    Transfer,
    /// Snapshots on demand.
    Snapshot,
    /// Members replaced.
    Replace,
}

impl Kind {
    /// Those that are drawn.
    pub const DRAWN: [Self; 20] = [
        Self::Kill,
        Self::PowerCut,
        Self::TornPowerCut,
        Self::CrashAll,
        Self::SlowWorkers,
        Self::Rot,
        Self::Wipe,
        Self::Isolate,
        Self::Bridge,
        Self::OneWay,
        Self::Hold,
        Self::SlowLink,
        Self::SyncFailure,
        Self::WriteFailure,
        Self::Full,
        Self::ClockJump,
        Self::ClockRate,
        Self::Transfer,
        Self::Snapshot,
        Self::Replace,
    ];
}

/// A fault and its moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduled {
    /// Since the run began.
    pub at_ms: u64,
    /// What goes wrong.
    #[serde(flatten)]
    pub fault: Fault,
}

/// All that goes wrong in a run, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// In the order of their moments.
    pub faults: Vec<Scheduled>,
}

impl Schedule {
    /// What `seed` draws for a run of `length` with `groups` groups.
    pub fn draw(seed: u64, length: Duration, groups: u16) -> Self {
        let dice = Dice { rng: SeededRng::new(seed), groups };
        let kinds = dice.kinds();
        // One machine's disk rots or is lost, never two: what two of three replicas have lost may be gone.
        let victim = dice.node();
        let mut faults = Vec::new();
        let mut at = millis(CALM);
        loop {
            at += 1 + dice.below(2 * millis(BETWEEN));
            if at >= millis(length) {
                return Self { faults };
            }
            let kind = dice.one_of(&kinds);
            faults.push(Scheduled { at_ms: at, fault: dice.fault(kind, victim) });
        }
    }
}

struct Dice {
    rng: SeededRng,
    groups: u16,
}

impl Dice {
    fn below(&self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    fn one_of<T: Copy>(&self, these: &[T]) -> T {
        these[pick(&self.rng, these.len())]
    }

    fn node(&self) -> usize {
        pick(&self.rng, NODES.len())
    }

    fn group(&self) -> u64 {
        1 + self.below(u64::from(self.groups))
    }

    fn others(&self, node: usize) -> (usize, usize) {
        let at = pick(&self.rng, 2);
        let others = [(node + 1) % 3, (node + 2) % 3];
        (others[at], others[1 - at])
    }

    /// Some of all kinds. Where a disk rots or is lost, membership stays: with fewer replicas than three there may be no
    /// whole majority left.
    fn kinds(&self) -> Vec<Kind> {
        let mut kinds = Kind::DRAWN.to_vec();
        for at in (1..kinds.len()).rev() {
            kinds.swap(at, pick(&self.rng, at + 1));
        }
        kinds.truncate(KINDS_MIN + pick(&self.rng, 8));
        if kinds.contains(&Kind::Rot) || kinds.contains(&Kind::Wipe) {
            kinds.retain(|kind| *kind != Kind::Replace);
        }
        kinds
    }

    fn down_ms(&self) -> u64 {
        50 + self.below(if self.below(3) == 0 { 8_000 } else { 1_500 })
    }

    fn for_ms(&self) -> u64 {
        200 + self.below(6_000)
    }

    fn crash(&self, nodes: Vec<usize>, how: Crash, is_slow: bool) -> Fault {
        Fault::Crash { nodes, how, down_ms: self.down_ms(), is_slow }
    }

    fn any_crash(&self) -> Crash {
        match self.below(3) {
            0 => Crash::Kill,
            1 => Crash::PowerCut,
            _ => Crash::Torn { seed: self.rng.next_u64() },
        }
    }

    fn fault(&self, kind: Kind, victim: usize) -> Fault {
        let node = self.node();
        let (one, other) = self.others(node);
        let for_ms = self.for_ms();
        let both = |a: usize, b: usize| [(a, b), (b, a)];
        let cut = |links: Vec<(usize, usize)>| Fault::Cut { links, for_ms };
        let disk = |call| {
            let part = self.one_of(&[Part::Log, Part::Log, Part::Snapshots, Part::State]);
            Fault::Disk { node, call, part }
        };
        match kind {
            Kind::Kill => self.crash(vec![node], Crash::Kill, false),
            Kind::PowerCut => self.crash(vec![node], Crash::PowerCut, false),
            Kind::TornPowerCut => self.crash(vec![node], Crash::Torn { seed: self.rng.next_u64() }, false),
            Kind::CrashAll => self.crash(vec![0, 1, 2], self.any_crash(), false),
            Kind::SlowWorkers => self.crash(vec![node], Crash::Kill, true),
            Kind::Rot => Fault::Rot { node: victim, seed: self.rng.next_u64(), down_ms: self.down_ms() },
            Kind::Wipe => Fault::Wipe { node: victim, group: self.group(), down_ms: self.down_ms() },
            Kind::Isolate => cut([both(node, one), both(node, other)].concat()),
            Kind::Bridge => cut(both(one, other).to_vec()),
            Kind::OneWay if self.below(2) == 0 => cut(vec![(node, one), (node, other)]),
            Kind::OneWay => cut(vec![(one, node), (other, node)]),
            Kind::Hold => Fault::Hold { link: (one, other), for_ms },
            Kind::SlowLink => Fault::Slow { link: (one, other), latency_ms: 20 + self.below(400), for_ms },
            Kind::SyncFailure => disk(DiskCall::Sync),
            Kind::WriteFailure if self.below(2) == 0 => disk(DiskCall::Write),
            Kind::WriteFailure => disk(DiskCall::ShortWrite),
            Kind::Lie => Fault::Lie { node },
            Kind::Full => Fault::Full { node, for_ms },
            Kind::ClockJump => {
                let by_ms = i64::try_from(self.below(7_200_000)).unwrap_or(0) - 3_600_000;
                Fault::ClockJump { node, by_ms }
            }
            Kind::ClockRate => {
                let ppm = self.one_of(&[0, 500_000, 990_000, 1_010_000, 2_000_000, 4_000_000]);
                Fault::ClockRate { node, ppm, for_ms }
            }
            Kind::Transfer => Fault::Transfer { group: self.group(), node },
            Kind::Snapshot => Fault::Snapshot { group: self.group(), node },
            Kind::Replace => Fault::Replace { group: self.group(), node },
        }
    }
}

impl Fault {
    /// How it is counted.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Crash { is_slow: true, .. } => Kind::SlowWorkers,
            Self::Crash { nodes, .. } if nodes.len() > 1 => Kind::CrashAll,
            Self::Crash { how: Crash::Kill, .. } => Kind::Kill,
            Self::Crash { how: Crash::PowerCut, .. } => Kind::PowerCut,
            Self::Crash { how: Crash::Torn { .. }, .. } => Kind::TornPowerCut,
            Self::Rot { .. } => Kind::Rot,
            Self::Wipe { .. } => Kind::Wipe,
            Self::Cut { links, .. } if links.len() == 4 => Kind::Isolate,
            Self::Cut { links, .. } if links.iter().all(|&(from, to)| links.contains(&(to, from))) => {
                Kind::Bridge
            }
            Self::Cut { .. } => Kind::OneWay,
            Self::Hold { .. } => Kind::Hold,
            Self::Slow { .. } => Kind::SlowLink,
            Self::Disk { call: DiskCall::Sync, .. } => Kind::SyncFailure,
            Self::Disk { .. } => Kind::WriteFailure,
            Self::Lie { .. } => Kind::Lie,
            Self::Full { .. } => Kind::Full,
            Self::ClockJump { .. } => Kind::ClockJump,
            Self::ClockRate { .. } => Kind::ClockRate,
            Self::Transfer { .. } => Kind::Transfer,
            Self::Snapshot { .. } => Kind::Snapshot,
            Self::Replace { .. } => Kind::Replace,
        }
    }
}

/// A place in a list of so many.
pub(super) fn pick(rng: &dyn Rng, count: usize) -> usize {
    usize::try_from(rng.below(count as u64)).expect("below a length")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
