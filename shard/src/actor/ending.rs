//! How a group ends: stopped, or quarantined.

use std::sync::Arc;

use quorate_storage::identity::FileOwner;
use tokio::sync::oneshot;

use crate::actor::outbound::QUARANTINE_NOTICE;
use crate::actor::quarantine::{Failure, Quarantine};
use crate::actor::run::Actor;
use crate::actor::status::Lifecycle;
use crate::core::Role;
use crate::error::Error;
use crate::repair::QuarantineNotice;

/// How the actor's loop ends.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It was asked to; `clean` if everything was finished in time.
    Stopped { clean: bool },
    /// A failure of its own; the reason is in its lifecycle.
    Quarantined,
}

impl Actor {
    /// Takes the group out of service with its first failure. Its files are left as they are.
    pub(crate) fn quarantine(&mut self, failure: &Failure) {
        if matches!(self.ending, Some(Ending::Quarantined)) {
            return;
        }
        let reason = failure.reason();
        tracing::error!(group = %self.shared.group, reason = reason.label(), error = %failure, "group quarantined");
        self.shared.quarantine(Quarantine::from(failure));
        self.ending = Some(Ending::Quarantined);
        if let Failure::StateDiverged(divergence) = failure {
            self.divergence = Some(*divergence);
        }
        self.tell_quarantined();
    }

    /// Tells the other replicas, if this one led, so that another one takes over without waiting for an election
    /// timeout. Nothing waits for it: whom it does not reach notices by the silence.
    fn tell_quarantined(&self) {
        let role = *self.shared.role.borrow();
        if !role.is_leader {
            return;
        }
        // Not asked of the core: it may have panicked.
        let status = self.shared.status();
        let descriptor = &status.descriptor;
        let notice = QuarantineNotice {
            group: self.shared.group,
            uid: descriptor.uid,
            replica: self.replica,
            incarnation: status.incarnation,
            term: role.term,
        };
        let deadline = self.config.tick * self.config.core.election_ticks_min;
        for other in descriptor.replicas.iter().filter(|other| other.replica != self.replica) {
            let body = notice.encode();
            let sent = self.deps.outbound.request(other.node, QUARANTINE_NOTICE, body, deadline);
            // A task of its own: those of the actor end with it.
            tokio::spawn(async move { drop(sent.await) });
        }
    }

    /// A graceful stop ends once this replica neither leads (if somebody else can) nor owes anyone an answer.
    pub(crate) fn check_drained(&mut self) {
        let Some(stopping) = self.stopping.as_ref().filter(|_| self.ending.is_none()) else { return };
        let core = &self.core.0;
        let leads_others = stopping.waits_for_heir && core.role().is_leader;
        let is_applied = core.is_waiting() || core.status().applied == core.status().handed;
        let is_durable = self.timers.durable_ready == self.timers.handed_ready;
        if !leads_others && self.pending.is_empty() && self.reads.is_empty() && is_applied && is_durable {
            self.ending = Some(Ending::Stopped { clean: true });
        }
    }

    /// Remembers over a restart that the state of this replica is wrong: nothing else would tell. Should it fail, the
    /// next comparison finds it again.
    fn write_divergence(&self) -> Option<oneshot::Receiver<quorate_storage::Result<()>>> {
        let divergence = self.divergence?;
        let (disk, rng) = (Arc::clone(&self.deps.disk), Arc::clone(&self.rng));
        let status = self.shared.status();
        let owner = FileOwner {
            group: status.descriptor.uid,
            replica: self.replica,
            incarnation: status.incarnation,
        };
        let path = self.paths.divergence_file();
        let (reply, written) = oneshot::channel();
        let job = move || drop(reply.send(divergence.write(disk.as_ref(), &path, owner, rng.as_ref())));
        // A pool that has stopped drops the job.
        let _ = self.deps.workers.background.submit(self.shared.group.get(), Box::new(job));
        Some(written)
    }

    /// Answers everyone, waits for the workers and closes the files.
    pub(crate) async fn end(self, ending: Ending) {
        if let Some(written) = self.write_divergence()
            && !matches!(written.await, Ok(Ok(())))
        {
            tracing::error!(group = %self.shared.group, "the divergence of this replica was not written down");
        }
        let Self {
            shared,
            core,
            mut mailbox,
            log,
            applier,
            receiver,
            mut tasks,
            mut pending,
            mut reads,
            mut time,
            upkeep,
            deps,
            ..
        } = self;
        let clean = matches!(ending, Ending::Stopped { clean: true });
        if let Ending::Stopped { .. } = ending {
            shared.set_lifecycle(Lifecycle::Stopping);
        }
        let role = Role { is_leader: false, is_serving: false, leader: None, ..core.0.role() };
        drop(core);
        shared.role.send_replace(role);
        pending.fail_all(&shared.unanswered(true));
        reads.fail_all(&shared.unanswered(false));
        time.fail_all(&shared.unanswered(false));
        mailbox.requests.close();
        while let Ok(queued) = mailbox.requests.try_recv() {
            let error = shared.check_running().err().unwrap_or(Error::Stopped { group: shared.group });
            queued.request.fail(error);
        }
        tasks.shutdown().await;
        let deadline = self.stopping.as_ref().map(|stopping| stopping.deadline).filter(|_| clean);
        // Whatever was handed to the workers is answered before this returns: a restart finds quiet files.
        let close = async {
            if upkeep.bloat.is_running() {
                // What was built goes on the same worker: behind it nothing is left of it.
                let (reply, gone) = oneshot::channel::<()>();
                let _ = deps.workers.background.submit(shared.group.get(), Box::new(move || drop(reply)));
                let _dropped = gone.await;
            }
            receiver.close().await;
            applier.close(clean).await;
            log.close(clean).await;
        };
        match deadline {
            // Past it, the workers go on closing; nobody waits for them any more.
            Some(deadline) => drop(tokio::time::timeout_at(deadline, close).await),
            None => close.await,
        }
        // Handles may live on; the store's files must not be held open with them.
        shared.clear_reader();
        shared.set_lifecycle(Lifecycle::Stopped);
        for done in self.stopping.into_iter().flat_map(|stopping| stopping.done) {
            let _ = done.send(());
        }
    }
}
