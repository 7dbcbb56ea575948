//! Tells every other node which groups this one leads: changes at once, everything about once a second. So every
//! node knows the leader of every group, also of those it has no replica of.
//!
//! Idle, that is one request of some bytes per group led, per node pair and second. A node with very many groups
//! tells all of them less often.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_shard::rpc::{self, Announcement, LED_MAX, Led, Reply, Request};
use quorate_storage::NodeId;
use quorate_transport::Lane;
use tokio::task::{AbortHandle, JoinSet};

use super::Core;

/// How long a peer may take to answer. A request to one that is down waits for its connection: it is there at
/// once when the peer is back.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Pause between two announcements of everything; half of it is jitter around this mean.
const REFRESH: Duration = Duration::from_secs(1);
/// Groups that are told in each [`REFRESH`]; a node that leads more tells all of them less often.
const REFRESHED_MAX: usize = 1_024;
/// A lost leadership is told at once, by telling all that are left, if they are no more than this.
const PROMPT_MAX: usize = 256;
/// Changes within this time travel together.
const SPACING: Duration = Duration::from_millis(5);
/// First pause after a failure; doubled up to [`REFRESH`].
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Runs until the node stops: one announcer for each other node of the catalog.
pub(super) async fn run(core: Arc<Core>) {
    let mut catalogs = core.copy.changes();
    let mut announcers: BTreeMap<NodeId, AbortHandle> = BTreeMap::new();
    // They end with this task.
    let mut tasks = JoinSet::new();
    loop {
        catalogs.mark_seen();
        let catalog = core.copy.load();
        announcers.retain(|node, announcer| {
            let is_there = catalog.nodes.contains_key(node);
            if !is_there {
                announcer.abort();
            }
            is_there
        });
        for &node in catalog.nodes.keys().filter(|&&node| node != core.config.node) {
            let start = || tasks.spawn(Announcer::new(Arc::clone(&core), node).run());
            announcers.entry(node).or_insert_with(start);
        }
        tokio::select! {
            biased;
            () = core.stopping.cancelled() => return,
            () = catalogs.changed() => {}
        }
    }
}

/// Keeps one other node informed: one request at a time, made when it is sent.
struct Announcer {
    core: Arc<Core>,
    peer: NodeId,
    /// What the peer was told last; `None` if that is not known.
    told: Option<Vec<Led>>,
    /// When everything is told again, on the monotonic clock.
    refresh_at: Duration,
    failures: u32,
}

impl Announcer {
    fn new(core: Arc<Core>, peer: NodeId) -> Self {
        Self { core, peer, told: None, refresh_at: Duration::ZERO, failures: 0 }
    }

    async fn run(mut self) {
        let mut changes = self.core.router.leaders().changes();
        loop {
            changes.mark_seen();
            let led = self.core.router.leaders().led_by(self.core.config.node);
            let pause = match self.news(&led) {
                Some(announcement) => self.tell(announcement, led).await,
                None => SPACING,
            };
            tokio::time::sleep(pause).await;
            if self.failures > 0 {
                continue;
            }
            let until_refresh = self.refresh_at.saturating_sub(self.core.seams.clock.monotonic());
            tokio::select! {
                biased;
                () = changes.changed() => {}
                () = tokio::time::sleep(until_refresh) => {}
            }
        }
    }

    /// What the peer has to be told now, if anything.
    fn news(&self, led: &[Led]) -> Option<Announcement> {
        let told = self.told.as_deref();
        let Some(told) = told.filter(|_| self.core.seams.clock.monotonic() < self.refresh_at) else {
            return Some(everything(led));
        };
        let is_lost = |old: &Led| led.binary_search_by_key(&old.group, |led| led.group).is_err();
        if led.len() <= PROMPT_MAX && told.iter().any(is_lost) {
            return Some(everything(led));
        }
        let is_new = |new: &&Led| match told.binary_search_by_key(&new.group, |led| led.group) {
            Ok(at) => told[at] != **new,
            Err(_) => true,
        };
        let gained: Vec<Led> = led.iter().filter(is_new).take(LED_MAX).copied().collect();
        (!gained.is_empty()).then_some(Announcement { is_complete: false, led: gained })
    }

    /// Tells the peer. Returns how long to wait at least before the next time.
    async fn tell(&mut self, announcement: Announcement, led: Vec<Led>) -> Duration {
        let was_everything = announcement.is_complete;
        if !self.send(announcement).await {
            self.told = None;
            self.failures = self.failures.saturating_add(1);
            return RETRY_PAUSE.saturating_mul(1 << self.failures.min(8)).min(REFRESH);
        }
        if was_everything {
            self.refresh_at = self.core.seams.clock.monotonic() + self.interval(led.len());
        }
        self.told = Some(led);
        self.failures = 0;
        SPACING
    }

    /// Whether the peer has taken all of it.
    async fn send(&self, announcement: Announcement) -> bool {
        let body = Request::Leaders(announcement).encode().expect("cut to what one announcement may hold");
        let transport = &self.core.transport;
        let reply = transport.request(self.peer, rpc::KIND, body, Lane::Control, TIMEOUT).await;
        matches!(reply.map(|body| Reply::decode(&body)), Ok(Ok(Reply::Done)))
    }

    fn interval(&self, led: usize) -> Duration {
        let loads = u32::try_from(led.div_ceil(REFRESHED_MAX)).unwrap_or(u32::MAX).max(1);
        let mean = REFRESH.saturating_mul(loads);
        let micros = u64::try_from(mean.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(micros / 4 * 3 + self.core.seams.rng.below(micros / 2))
    }
}

/// All of `led`; too many for one announcement are cut, and not called everything.
fn everything(led: &[Led]) -> Announcement {
    Announcement { is_complete: led.len() <= LED_MAX, led: led.iter().take(LED_MAX).copied().collect() }
}
