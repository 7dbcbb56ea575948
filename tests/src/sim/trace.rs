//! What happened in a simulation, in order: two runs of one seed must agree on all of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// A shared, ordered record of events at virtual times.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    events: Arc<Mutex<Vec<String>>>,
}

impl Trace {
    /// Adds an event at the simulation's time.
    pub fn record(&self, event: impl fmt::Display) {
        let at = turmoil::sim_elapsed().unwrap_or(Duration::ZERO);
        self.events.lock().push(format!("{:>12} {event}", at.as_micros()));
    }

    /// All events so far.
    pub fn events(&self) -> Vec<String> {
        self.events.lock().clone()
    }
}
