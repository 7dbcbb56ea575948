//! What the actor, its workers and its handles all look at. Locks here are held for a copy, never across the
//! core, I/O or an await.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use quorate_storage::state::StateReader;
use quorate_storage::{GroupId, Index, Timestamp};
use quorate_telemetry::GroupStats;
use quorate_telemetry::stats::GroupState;
use tokio::sync::watch;

use crate::actor::budget::Budget;
use crate::actor::quarantine::Quarantine;
use crate::actor::status::{ActorCounters, GroupStatus, Lifecycle};
use crate::core::Role;
use crate::error::{Error, Result};

/// How long a refused caller is asked to wait.
pub(crate) const RETRY_AFTER: std::time::Duration = std::time::Duration::from_millis(10);

/// State shared by a group's handles, actor and workers.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) group: GroupId,
    pub(crate) requests: Arc<Budget>,
    pub(crate) messages: Arc<Budget>,
    pub(crate) role: watch::Sender<Role>,
    pub(crate) applied: watch::Sender<Index>,
    /// Published by the node's collector.
    pub(crate) stats: Arc<GroupStats>,
    pub(crate) counters: Counters,
    /// Bytes handed to the log writer and to the applier that they have not finished.
    pub(crate) backlog: Arc<AtomicU64>,
    /// The ceiling of the applied state. Set before `applied` is.
    hlc_ceiling: AtomicU64,
    /// Up to where this replica's leadership has a lease for timestamps; 0 without one.
    hlc_lease: AtomicU64,
    /// From here on a live follower needs the log; `u64::MAX` if none holds it.
    log_hold: AtomicU64,
    lifecycle: RwLock<Lifecycle>,
    /// Set while the lifecycle is quarantined.
    quarantine: Mutex<Option<Quarantine>>,
    wants_restart: AtomicBool,
    status: Mutex<GroupStatus>,
    /// As in [`GroupStatus`].
    replay_through: Index,
    reader: RwLock<Option<Arc<dyn StateReader>>>,
}

/// [`ActorCounters`] while they are counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) messages_refused: AtomicU64,
    pub(crate) read_barriers: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        status: GroupStatus,
        (requests, messages): (Arc<Budget>, Arc<Budget>),
        stats: Arc<GroupStats>,
    ) -> Arc<Self> {
        Arc::new(Self {
            group: status.group,
            requests,
            messages,
            role: watch::Sender::new(status.role),
            applied: watch::Sender::new(status.applied),
            stats,
            counters: Counters::default(),
            backlog: Arc::default(),
            hlc_ceiling: AtomicU64::new(status.hlc_ceiling.get()),
            hlc_lease: AtomicU64::new(0),
            log_hold: AtomicU64::new(u64::MAX),
            lifecycle: RwLock::new(status.lifecycle.clone()),
            quarantine: Mutex::default(),
            replay_through: status.replay_through,
            wants_restart: AtomicBool::new(false),
            status: Mutex::new(status),
            reader: RwLock::new(None),
        })
    }

    /// Bytes that the log writer and the applier still have to work off.
    pub(crate) fn backlog_bytes(&self) -> u64 {
        self.backlog.load(Ordering::Relaxed)
    }

    /// The ceiling of the applied state: at least that of every lease at or below `applied`.
    pub(crate) fn hlc_ceiling(&self) -> Timestamp {
        Timestamp(self.hlc_ceiling.load(Ordering::Acquire))
    }

    pub(crate) fn set_hlc_ceiling(&self, ceiling: Timestamp) {
        self.hlc_ceiling.store(ceiling.get(), Ordering::Release);
        self.stats.apply.hlc_ceiling.set(ceiling.get());
    }

    pub(crate) fn set_hlc_lease(&self, lease: Option<Timestamp>) {
        self.hlc_lease.store(lease.map_or(0, Timestamp::get), Ordering::Relaxed);
    }

    /// The end of a request for a timestamp whose deadline has passed.
    pub(crate) fn no_timestamp(&self) -> Error {
        match self.hlc_lease.load(Ordering::Relaxed) {
            0 => Error::NoCeiling { group: self.group },
            lease => Error::CeilingExpired { group: self.group, ceiling: Timestamp(lease) },
        }
    }

    /// What the slowest live follower has, if one holds the log back.
    pub(crate) fn log_hold(&self) -> Option<Index> {
        Some(self.log_hold.load(Ordering::Relaxed)).filter(|hold| *hold < u64::MAX).map(Index)
    }

    pub(crate) fn set_log_hold(&self, hold: Option<Index>) {
        self.log_hold.store(hold.map_or(u64::MAX, Index::get), Ordering::Relaxed);
    }

    /// Refuses a request unless the group runs.
    pub(crate) fn check_running(&self) -> Result<()> {
        match &*self.lifecycle.read() {
            Lifecycle::Running => Ok(()),
            Lifecycle::Stopping | Lifecycle::Stopped => Err(Error::Stopped { group: self.group }),
            Lifecycle::Quarantined(reason) | Lifecycle::Repairing(reason) | Lifecycle::Waiting(reason) => {
                Err(self.refused(reason, false))
            }
        }
    }

    /// The end of a request that was accepted and never answered.
    pub(crate) fn unanswered(&self, may_have_been_appended: bool) -> Error {
        match &*self.lifecycle.read() {
            Lifecycle::Quarantined(reason) => self.refused(reason, may_have_been_appended),
            _ if may_have_been_appended => Error::Indeterminate { group: self.group },
            _ => Error::Stopped { group: self.group },
        }
    }

    /// Moves on in life. A quarantine is final.
    pub(crate) fn set_lifecycle(&self, next: Lifecycle) {
        let mut lifecycle = self.lifecycle.write();
        if !matches!(*lifecycle, Lifecycle::Quarantined(_)) {
            if matches!(next, Lifecycle::Repairing(_)) {
                self.stats.set_state(GroupState::Repairing);
            }
            *lifecycle = next;
        }
    }

    /// Takes the group out of service. The first quarantine stays.
    pub(crate) fn quarantine(&self, quarantine: Quarantine) {
        let mut lifecycle = self.lifecycle.write();
        if !matches!(*lifecycle, Lifecycle::Quarantined(_)) {
            self.stats.set_quarantined(quarantine.reason);
            *lifecycle = Lifecycle::Quarantined(Arc::clone(&quarantine.text));
            *self.quarantine.lock() = Some(quarantine);
        }
    }

    pub(crate) fn is_replaying(&self) -> bool {
        *self.applied.borrow() < self.replay_through
    }

    /// A start would find what this one waited for.
    pub(crate) fn want_restart(&self) {
        self.wants_restart.store(true, Ordering::Release);
    }

    pub(crate) fn wants_restart(&self) -> bool {
        self.wants_restart.load(Ordering::Acquire)
    }

    /// Why the group is out of service, if it is quarantined.
    pub(crate) fn quarantined(&self) -> Option<Quarantine> {
        self.quarantine.lock().clone()
    }

    pub(crate) fn lifecycle(&self) -> Lifecycle {
        self.lifecycle.read().clone()
    }

    pub(crate) fn status(&self) -> GroupStatus {
        let mut status = self.status.lock().clone();
        status.lifecycle = self.lifecycle();
        // The applier may be ahead of the actor's last look; what it has applied is committed.
        status.applied = *self.applied.borrow();
        status.commit = status.commit.max(status.applied);
        status.last = status.last.max(status.commit);
        status.hlc_ceiling = self.hlc_ceiling();
        status
    }

    pub(crate) fn update_status(&self, update: impl FnOnce(&mut GroupStatus)) {
        update(&mut self.status.lock());
    }

    /// The applied state, unless the group never opened it.
    pub(crate) fn reader(&self) -> Option<Arc<dyn StateReader>> {
        self.reader.read().clone()
    }

    /// Nobody reads the state any more who does not already.
    pub(crate) fn clear_reader(&self) {
        *self.reader.write() = None;
    }

    pub(crate) fn set_reader(&self, reader: Arc<dyn StateReader>) {
        *self.reader.write() = Some(reader);
    }

    pub(crate) fn counters(&self) -> ActorCounters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ActorCounters {
            requests_refused: self.requests.refused(),
            messages_dropped: self.messages.refused() + get(&self.counters.messages_refused),
            read_barriers: get(&self.counters.read_barriers),
        }
    }

    fn refused(&self, reason: &Arc<str>, maybe_committed: bool) -> Error {
        Error::Quarantined { group: self.group, reason: Arc::clone(reason), maybe_committed }
    }
}

/// Counts one up, for a counter that nothing is ordered by.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Adds to a counter that nothing is ordered by.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
