//! The network between nodes: a latency of its own for each packet (so packets overtake each other), loss, duplicates,
//! and links that are cut in one direction or both.

use std::time::Duration;

use super::dice::Dice;
use super::event::NodeAt;
use super::settings::NODES;

/// A packet takes at least so long.
const LATENCY_MIN: Duration = Duration::from_micros(200);
/// And at most so long, on a day without faults.
const LATENCY_MAX: Duration = Duration::from_millis(3);

/// What is wrong with the network now. Several faults of one kind at a time: the last that began counts.
#[derive(Debug)]
pub(crate) struct Network {
    dice: Dice,
    /// How many faults cut the link, by sender and addressee.
    cuts: [[u32; NODES]; NODES],
    pub(crate) loss_permille: u64,
    pub(crate) duplicate_permille: u64,
    pub(crate) latency_max: Duration,
}

/// When copies of a packet arrive: none, one, or two.
pub(crate) type Arrivals = [Option<Duration>; 2];

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed, 0x4e),
            cuts: [[0; NODES]; NODES],
            loss_permille: 0,
            duplicate_permille: 0,
            latency_max: LATENCY_MAX,
        }
    }

    /// Whether the link is cut in this direction.
    pub(crate) fn is_cut(&self, from: NodeAt, to: NodeAt) -> bool {
        self.cuts[from][to] > 0
    }

    pub(crate) fn cut(&mut self, from: NodeAt, to: NodeAt) {
        self.cuts[from][to] += 1;
    }

    pub(crate) fn mend(&mut self, from: NodeAt, to: NodeAt) {
        self.cuts[from][to] -= 1;
    }

    pub(crate) fn set_latency(&mut self, max: Option<Duration>) {
        self.latency_max = max.unwrap_or(LATENCY_MAX);
    }

    /// After how long the copies of a packet arrive.
    pub(crate) fn carry(&mut self, from: NodeAt, to: NodeAt) -> Arrivals {
        if self.is_cut(from, to) || self.dice.permille(self.loss_permille) {
            return [None, None];
        }
        let first = self.latency();
        let second = self.dice.permille(self.duplicate_permille).then(|| self.latency());
        [Some(first), second]
    }

    fn latency(&mut self) -> Duration {
        self.dice.between(LATENCY_MIN, self.latency_max)
    }
}
