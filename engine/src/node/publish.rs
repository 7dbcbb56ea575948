//! Once a second, what the groups and the transport have counted goes to the metrics collector.

use std::sync::Arc;

use quorate_shard::actor::{ActorCounters, GroupHandle, Lifecycle};
use quorate_telemetry::collector::{Collector, CollectorConfig, PUBLISH_INTERVAL};
use quorate_telemetry::stats::{Count, GroupState, GroupStats, Lane, NodeStats, Outcome};

use super::Core;
