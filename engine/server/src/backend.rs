//! The seam between the frontends of this crate and the engine behind them.
//!
//! [`Backend`] is what the Redis protocol and the admin pages need from one node, and nothing more: the
//! frontends never see groups, routes or raft. Keys here are engine keys, see [`crate::key`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// A boxed future that may run on any worker thread.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One change of one key.
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
}

impl Write {
    /// The key that is changed.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
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
    /// Linearizable reads: the values of `keys`, in their order, one result each.
    ///
    /// All values together take at most `value_bytes_max` bytes: a value that does not fit any more is answered
    /// by [`BackendError::ReplyTooLarge`], without being held.
    fn read(
        &self,
        keys: Vec<Bytes>,
        value_bytes_max: usize,
    ) -> BoxFuture<'_, Vec<Result<Option<Bytes>, BackendError>>>;

    /// Linearizable reads: whether each of `keys` is there, in their order, one result each.
    fn exists(&self, keys: Vec<Bytes>) -> BoxFuture<'_, Vec<Result<bool, BackendError>>>;

    /// Makes `writes` durable on a quorum, one result each: whether the key existed before (only a
    /// [`Write::Delete`] has to know).
    ///
    /// Writes of one call that name the same key take effect in the order given. Between two calls in flight
    /// at the same time there is no order.
    fn write(&self, writes: Vec<Write>) -> BoxFuture<'_, Vec<Result<bool, BackendError>>>;

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
    /// The group is out of service until somebody repairs it. Nothing was written.
    #[error("group {group} is quarantined: {reason}")]
    Quarantined {
        /// The group.
        group: u64,
        /// Why, in the engine's words.
        reason: String,
    },
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
            Self::Indeterminate => "INDETERMINATE",
            Self::ReplyTooLarge { .. } | Self::TooLarge { .. } | Self::Engine { .. } => "ERR",
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
    }
}
