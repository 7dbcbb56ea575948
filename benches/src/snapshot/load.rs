//! The writers of the other groups: a fixed rate, measured in parts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use quorate::Node;
use quorate_telemetry::Rng as _;
use quorate_telemetry::rng::SeededRng;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::keys::small_key;

/// Longest latency told apart, in microseconds.
const LATENCY_US_MAX: u64 = 60_000_000;

/// Clients that write at a fixed rate until they are told to stop. A write that begins late, because the one before
/// took long, counts from when it should have begun: a stall is not hidden by those who wait for it.
pub(super) struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

/// What one part of a run measured.
pub(super) struct Part {
    pub(super) latency: Histogram<u64>,
    /// The longest latency of the writes that ended in each second, in microseconds.
    pub(super) worst_us: Vec<u64>,
    pub(super) errors: u64,
    pub(super) elapsed: Duration,
}

impl Part {
    /// This part and the one that followed.
    pub(super) fn with(&self, next: &Self) -> Self {
        let mut latency = self.latency.clone();
        latency.add(&next.latency).expect("equal bounds");
        Self {
            latency,
            worst_us: [self.worst_us.as_slice(), &next.worst_us].concat(),
            errors: self.errors + next.errors,
            elapsed: self.elapsed + next.elapsed,
        }
    }
}

struct Shared {
    measured: Mutex<Measured>,
    is_stopped: AtomicBool,
}

struct Measured {
    latency: Histogram<u64>,
    worst_us: Vec<u64>,
    errors: u64,
    since: Instant,
}

/// How the writers write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Writes a second of all clients together.
    pub(super) per_second: u32,
    pub(super) clients: u32,
    pub(super) value_bytes: usize,
    pub(super) groups: u16,
    pub(super) seed: u64,
}

impl Measured {
    fn new() -> Self {
        let latency = Histogram::new_with_max(LATENCY_US_MAX, 3).expect("bounds are constants");
        Self { latency, worst_us: Vec::new(), errors: 0, since: Instant::now() }
    }

    fn record(&mut self, micros: u64) {
        self.latency.saturating_record(micros);
        let second = usize::try_from(self.since.elapsed().as_secs()).unwrap_or(usize::MAX);
        if self.worst_us.len() <= second {
            self.worst_us.resize(second + 1, 0);
        }
        self.worst_us[second] = self.worst_us[second].max(micros);
    }
}

impl Load {
    /// Starts the clients, spread over `nodes`.
    pub(super) fn start(nodes: &[Node], rate: Rate) -> Self {
        let shared =
            Arc::new(Shared { measured: Mutex::new(Measured::new()), is_stopped: AtomicBool::new(false) });
        let mut clients = JoinSet::new();
        for client in 0..rate.clients {
            let node = nodes[client as usize % nodes.len()].clone();
            clients.spawn(write(node, client, rate, Arc::clone(&shared)));
        }
        Self { shared, clients }
    }

    /// What was measured since the last call, or the start.
    pub(super) fn take(&self) -> Part {
        let Measured { latency, worst_us, errors, since } =
            std::mem::replace(&mut *self.shared.measured.lock(), Measured::new());
        Part { latency, worst_us, errors, elapsed: since.elapsed() }
    }

    pub(super) async fn stop(mut self) {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        while self.clients.join_next().await.is_some() {}
    }
}

async fn write(node: Node, client: u32, rate: Rate, shared: Arc<Shared>) {
    let rng = SeededRng::new(rate.seed.wrapping_mul(1_000_003).wrapping_add(u64::from(client)));
    let pause = Duration::from_secs(1) * rate.clients / rate.per_second.max(1);
    // Evenly out of step.
    let mut due = Instant::now() + pause * client / rate.clients;
    let mut number = 0_u64;
    while !shared.is_stopped.load(Ordering::Relaxed) {
        tokio::time::sleep_until(due).await;
        number += 1;
        let mut value = vec![b'v'; rate.value_bytes.max(16)];
        value[..8].copy_from_slice(&number.to_le_bytes());
        let is_written = node.put(small_key(rng.next_u64(), rate.groups), value).await.is_ok();
        let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(LATENCY_US_MAX);
        let mut measured = shared.measured.lock();
        if is_written {
            measured.record(micros);
        } else {
            measured.errors += 1;
        }
        drop(measured);
        due += pause;
    }
}
