//! What a handle answers to other replicas about the state.

use std::sync::Arc;

use bytes::Bytes;
use quorate_storage::NodeId;

use super::wire::{DigestAnswer, DigestQuestion, DivergenceNotice};
use super::{DigestServer, ReplicaAnswer};
use crate::actor::handle::GroupHandle;
use crate::actor::mailbox::Event;
use crate::actor::quarantine::Failure;
use crate::actor::status::Lifecycle;

impl GroupHandle {
    /// To be called once, when the group starts.
    pub(crate) fn serve_digests(&self, digests: &Arc<DigestServer>) {
        let is_first = self.inner().digests.set(Arc::clone(digests)).is_ok();
        assert!(is_first, "a group starts once");
    }

    /// Members are told the digest, of a state that is in service.
    pub(crate) async fn answer_digest(&self, from: NodeId, body: &[u8]) -> Bytes {
        let Some(question) = DigestQuestion::decode(body) else { return Bytes::new() };
        let status = self.status();
        let is_asked_rightly = status.is_member(from, question.replica, question.incarnation)
            && question.uid == status.descriptor.uid
            && status.lifecycle == Lifecycle::Running;
        let Some(digests) = self.inner().digests.get().filter(|_| is_asked_rightly) else {
            return Bytes::new();
        };
        let answer = digests.answer(question.index, question.wait).await;
        // Quarantined or stopped meanwhile: it does not stand by it any more.
        let is_out = self.status().lifecycle != Lifecycle::Running;
        let answer = if is_out { ReplicaAnswer::Refused } else { answer };
        DigestAnswer { replica: status.replica, answer }.encode()
    }

    /// Believes a notice only of a member, and only if it repeats what this replica has said of itself: what was
    /// compared is then this state, and not an older one under the same name.
    pub(crate) fn note_divergence(&self, from: NodeId, body: &[u8]) {
        let Some(notice) = DivergenceNotice::decode(body) else { return };
        let status = self.status();
        let is_meant = notice.uid == status.descriptor.uid
            && notice.to == status.replica
            && status.is_member(from, notice.from, notice.incarnation);
        let digests = self.inner().digests.get().filter(|_| is_meant);
        if digests.is_some_and(|digests| digests.has_said(&notice.divergence)) {
            let failure = Failure::StateDiverged(notice.divergence);
            drop(self.inner().events.send(Event::Failed(failure)));
        }
    }
}
