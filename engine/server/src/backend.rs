//! The seam between the frontends of this crate and the engine behind them.
//!
//! [`Backend`] is what the Redis protocol and the admin pages need from one node, and nothing more: the
//! frontends never see groups, routes or raft. Keys here are engine keys, see [`crate::key`].

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::operator::Operator;

/// A boxed future that may run on any worker thread.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One change of one key, decided when it is applied: by the key's value at that moment, and by nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets the key, whether it was there or not.
    Put {
        /// Engine key.
        key: Bytes,
        /// The value. May share its memory with the whole request: copy it before keeping it for long.
        value: Bytes,
    },
    /// Removes the key if it is there.
    Delete {
        /// Engine key.
        key: Bytes,
    },
    /// Sets the key if `when` holds.
    Set {
        /// Engine key.
        key: Bytes,
        /// The value, as in [`Write::Put`].
        value: Bytes,
        /// What must hold.
        when: When,
        /// Whether [`Written::Done`] and [`Written::Unmet`] tell the value before.
        returns_previous: bool,
    },
    /// Removes the key and tells the value it had.
    Take {
        /// Engine key.
        key: Bytes,
    },
    /// Appends to the value; an absent key counts as empty.
    Append {
        /// Engine key.
        key: Bytes,
        /// What is appended.
        suffix: Bytes,
    },
    /// Adds to the value, a decimal integer of 64 bits; an absent key counts as 0.
    Add {
        /// Engine key.
        key: Bytes,
        /// What is added.
        delta: i64,
    },
}

/// What must hold for a [`Write::Set`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Nothing.
    Always,
    /// The key is absent.
    Absent,
    /// The key is present.
    Present,
}

impl Write {
    /// The key that is changed.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. }
            | Self::Delete { key }
            | Self::Set { key, .. }
            | Self::Take { key }
            | Self::Append { key, .. }
            | Self::Add { key, .. } => key,
        }
    }
}

/// How a [`Write`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It took effect ([`Write::Delete`] and [`Write::Take`] of an absent key count as that).
    Done {
        /// Whether the key was there before.
        existed: bool,
        /// The value before, of a [`Write::Take`] and of a [`Write::Set`] that returns it.
        previous: Option<Bytes>,
    },
    /// The condition of a [`Write::Set`] did not hold: nothing changed.
    Unmet {
        /// The value there is, if the write returns it.
        previous: Option<Bytes>,
    },
    /// The sum after a [`Write::Add`], the length in bytes after a [`Write::Append`].
    Number(i64),
}

/// How a call is to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// What to do with a key whose group is led by another node.
    pub routing: Routing,
    /// Whether reads may be served by a follower, a bounded time behind the leader.
    pub reads_from_followers: bool,
}

/// What to do with a key whose group is led by another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// Forward the request to it.
    Proxy,
    /// Answer [`BackendError::Moved`].
    Cluster,
}

/// The nodes, and which of them serve which slots, as this node knows it now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// The version of the catalog it was made from.
    pub version: u64,
    /// The node that was asked.
    pub own_node: u64,
    /// By ascending id.
    pub nodes: Vec<TopologyNode>,
    /// By ascending slot, without overlap. A slot that no group serves is in none.
    pub ranges: Vec<SlotRange>,
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyNode {
    /// Its id.
    pub node: u64,
    /// 40 lower-case hexadecimal digits, the same for the life of the node's data directory.
    pub name: String,
    /// Where it serves the Redis protocol, if it does.
    pub resp: Option<SocketAddr>,
    /// Where it listens for the other nodes.
    pub peer: SocketAddr,
    /// Whether this node has a connection to it; true for this node.
    pub is_connected: bool,
}

/// Slots served by one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotRange {
    /// First slot.
    pub first: u16,
    /// Last slot, inclusive.
    pub last: u16,
    /// The group.
    pub group: u64,
    /// The node that leads it; `None` during an election.
    pub leader: Option<u64>,
    /// The nodes with its other replicas, ascending.
    pub followers: Vec<u64>,
}

/// Keys in order, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPage {
    /// Engine keys, ascending.
    pub keys: Vec<Bytes>,
    /// The first key of the next page; `None` when the range is exhausted. A page may be empty and have a next.
    pub next: Option<Bytes>,
}

/// One line of a health or readiness report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at: `group 3`, `disk space`.
    pub name: String,
    /// What is wrong with it; `None` when nothing is.
    pub problem: Option<String>,
}

/// A titled block of `name:value` lines in the reply to `INFO`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InfoSection {
    /// The title, as in `# Stats`.
    pub title: &'static str,
    /// Names and values; neither may hold a line break.
    pub fields: Vec<(&'static str, String)>,
}

/// One node of the engine, as its frontends use it. Shared by all connections.
///
/// A call with several keys may touch several groups. It is answered key by key, because one group's failure
/// must stay one group's failure. No call is atomic across groups. Every future ends within the deadline the
/// backend keeps for its requests; dropping one does not cancel a write.
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Reads, linearizable unless `access` says otherwise: the values of `keys`, in their order, one result each.
    ///
    /// All values together take at most `value_bytes_max` bytes: a value that does not fit any more is answered
    /// by [`BackendError::ReplyTooLarge`], without being held.
    fn read(
        &self,
        keys: Vec<Bytes>,
        value_bytes_max: usize,
        access: Access,
    ) -> BoxFuture<'_, Vec<Result<Option<Bytes>, BackendError>>>;

    /// Reads as [`Backend::read`]: the length in bytes of each value, in the order of the keys, one result each.
    fn lengths(
        &self,
        keys: Vec<Bytes>,
        access: Access,
    ) -> BoxFuture<'_, Vec<Result<Option<usize>, BackendError>>>;

    /// Makes `writes` durable on a quorum, one result each.
    ///
    /// Writes of one call that name the same key take effect in the order given. Between two calls in flight
    /// at the same time there is no order. Writes of one call whose keys belong to one group
    /// travel in as few entries of its log as they fit into; only what shares an entry is atomic.
    fn write(&self, writes: Vec<Write>, access: Access) -> BoxFuture<'_, Vec<Result<Written, BackendError>>>;

    /// How many keys there are: in the groups this node leads with [`Routing::Cluster`], in all groups with
    /// [`Routing::Proxy`]. Does not read the keys.
    fn key_count(&self, access: Access) -> BoxFuture<'_, Result<u64, BackendError>>;

    /// The keys from `start` to `end` (exclusive), at most `limit`. With [`Routing::Cluster`] only those of groups
    /// that this node leads, the others are passed over.
    fn keys(
        &self,
        start: Bytes,
        end: Bytes,
        limit: usize,
        access: Access,
    ) -> BoxFuture<'_, Result<KeyPage, BackendError>>;

    /// Who serves what. Cheap: cached until something changes.
    fn topology(&self) -> Arc<Topology>;

    /// Blocks to add to `INFO`. Cheap: called on the connection's task.
    fn info(&self) -> Vec<InfoSection>;

    /// What must be right for the process to be worth keeping. May block.
    fn health(&self) -> Vec<Check>;

    /// What must be right for this node to be given requests. May block.
    fn readiness(&self) -> Vec<Check>;

    /// Metrics in the Prometheus text format. May block for as long as rendering takes.
    fn metrics(&self) -> String;

    /// Every group this node has a replica of, by ascending id. May block.
    fn groups(&self) -> Vec<serde_json::Value>;

    /// One group in detail; `None` when this node has no replica of it. May block.
    fn group(&self, id: u64) -> Option<serde_json::Value>;

    /// What operators can ask of it, if it can be operated.
    fn operator(&self) -> Option<&dyn Operator> {
        None
    }
}

/// Why the engine did not carry out a read or a write of one key.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The key's group has no leader that could be reached within the deadline. Nothing was written.
    #[error("the group that owns this key has no leader")]
    NoLeader,
    /// The group or the node is over its budget. Nothing was written.
    #[error("over budget, retry after {} ms", retry_after.as_millis())]
    Busy {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// The disk of the group's leader is full. Nothing was written; deletes are taken.
    #[error("disk full: {free_bytes} bytes are free, {needed_bytes} are needed; deletes are taken")]
    DiskFull {
        /// Bytes free there.
        free_bytes: u64,
        /// Bytes that must be free for writes to be taken again.
        needed_bytes: u64,
    },
    /// The group is out of service until somebody repairs it. Nothing was written.
    #[error("group {group} is quarantined: {reason}")]
    Quarantined {
        /// The group.
        group: u64,
        /// Why, in the engine's words.
        reason: String,
    },
    /// Another node leads the key's group; only with [`Routing::Cluster`]. Nothing was written.
    #[error("{slot} {}:{}", to.ip(), to.port())]
    Moved {
        /// The key's slot.
        slot: u16,
        /// Where that node serves the Redis protocol.
        to: SocketAddr,
    },
    /// [`Write::Add`] to what is no decimal integer of 64 bits. Nothing was written.
    #[error("value is not an integer or out of range")]
    NotAnInteger,
    /// [`Write::Add`] beyond 64 bits. Nothing was written.
    #[error("increment or decrement would overflow")]
    Overflow,
    /// No answer within the deadline. Nothing was written.
    #[error("no answer within the deadline")]
    DeadlineExceeded,
    /// The write may or may not take effect.
    #[error("the write may or may not have taken effect")]
    Indeterminate,
    /// The node is stopping. Nothing was written.
    #[error("the node is stopping")]
    Stopped,
    /// The value does not fit into this reply any more.
    #[error("the reply would exceed {bytes_max} bytes")]
    ReplyTooLarge {
        /// The limit on all values of the reply.
        bytes_max: usize,
    },
    /// The key or value is over the engine's limit. Nothing was written.
    #[error("{what} has {bytes} bytes, the limit is {bytes_max}")]
    TooLarge {
        /// "key" or "value".
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Any other failure of the engine.
    #[error("the engine failed: {source}")]
    Engine {
        /// The cause.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
}

impl BackendError {
    /// The word that begins the Redis error reply. Clients act on it: `CLUSTERDOWN` is retried by cluster
    /// clients, `INDETERMINATE` must not be retried blindly.
    pub fn redis_code(&self) -> &'static str {
        match self {
            Self::NoLeader | Self::Quarantined { .. } | Self::Stopped | Self::DeadlineExceeded => {
                "CLUSTERDOWN"
            }
            Self::Busy { .. } => "BUSY",
            // What Redis itself says when its disk refuses writes.
            Self::DiskFull { .. } => "MISCONF",
            Self::Indeterminate => "INDETERMINATE",
            Self::Moved { .. } => "MOVED",
            Self::NotAnInteger
            | Self::Overflow
            | Self::ReplyTooLarge { .. }
            | Self::TooLarge { .. }
            | Self::Engine { .. } => "ERR",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unknown_outcome_is_told_as_indeterminate() {
        assert_eq!(BackendError::Indeterminate.redis_code(), "INDETERMINATE");
        assert_eq!(BackendError::DeadlineExceeded.redis_code(), "CLUSTERDOWN");
        let busy = BackendError::Busy { retry_after: Duration::from_millis(12) };
        assert_eq!(format!("{} {busy}", busy.redis_code()), "BUSY over budget, retry after 12 ms");
        let moved = BackendError::Moved { slot: 7, to: "127.0.0.1:6380".parse().unwrap() };
        assert_eq!(format!("{} {moved}", moved.redis_code()), "MOVED 7 127.0.0.1:6380");
        // Clients take what stands before the last colon as the address.
        let moved = BackendError::Moved { slot: 7, to: "[fd00::1]:6380".parse().unwrap() };
        assert_eq!(moved.to_string(), "7 fd00::1:6380");
    }
}
