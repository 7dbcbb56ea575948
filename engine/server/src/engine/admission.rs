//! Where a request is served: here, on another node, or nowhere until the election is over.

use std::time::Duration;

use bytes::Bytes;
use quorate::{Node, Placement, ReadLevel};
use tokio::time::Instant;

use crate::backend::{Access, BackendError, Routing};
use crate::key::SLOT_BYTES;

/// A request is held through an election for at most this many election timeouts.
pub(super) const HELD_ELECTIONS: u32 = 2;
/// How far behind the leader an answer of a follower may be.
const FOLLOWER_LAG_MAX: Duration = Duration::from_secs(1);

/// Admits the keys of one request. They share one deadline: a request is held once, not once for each key.
#[derive(Debug)]
pub(super) struct Admission<'a> {
    node: &'a Node,
    access: Access,
    /// When the request is held no longer; set when it first has to be.
    until: Option<Instant>,
}

/// What can be said of a key at once.
enum Verdict {
    Serve(ReadLevel),
    Refuse(BackendError),
    /// Nobody leads its group, as far as is known.
    Wait,
}

impl<'a> Admission<'a> {
    pub(super) fn new(node: &'a Node, access: Access) -> Self {
        Self { node, access, until: None }
    }

    /// Like [`Admission::new`]; writes are for leaders, whatever `access` says of reads.
    pub(super) fn of_writes(node: &'a Node, access: Access) -> Self {
        Self::new(node, Access { reads_from_followers: false, ..access })
    }

    /// How the key goes through the router, a read at the level returned. Waits only while its group has no leader.
    pub(super) async fn admit(&mut self, key: &[u8]) -> Result<ReadLevel, BackendError> {
        match self.judge(key) {
            Verdict::Serve(level) => Ok(level),
            Verdict::Refuse(error) => Err(error),
            Verdict::Wait => self.hold(key).await,
        }
    }

    /// Whether all of `keys` go to leaders through the router at once: the usual case, which costs nothing more.
    pub(super) fn serves_all<'k>(&self, mut keys: impl Iterator<Item = &'k Bytes>) -> bool {
        keys.all(|key| matches!(self.judge(key), Verdict::Serve(ReadLevel::Linearizable)))
    }

    fn judge(&self, key: &[u8]) -> Verdict {
        match (self.access.routing, self.access.reads_from_followers) {
            (Routing::Proxy, false) => Verdict::Serve(ReadLevel::Linearizable),
            // The router asks the replica of this node first, if there is one.
            (Routing::Proxy, true) => Verdict::Serve(FOLLOWER_READ),
            (Routing::Cluster, _) => {
                self.node.placement(key).map_or(UNROUTED, |place| self.place(key, place))
            }
        }
    }

    fn place(&self, key: &[u8], place: Placement) -> Verdict {
        let leader = match place.leader {
            Some(leader) if leader == self.node.id() => return Verdict::Serve(ReadLevel::Linearizable),
            leader => leader,
        };
        if self.access.reads_from_followers && self.node.group(place.group).has_replica() {
            return Verdict::Serve(FOLLOWER_READ);
        }
        let Some(leader) = leader else { return Verdict::Wait };
        let resp = self.node.catalog().nodes.get(&leader).and_then(|record| record.resp);
        match (resp, slot(key)) {
            (Some(to), Some(slot)) => Verdict::Refuse(BackendError::Moved { slot, to }),
            // A client could not go there.
            _ => Verdict::Serve(ReadLevel::Linearizable),
        }
    }

    /// Holds the request until its group has a leader.
    async fn hold(&mut self, key: &[u8]) -> Result<ReadLevel, BackendError> {
        let patience = (self.node.election_timeout_max() * HELD_ELECTIONS).min(self.node.deadline());
        let until = *self.until.get_or_insert_with(|| Instant::now() + patience);
        let left = until.saturating_duration_since(Instant::now());
        let place = self.node.await_leader(key, left).await;
        match place.map_or(UNROUTED, |place| self.place(key, place)) {
            Verdict::Serve(level) => Ok(level),
            Verdict::Refuse(error) => Err(error),
            Verdict::Wait => Err(BackendError::NoLeader),
        }
    }
}

const FOLLOWER_READ: ReadLevel = ReadLevel::BoundedStale { lag_max: FOLLOWER_LAG_MAX };

/// No group serves the key, or this node's catalog is old: the router finds out.
const UNROUTED: Verdict = Verdict::Serve(ReadLevel::Linearizable);

/// The slot of an engine key.
fn slot(key: &[u8]) -> Option<u16> {
    key.first_chunk::<SLOT_BYTES>().map(|slot| u16::from_be_bytes(*slot))
}
