//! What all tasks of one transport have in common.

use std::sync::Arc;
use std::time::Duration;

use quorate_telemetry::{Clock, Rng};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::handler::Handler;
use crate::handshake::{Handshake, Identity};
use crate::net::Net;
use crate::peers::Peers;
use crate::stats::Stats;

/// Shared by the listener, the lanes and the connections.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    pub(crate) net: Arc<dyn Net>,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stats: Arc<Stats>,
    /// Finish: write what waits, take nothing new.
    pub(crate) draining: CancellationToken,
    /// End at once.
    pub(crate) stopped: CancellationToken,
}

impl Shared {
    pub(crate) fn handshake(&self) -> Handshake<'_> {
        Handshake {
            identity: self.identity,
            peers: &*self.peers,
            deadline: self.config.handshake_timeout,
            frame_bytes_max: self.config.frame_bytes_max,
        }
    }
}

/// The wall clock in milliseconds since the Unix epoch.
pub(crate) fn wall_ms(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.wall().as_millis()).unwrap_or(u64::MAX)
}

/// How far the wall clock is ahead of the monotonic one, in milliseconds: it changes only where the wall clock jumps or
/// drifts.
pub(crate) fn wall_ahead_ms(clock: &dyn Clock) -> i64 {
    let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    millis(clock.wall()).saturating_sub(millis(clock.monotonic()))
}

/// Held by every task; when the last one is gone, who waits for them is told.
#[derive(Clone, Debug)]
pub(crate) struct Alive {
    _sender: mpsc::Sender<()>,
}

impl Alive {
    pub(crate) fn new() -> (Self, mpsc::Receiver<()>) {
        let (sender, all_gone) = mpsc::channel(1);
        (Self { _sender: sender }, all_gone)
    }
}
