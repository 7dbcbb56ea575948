//! The crate's error: why a node does not listen, or a connection ended.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use quorate_storage::NodeId;

use crate::wire::WireError;

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the transport did not start, or a connection ended. Callers of a running transport never see it: they
/// get [`crate::RequestError`]; it is logged and counted.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The listener could not be opened.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// The cause.
        source: Arc<io::Error>,
    },
    /// The operating system refused.
    #[error("cannot {action}: {source}")]
    Io {
        /// Verb: "connect", "read", "write".
        action: &'static str,
        /// The cause.
        source: Arc<io::Error>,
    },
    /// The other side closed the connection.
    #[error("closed by the other side")]
    Closed,
    /// The other side sent bytes that are not ours.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The handshake was refused, by us or by the other side.
    #[error("handshake refused: {0}")]
    Refused(Refusal),
    /// Connecting, or the handshake, did not end within its deadline.
    #[error("no {what} within the deadline")]
    Deadline {
        /// "connection" or "handshake".
        what: &'static str,
    },
    /// Nothing was heard for too long.
    #[error("nothing heard for too long")]
    Silent,
    /// The same node opened this lane anew.
    #[error("replaced by a newer connection")]
    Replaced,
    /// The other side sends requests and does not read the replies.
    #[error("too many requests without their replies being read")]
    Overrun,
    /// Nobody knows the node's address.
    #[error("no address is known for node {0}")]
    UnknownAddress(NodeId),
}

impl Error {
    pub(crate) fn io(action: &'static str, source: io::Error) -> Self {
        Self::Io { action, source: Arc::new(source) }
    }
}

/// Why two nodes do not talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The other node belongs to another cluster.
    #[error("another cluster")]
    OtherCluster,
    /// No protocol version is spoken by both.
    #[error("no common protocol version")]
    OtherVersion,
    /// The node that was dialled is not the one that answered.
    #[error("not the node that was dialled")]
    UnexpectedNode,
    /// The other side carries this node's own id (or none): the node dialled itself, or an id was given
    /// twice.
    #[error("this node's own id")]
    OwnNode,
    /// [`crate::Peers::accepts`] said no.
    #[error("node or incarnation not accepted")]
    PeerRefused,
    /// The other side gave a reason this release does not know.
    #[error("for a reason this release does not know")]
    Unknown,
}
