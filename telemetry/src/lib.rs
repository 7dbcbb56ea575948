//! Metrics, health and three of the five seams of Quorate: [`Clock`], [`Rng`] and [`Workers`].
//!
//! This crate depends on nothing of ours. Hot paths touch plain atomics ([`stats`]); a [`collector`] publishes them
//! once a second to a recorder that the embedder brings, or to that of the [`exporter`].

pub mod clock;
pub mod collector;
pub mod exporter;
pub mod health;
pub mod names;
pub mod rng;
pub mod stats;
pub mod workers;

use std::sync::Arc;

pub use clock::{BootId, Clock, SimClock, SystemClock};
pub use collector::{Collector, CollectorConfig};
pub use exporter::Exporter;
pub use health::Health;
pub use rng::{Rng, SeededRng, SystemRng};
pub use stats::{GroupStats, NodeStats};
pub use workers::{Job, SimWorkers, SimWorkersConfig, Stopped, ThreadWorkers, Workers};

/// Where metrics go. Several nodes may share one: every series carries a `node` label.
pub type SharedRecorder = Arc<dyn metrics::Recorder + Send + Sync>;
