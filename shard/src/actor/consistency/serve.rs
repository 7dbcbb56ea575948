//! A replica's side: its digest at an index that it will come to, or is at.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quorate_storage::Index;
use quorate_storage::identity::Divergence;
use quorate_storage::state::StateDigest;

use super::ReplicaAnswer;
use crate::actor::shared::Shared;
use crate::applier::{Applier, DigestAt};

/// The longest an index is waited for, whatever is asked.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Answers that are remembered: a notice speaks of one of the last.
const SAID_MAX: usize = 16;

/// Tells the digests of one replica.
#[derive(Debug)]
pub(crate) struct DigestServer {
    applier: Applier,
    shared: Arc<Shared>,
    said: Mutex<VecDeque<(Index, StateDigest)>>,
}

impl DigestServer {
    pub(crate) fn new(applier: Applier, shared: Arc<Shared>) -> Self {
        Self { applier, shared, said: Mutex::default() }
    }

    /// The digest at `index`, once it is applied.
    pub(crate) async fn answer(&self, index: Index, wait: Duration) -> ReplicaAnswer {
        let digest = self.applier.digest_at(index);
        match tokio::time::timeout(wait.min(WAIT_MAX), digest).await {
            Ok(Ok(DigestAt::Digest(digest))) => {
                let mut said = self.said.lock();
                if said.len() == SAID_MAX {
                    said.pop_front();
                }
                said.push_back((index, digest));
                ReplicaAnswer::Digest(digest)
            }
            Ok(Ok(DigestAt::Passed { applied })) => ReplicaAnswer::Passed { applied },
            Ok(Ok(DigestAt::None)) => ReplicaAnswer::NoDigest,
            // Halted, closed, or asked by too many at one time.
            Ok(Err(_dropped)) => ReplicaAnswer::Refused,
            Err(_elapsed) => ReplicaAnswer::Behind { applied: *self.shared.applied.borrow() },
        }
    }

    /// Whether a notice speaks of what this very start has said of itself.
    pub(crate) fn has_said(&self, divergence: &Divergence) -> bool {
        self.said.lock().contains(&(divergence.index, divergence.own))
    }
}
