//! Metrics, health and three of the five seams of Quorate: [`Clock`], [`Rng`] and [`Workers`].
//!
//! This crate depends on nothing of ours. Hot paths touch plain atomics; a collector publishes them once a
//! second to a recorder that the embedder brings.

pub mod clock;
pub mod rng;
pub mod workers;

pub use clock::{BootId, Clock, SimClock, SystemClock};
pub use rng::{Rng, SeededRng, SystemRng};
pub use workers::{Job, SimWorkers, SimWorkersConfig, Stopped, ThreadWorkers, Workers};
