//! What everything in a simulated world shares: time, chance, the network, and those who watch.

use std::time::Duration;

use super::client::{self, Answer};
use super::dice::Dice;
use super::event::{Event, Job, NodeAt, Place, Queue};
use super::invariants::{Checked, Laws, Violation};
use super::network::Network;
use super::packet::Packet;
use super::report::Counts;
use super::settings::{NODES, PROOF_DELAY};
use super::trace::TraceHash;

/// A write with its sync takes as long as this, on a disk without faults.
const WRITE: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(4));
/// So long everything else does that workers do.
const WORK: (Duration, Duration) = (Duration::from_micros(20), Duration::from_millis(1));
/// A slow disk is so many times slower.
const SLOWNESS: u32 = 60;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Ctx {
    pub(crate) now: Duration,
    pub(crate) queue: Queue,
    pub(crate) network: Network,
    pub(crate) laws: Laws,
    pub(crate) trace: TraceHash,
    pub(crate) counts: Counts,
    /// Which disks are slow: how many faults say so.
    pub(crate) slow: [u32; NODES],
    /// The first law that was broken.
    pub(crate) broken: Option<Violation>,
    dice: Dice,
}

impl Ctx {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            queue: Queue::default(),
            network: Network::new(seed),
            laws: Laws::default(),
            trace: TraceHash::default(),
            counts: Counts::default(),
            slow: [0; NODES],
            broken: None,
            dice: Dice::new(seed, 0xc7),
        }
    }

    /// Has `event` happen after `delay`.
    pub(crate) fn after(&mut self, delay: Duration, event: Event) {
        self.queue.add(self.now + delay, event);
    }

    /// Gives a job to a worker, whose turn comes after a while.
    pub(crate) fn submit(&mut self, place: Place, job: Job) {
        let delay = match job {
            Job::Prove { .. } => PROOF_DELAY,
            Job::Log | Job::Publish => self.dice.between(WRITE.0, WRITE.1) * self.slowness(place.node),
            Job::Apply | Job::Fetch(_) | Job::Label => self.dice.between(WORK.0, WORK.1),
        };
        self.after(delay, Event::Job { place, job });
    }

    /// Sends a packet from node to node.
    pub(crate) fn send(&mut self, from: NodeAt, to: NodeAt, packet: Packet) {
        let arrivals = self.network.carry(from, to);
        self.counts.packets += 1;
        let [first, second] = arrivals;
        if first.is_none() {
            self.counts.packets_lost += 1;
        }
        if let Some(delay) = second {
            self.counts.packets_doubled += 1;
            self.after(delay, Event::Packet { from, to, packet: Box::new(packet.clone()) });
        }
        if let Some(delay) = first {
            self.after(delay, Event::Packet { from, to, packet: Box::new(packet) });
        }
    }

    /// Tells a client how its attempt ended.
    pub(crate) fn answer(&mut self, client: usize, attempt: u64, answer: Answer) {
        let delay = self.client_latency();
        self.after(delay, Event::Answered { client, attempt, answer });
    }

    /// How long anything is under way between a client and a node.
    pub(crate) fn client_latency(&mut self) -> Duration {
        self.dice.between(client::LATENCY.0, client::LATENCY.1)
    }

    /// A moment within `span`.
    pub(crate) fn moment(&mut self, span: Duration) -> Duration {
        self.dice.between(Duration::ZERO, span)
    }

    /// Takes down a law that was broken; the run ends with it.
    pub(crate) fn uphold(&mut self, checked: Checked) {
        if let Err(violation) = checked {
            self.broken.get_or_insert(violation);
        }
    }

    fn slowness(&self, node: NodeAt) -> u32 {
        if self.slow[node] > 0 { SLOWNESS } else { 1 }
    }
}
