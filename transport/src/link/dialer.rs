//! The task of one lane to one node: waits for demand, dials, runs the session, backs off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use quorate_storage::NodeId;
use quorate_telemetry::Clock;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::error::{Error, Result};
use crate::handshake::Established;
use crate::link::Outbox;
use crate::link::backoff::Backoff;
use crate::link::outbox::{OutboxLimits, Rejected};
use crate::link::session::Session;
use crate::message::{Lane, RaftMessage};
use crate::shared::{Shared, wall_ahead_ms};
use crate::stats::add;

/// No pong has come yet.
const UNKNOWN_CLOCK: i64 = i64::MIN;

/// One lane to one node.
#[derive(Debug)]
pub(crate) struct Dialer {
    pub(crate) node: NodeId,
    pub(crate) lane: Lane,
    pub(crate) outbox: Outbox,
    is_up: AtomicBool,
    /// How far the node's clock is ahead; [`UNKNOWN_CLOCK`] before the first pong of a connection.
    peer_clock_ms: AtomicI64,
    /// The node was found dead on its other lane.
    suspected: Notify,
}

impl Dialer {
    pub(crate) fn new(node: NodeId, lane: Lane, config: &crate::Config) -> Self {
        let limits = OutboxLimits {
            messages_max: config.queue_messages_max,
            bytes_max: config.queue_bytes_max,
            in_flight_max: config.requests_in_flight_max,
            frame_bytes_max: config.frame_bytes_max,
        };
        let outbox = Outbox::new(node, limits);
        Self {
            node,
            lane,
            outbox,
            is_up: AtomicBool::new(false),
            peer_clock_ms: AtomicI64::new(UNKNOWN_CLOCK),
            suspected: Notify::new(),
        }
    }

    /// Whether a connection stands, handshake included.
    pub(crate) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Acquire)
    }

    /// How far the node's clock is ahead of ours now: a jump of ours since the last pong counts.
    pub(crate) fn clock_offset_ms(&self, clock: &dyn Clock) -> Option<i64> {
        let peer_ms = self.peer_clock_ms.load(Ordering::Relaxed);
        (self.is_up() && peer_ms != UNKNOWN_CLOCK).then(|| peer_ms.saturating_sub(wall_ahead_ms(clock)))
    }

    /// Queues a message or drops it, counted.
    pub(crate) fn send(&self, message: RaftMessage, shared: &Shared) {
        if let Err(rejected) = self.outbox.push_message(message) {
            add(&shared.stats.messages_dropped, 1);
            if rejected == Rejected::Oversized {
                add(&shared.stats.messages_oversized, 1);
            }
        }
    }

    /// Runs until the transport stops. `other` is the lane beside this one.
    pub(crate) async fn run(self: Arc<Self>, other: Arc<Self>, shared: Arc<Shared>) {
        tokio::select! {
            biased;
            () = shared.stopped.cancelled() => {}
            () = self.report_dropped(&shared) => {}
            () = self.dial_on_demand(&other, &shared) => {}
        }
        self.is_up.store(false, Ordering::Release);
        self.outbox.close();
        self.outbox.fail_sent();
        self.drop_queued(&shared);
        let dropped = self.outbox.take_dropped_now();
        if !dropped.is_empty() {
            shared.handler.unreachable(self.node, &dropped);
        }
    }

    async fn report_dropped(&self, shared: &Shared) {
        loop {
            let dropped = self.outbox.take_dropped().await;
            shared.handler.unreachable(self.node, &dropped);
        }
    }

    async fn dial_on_demand(&self, other: &Self, shared: &Shared) {
        let mut backoff = Backoff::new(shared.config.backoff_min, shared.config.backoff_max);
        loop {
            tokio::select! {
                biased;
                () = shared.draining.cancelled() => return,
                () = self.outbox.demand() => {}
            }
            if backoff.is_pausing() {
                self.drop_queued(shared);
                continue;
            }
            if self.lane == Lane::Bulk {
                // The control lane is the one that finds out whether the node lives.
                other.outbox.want_connection();
            }
            match self.connect(shared).await {
                Ok(connection) => self.run_session(connection, &mut backoff, other, shared).await,
                Err(error) => {
                    add(&shared.stats.connect_failures, 1);
                    shared.stats.count_end(&error);
                    tracing::debug!(node = %self.node, lane = ?self.lane, %error, "cannot connect");
                    backoff.failed(&*shared.rng);
                    self.suspect(other);
                    self.drop_queued(shared);
                }
            }
        }
    }

    async fn connect(&self, shared: &Shared) -> Result<Established> {
        let addr = shared.peers.address(self.node).ok_or(Error::UnknownAddress(self.node))?;
        let stream = timeout(shared.config.connect_timeout, shared.net.connect(addr))
            .await
            .map_err(|_| Error::Deadline { what: "connection" })?
            .map_err(|source| Error::io("connect", source))?;
        shared.handshake().dial(stream, self.node, self.lane).await
    }

    async fn run_session(
        &self,
        connection: Established,
        backoff: &mut Backoff,
        other: &Self,
        shared: &Shared,
    ) {
        add(&shared.stats.connects, 1);
        tracing::debug!(node = %self.node, lane = ?self.lane, "connected");
        let since = Instant::now();
        let session = Session {
            outbox: &self.outbox,
            stats: &shared.stats,
            draining: &shared.draining,
            clock: &*shared.clock,
            peer_clock_ms: &self.peer_clock_ms,
            ping_interval: shared.config.ping_interval,
            silent_intervals_max: shared.config.silent_intervals_max,
            frame_bytes_max: shared.config.frame_bytes_max,
        };
        self.peer_clock_ms.store(UNKNOWN_CLOCK, Ordering::Relaxed);
        // Made before anybody may take this lane for standing: it hears of every suspicion from here on, and of none before.
        let suspected = self.suspected.notified();
        self.is_up.store(true, Ordering::Release);
        let end = tokio::select! {
            biased;
            end = session.run(connection) => end,
            () = suspected => Err(Error::Silent),
        };
        self.is_up.store(false, Ordering::Release);
        self.outbox.fail_sent();
        let Err(error) = end else { return };
        shared.stats.count_end(&error);
        tracing::debug!(node = %self.node, lane = ?self.lane, %error, "connection ended");
        // Whichever side found it dead: what the bulk lane has sent may be lost as well.
        self.suspect(other);
        if matches!(error, Error::Silent) {
            self.drop_queued(shared);
        }
        // A connection that breaks at once, again and again, is no success.
        if since.elapsed() >= shared.config.backoff_max {
            backoff.succeeded();
        } else {
            backoff.failed(&*shared.rng);
        }
    }

    /// The control lane speaks for both: what it cannot reach, the bulk lane shall not wait for.
    fn suspect(&self, other: &Self) {
        if self.lane == Lane::Control && other.is_up() {
            // No suspicion is kept for a connection that is yet to come.
            other.suspected.notify_waiters();
        }
    }

    fn drop_queued(&self, shared: &Shared) {
        let dropped = self.outbox.fail_queued();
        add(&shared.stats.messages_dropped, dropped);
    }
}
