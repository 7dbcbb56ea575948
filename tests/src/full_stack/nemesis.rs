//! Carries a schedule out: begins each fault at its moment, ends it in time, and counts those that were one.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use quorate::{GroupId, Room};
use quorate_storage::disk::{CrashMode, DiskFault};
use quorate_telemetry::{Rng, SeededRng};
use turmoil::Sim;

use super::command::Command;
use super::links::{Link, Links, of_node};
use super::schedule::{Crash, DiskCall, Fault, Kind, Schedule, Scheduled, pick};
use super::world::{Shared, live};
use crate::sim::{DATA, NODES, Trace};

/// Latency of links that nothing slows down.
pub(super) const LATENCY_MAX: Duration = Duration::from_millis(3);
/// Room on a disk that gets full, beyond what it holds: less than nodes want.
const ROOM_BYTES: u64 = 160 << 10;
/// Piece of a write that is never torn.
const PIECE_BYTES: usize = 512;

/// What is under way.
pub(super) struct Nemesis {
    shared: Shared,
    trace: Trace,
    waiting: VecDeque<Scheduled>,
    /// What ends, by its moment.
    ends: BTreeMap<(Duration, u64), End>,
    next_end: u64,
    links: Links,
    down: [bool; NODES.len()],
    /// Calls that are to fail, by node, until one did.
    armed: [Vec<Kind>; NODES.len()],
    /// Nodes whose disk is full, and whether they have noticed.
    full: BTreeMap<usize, bool>,
    /// How many faults there were, by kind.
    pub(super) fired: BTreeMap<Kind, u64>,
    /// The machine whose disk rots or was lost.
    pub(super) has_rot: bool,
}

/// The end of a fault.
enum End {
    Start(usize),
    Mend(Vec<Link>),
    Release(Link),
    Speed(Link),
    Room(usize),
    Rate(usize),
}

impl Nemesis {
    pub(super) fn new(shared: Shared, trace: Trace, schedule: Schedule) -> Self {
        Self {
            shared,
            trace,
            waiting: schedule.faults.into(),
            ends: BTreeMap::new(),
            next_end: 0,
            links: Links::default(),
            down: Default::default(),
            armed: Default::default(),
            full: BTreeMap::new(),
            fired: BTreeMap::new(),
            has_rot: false,
        }
    }

    /// What the time has come for.
    pub(super) fn step(&mut self, sim: &mut Sim<'_>) {
        let now = sim.elapsed();
        while let Some(end) = self.ends.first_entry().filter(|end| end.key().0 <= now) {
            let end = end.remove();
            self.end(sim, end);
        }
        while self.waiting.front().is_some_and(|next| Duration::from_millis(next.at_ms) <= now) {
            let Scheduled { fault, .. } = self.waiting.pop_front().expect("just seen");
            self.trace.record_at(now, format_args!("{fault:?}"));
            self.begin(sim, &fault);
        }
    }

    /// Counts the faults of disks that have struck. Now and then.
    pub(super) fn look(&mut self) {
        let world = self.shared.lock();
        for (at, slot) in world.hosts.iter().enumerate() {
            if !self.armed[at].is_empty() && slot.machine.disk.has_failed() {
                for kind in self.armed[at].drain(..) {
                    *self.fired.entry(kind).or_default() += 1;
                }
            }
            let is_low = |slot: &super::world::Slot| {
                slot.node.as_ref().is_some_and(|node| node.disk_room().room != Room::Ample)
            };
            if let Some(is_noticed) = self.full.get_mut(&at).filter(|is_noticed| !**is_noticed)
                && is_low(slot)
            {
                *is_noticed = true;
                *self.fired.entry(Kind::Full).or_default() += 1;
            }
        }
    }

    /// Everything that is still wrong ends now, and nothing more goes wrong.
    pub(super) fn heal(&mut self, sim: &mut Sim<'_>) {
        self.waiting.clear();
        while let Some((_, end)) = self.ends.pop_first() {
            self.end(sim, end);
        }
        for slot in &self.shared.lock().hosts {
            slot.machine.disk.heal();
            slot.machine.disk.clear_faults();
            // Who is started meanwhile has a clock that is right.
            if let Some(commands) = &slot.commands {
                let _ = commands.send(Command::MendClock);
            }
        }
        self.armed = Default::default();
    }

    /// Stops a node's process and starts it again at once, as an operator does.
    pub(super) fn restart(&mut self, sim: &mut Sim<'_>, at: usize) {
        if self.stop(sim, at, CrashMode::KeepAll) {
            self.end(sim, End::Start(at));
        }
    }

    fn begin(&mut self, sim: &mut Sim<'_>, fault: &Fault) {
        let kind = fault.kind();
        let has_fired = match fault {
            Fault::Crash { nodes, how, down_ms, is_slow } => {
                self.crash(sim, (nodes, *how), *down_ms, *is_slow)
            }
            Fault::Rot { node, seed, down_ms } => {
                let is_down = self.crash(sim, (&[*node], Crash::Kill), *down_ms, false);
                is_down && self.rot(*node, *seed)
            }
            Fault::Wipe { node, group, down_ms } => {
                let is_down = self.crash(sim, (&[*node], Crash::PowerCut), *down_ms, false);
                is_down && self.wipe(*node, *group)
            }
            Fault::Cut { links, for_ms } => {
                self.links.cut(sim, links);
                self.ends_in(sim, *for_ms, End::Mend(links.clone()))
            }
            Fault::Hold { link, for_ms } => {
                sim.hold(NODES[link.0], NODES[link.1]);
                self.ends_in(sim, *for_ms, End::Release(*link))
            }
            Fault::Slow { link, latency_ms, for_ms } => {
                set_latency(sim, *link, Duration::from_millis(*latency_ms));
                self.ends_in(sim, *for_ms, End::Speed(*link))
            }
            Fault::Disk { node, call, part } => {
                let fault = match call {
                    DiskCall::Sync => DiskFault::FailedSyncs,
                    DiskCall::Write => DiskFault::FailedWrites,
                    DiskCall::ShortWrite => DiskFault::ShortWrites,
                };
                if !self.down[*node] {
                    self.shared.lock().hosts[*node].machine.disk.fail_once(part.directory(), fault);
                    self.armed[*node].push(kind);
                }
                // Counted when it strikes.
                false
            }
            Fault::Lie { node } => {
                self.shared.lock().hosts[*node].machine.disk.ignore_syncs(true);
                true
            }
            Fault::Full { node, for_ms } => {
                let disk = self.shared.lock().hosts[*node].machine.disk.clone();
                let used: u64 = disk.files().iter().map(|(_, bytes)| bytes).sum();
                disk.set_capacity(Some(used + ROOM_BYTES));
                self.full.insert(*node, false);
                self.ends_in(sim, *for_ms, End::Room(*node));
                false
            }
            Fault::ClockJump { node, by_ms } => self.command(*node, Command::SetClock(*by_ms)),
            Fault::ClockRate { node, ppm, for_ms } => {
                self.ends_in(sim, *for_ms, End::Rate(*node));
                self.command(*node, Command::RateClock(*ppm))
            }
            Fault::Transfer { group, node } => self.command(*node, Command::Transfer(GroupId(*group))),
            Fault::Snapshot { group, node } => self.command(*node, Command::Snapshot(GroupId(*group))),
            Fault::Replace { group, node } => self.command(*node, Command::Replace(GroupId(*group))),
        };
        if has_fired {
            *self.fired.entry(kind).or_default() += 1;
        }
    }

    fn end(&mut self, sim: &mut Sim<'_>, end: End) {
        match end {
            End::Start(at) => {
                self.down[at] = false;
                self.links.mend(sim, &of_node(at));
                self.shared.lock().hosts[at].machine.boot(sim.elapsed());
                sim.bounce(NODES[at]);
            }
            End::Mend(links) => self.links.mend(sim, &links),
            End::Release((one, other)) => sim.release(NODES[one], NODES[other]),
            End::Speed(link) => set_latency(sim, link, LATENCY_MAX),
            End::Room(at) => {
                self.full.remove(&at);
                self.shared.lock().hosts[at].machine.disk.set_capacity(None);
            }
            End::Rate(at) => {
                self.command(at, Command::RateClock(1_000_000));
            }
        }
    }

    fn ends_in(&mut self, sim: &Sim<'_>, ms: u64, end: End) -> bool {
        self.next_end += 1;
        self.ends.insert((sim.elapsed() + Duration::from_millis(ms), self.next_end), end);
        true
    }

    fn command(&self, at: usize, command: Command) -> bool {
        !self.down[at] && self.shared.lock().command(at, command)
    }

    /// Whether one of them was up.
    fn crash(
        &mut self,
        sim: &mut Sim<'_>,
        (nodes, how): (&[usize], Crash),
        down_ms: u64,
        is_slow: bool,
    ) -> bool {
        let mode = match how {
            Crash::Kill => CrashMode::KeepAll,
            Crash::PowerCut => CrashMode::LoseUnsynced,
            Crash::Torn { seed } => CrashMode::KeepPieces { seed, piece_bytes: PIECE_BYTES },
        };
        let mut has_stopped = false;
        for &at in nodes {
            if self.stop(sim, at, mode) {
                has_stopped = true;
                self.shared.lock().hosts[at].machine.is_slow = is_slow;
                self.ends_in(sim, down_ms, End::Start(at));
            }
        }
        has_stopped
    }

    /// Whether it was up. A machine that stops says nothing more: turmoil drops its tasks in an order that depends on
    /// what else the process runs, and their last words would not be the same in each run.
    fn stop(&mut self, sim: &mut Sim<'_>, at: usize, mode: CrashMode) -> bool {
        if std::mem::replace(&mut self.down[at], true) {
            return false;
        }
        self.links.cut(sim, &of_node(at));
        self.armed[at].clear();
        let node = {
            let slot = &mut self.shared.lock().hosts[at];
            (slot.commands, slot.refused) = (None, None);
            slot.node.take()
        };
        sim.crash(NODES[at]);
        drop(node);
        self.shared.lock().hosts[at].machine.crash(mode);
        true
    }

    fn rot(&mut self, at: usize, seed: u64) -> bool {
        let disk = self.shared.lock().hosts[at].machine.disk.clone();
        let rng = SeededRng::new(seed);
        let mut written = Vec::new();
        // Who has lost what is in the data directory itself is another node.
        let files =
            disk.files().into_iter().filter(|(path, _)| path.starts_with(Path::new(DATA).join("groups")));
        for (path, _) in files {
            let parts = disk.written(&path).unwrap_or_default();
            written.extend(parts.into_iter().map(|part| (path.clone(), part)));
        }
        // By file first: most bytes are of logs.
        let Some((path, part)) = (!written.is_empty()).then(|| &written[pick(&rng, written.len())]) else {
            return false;
        };
        let offset = part.start + rng.below(part.end - part.start);
        self.has_rot = true;
        self.trace.record_at(Duration::ZERO, format_args!("rot {} {offset}", path.display()));
        disk.flip(path, offset, 1 << rng.below(8)).is_ok()
    }

    fn wipe(&mut self, at: usize, group: u64) -> bool {
        self.has_rot = true;
        self.shared.lock().hosts[at].machine.wipe(group).is_ok()
    }
}

fn set_latency(sim: &Sim<'_>, (one, other): Link, max: Duration) {
    sim.set_link_max_message_latency(NODES[one], NODES[other], max);
}

/// Adds the three hosts.
pub(super) fn add_hosts(sim: &mut Sim<'_>, shared: &Shared, trace: &Trace) {
    for (at, name) in NODES.into_iter().enumerate() {
        let (shared, trace) = (shared.clone(), trace.clone());
        sim.host(name, move || live(at, shared.clone(), trace.clone()));
    }
}
