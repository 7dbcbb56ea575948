//! Opening a group: everything that happens before its raft node exists.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use quorate_storage::GroupId;
use quorate_storage::cold_start::{ColdStartReport, RefusalReason};
use quorate_storage::identity::Divergence;
use quorate_telemetry::Workers;
use quorate_telemetry::stats::{GroupState, QuarantineReason};
use tokio::sync::oneshot;

use crate::actor::handle::GroupHandle;
use crate::actor::launch::{Opened, launch};
use crate::actor::open::{Found, find_replica};
use crate::actor::quarantine::{Quarantine, Remedy, reason_of};
use crate::actor::report;
use crate::actor::spec::{GroupDeps, StartSpec};
use crate::core::StartRefused;
use crate::repair::Damage;

/// Why a group could not be made or started. Its files are left as they were; the node goes on.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its files could not be read or written, or belong to something else.
    #[error("cannot open group {group}: {cause}")]
    Open {
        /// The group.
        group: GroupId,
        /// The cause.
        #[source]
        cause: quorate_storage::Error,
    },
    /// What is on disk cannot take part in raft again without a repair.
    #[error("group {group} refused to start: {reason}")]
    Refused {
        /// The group.
        group: GroupId,
        /// Why: a name out of the gate's closed set.
        reason: &'static str,
    },
    /// What is on disk contradicts raft's own rules.
    #[error("group {group} refused to start: {refused}")]
    Core {
        /// The group.
        group: GroupId,
        /// Which.
        #[source]
        refused: StartRefused,
    },
    /// Entries above the state are unreadable; other replicas may have them: see [`crate::repair::Repair`].
    #[error("group {group} needs a repair: {damage}")]
    Unreadable {
        /// The group.
        group: GroupId,
        /// What is missing.
        damage: Box<Damage>,
    },
    /// Its state was found to be wrong, by a comparison with the other replicas.
    #[error("group {group} does not start: {divergence}")]
    StateDiverged {
        /// The group.
        group: GroupId,
        /// What was found.
        divergence: Divergence,
    },
    /// The worker pool has been stopped, or the opening panicked.
    #[error("group {group} was not opened: its worker is gone")]
    WorkerGone {
        /// The group.
        group: GroupId,
    },
}

impl StartError {
    /// What may make a later start succeed.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Open { cause, .. } if cause.is_disk_full() => Remedy::Room,
            _ => Remedy::Repair,
        }
    }

    /// What the group is quarantined for, if it is.
    pub fn reason(&self) -> QuarantineReason {
        match self {
            Self::Open { cause, .. } => reason_of(cause),
            Self::Refused { reason, .. } if *reason == RefusalReason::Diverged.as_str() => {
                QuarantineReason::Diverged
            }
            // The log lacks what this replica had, or what its state needs.
            Self::Refused { reason: "removed", .. } => QuarantineReason::Refused,
            Self::Refused { .. } => QuarantineReason::LogLost,
            Self::Core { refused, .. } => match refused {
                StartRefused::CommitBeyondLog { .. }
                | StartRefused::FloorBeyondLog { .. }
                | StartRefused::Gap { .. }
                | StartRefused::HardStateLost { .. } => QuarantineReason::LogLost,
                StartRefused::Diverged { .. } => QuarantineReason::Diverged,
                _ => QuarantineReason::Refused,
            },
            Self::Unreadable { .. } => QuarantineReason::Corrupt,
            Self::StateDiverged { .. } => QuarantineReason::StateDiverged,
            Self::WorkerGone { .. } => QuarantineReason::Panic,
        }
    }
}

impl From<&StartError> for Quarantine {
    fn from(error: &StartError) -> Self {
        let counted = (error.reason(), error.remedy());
        match error {
            StartError::Open { cause, .. } => Self::new(counted, &error.to_string(), Some(cause)),
            StartError::Unreadable { damage, .. } => {
                let place = damage.missing.first().map(|first| (first.file.clone(), first.offset));
                let (file, offset) = place.unzip();
                Self { file, offset, ..Self::new(counted, &error.to_string(), None) }
            }
            _ => Self::new(counted, &error.to_string(), None),
        }
    }
}

/// Opens a group that was created on this node and runs it. Returns once it takes part. Nothing else of the node
/// waits for it: groups open side by side, as many as [`GroupWorkers::open`] has threads; those whose state must be
/// restored go on [`GroupWorkers::restore`], so that the others do not wait behind them.
///
/// # Errors
/// [`StartError`]; a node that serves on answers for the group with [`GroupHandle::quarantined`].
///
/// [`GroupWorkers::open`]: crate::actor::GroupWorkers::open
/// [`GroupWorkers::restore`]: crate::actor::GroupWorkers::restore
pub async fn start_group(deps: Arc<GroupDeps>, spec: StartSpec) -> Result<GroupHandle, StartError> {
    spec.stats.set_state(GroupState::Opening);
    let (clock, told) = (Arc::clone(&deps.clock), spec.clone());
    let mut began = clock.monotonic();
    let started = match open(&deps, &spec, &mut began).await {
        Ok(opened) => {
            let report = opened.report.clone();
            // raft-rs panics on what no check of ours foresaw; whoever opens groups has others to open.
            let launched = catch_unwind(AssertUnwindSafe(|| launch(deps, spec, opened)));
            launched.unwrap_or(Err(StartError::WorkerGone { group: told.group })).inspect(|_| {
                let total = clock.monotonic().saturating_sub(began);
                match report {
                    Some(report) => report::succeeded(&told, &ColdStartReport { total, ..report }),
                    None => report::waits(&told, total),
                }
            })
        }
        Err(failure) => Err(failure),
    };
    started.inspect_err(|failure| report::failed(&told, failure, clock.monotonic().saturating_sub(began)))
}

/// Everything that happens on workers. `began` becomes the moment at which the group's turn came.
async fn open(deps: &Arc<GroupDeps>, spec: &StartSpec, began: &mut Duration) -> Result<Opened, StartError> {
    let (on_worker, spec_there) = (Arc::clone(deps), spec.clone());
    let (at, found) = run(deps.workers.open.as_ref(), spec.group, move || {
        let began = on_worker.clock.monotonic();
        let mut found = match find_replica(&on_worker, &spec_there) {
            Ok(found) => found,
            Err(failure) => return Ok((began, Err(failure))),
        };
        let opened = if found.is_heavy() {
            Ok(Turn::Heavy(Box::new(found)))
        } else {
            found.pass().map(|opened| Turn::Done(Box::new(opened)))
        };
        Ok((began, opened))
    })
    .await?;
    *began = at;
    match found? {
        Turn::Done(opened) => Ok(*opened),
        Turn::Heavy(found) => {
            spec.stats.set_state(GroupState::Restoring);
            run(deps.workers.restore.as_ref(), spec.group, move || found.pass()).await
        }
    }
}

/// How far a group came in its first turn.
enum Turn {
    Done(Box<Opened>),
    /// What is left takes as long as the state is large.
    Heavy(Box<Found>),
}

/// Runs `job` on a worker and waits for it.
pub(crate) async fn run<T: Send + 'static>(
    workers: &dyn Workers,
    group: GroupId,
    job: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    let (reply, answer) = oneshot::channel();
    // Dropped by a stopped pool, or by a panic: seen below either way.
    let job = Box::new(move || drop(reply.send(job())));
    workers.submit(group.get(), job).map_err(|_stopped| StartError::WorkerGone { group })?;
    answer.await.map_err(|_dropped| StartError::WorkerGone { group })?
}
