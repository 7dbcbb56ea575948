//! What happened in a simulation, in order: two runs of one seed must agree on all of it.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// A shared record of events at virtual times, of which their sum is kept. Clones write the same one.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    record: Arc<Mutex<Record>>,
}

#[derive(Debug, Default)]
struct Record {
    hasher: crc32fast::Hasher,
    count: u64,
    line: String,
}

/// What two runs of one seed have in common: how many events, and their checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TraceSum {
    /// How many events.
    pub count: u64,
    /// CRC-32 of all of them, in order.
    pub crc: u32,
}

impl Trace {
    /// Adds an event at the simulation's time.
    pub fn record(&self, event: impl fmt::Display) {
        let at = turmoil::sim_elapsed().unwrap_or(Duration::ZERO);
        self.record_at(at, event);
    }

    /// Adds an event at a time.
    pub fn record_at(&self, at: Duration, event: impl fmt::Display) {
        let record = &mut *self.record.lock();
        record.line.clear();
        write!(record.line, "{:>12} {event}", at.as_micros()).expect("a string takes everything");
        record.hasher.update(record.line.as_bytes());
        record.count += 1;
    }

    /// The sum of all events so far.
    pub fn sum(&self) -> TraceSum {
        let record = self.record.lock();
        TraceSum { count: record.count, crc: record.hasher.clone().finalize() }
    }
}
