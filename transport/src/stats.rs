//! Counters of a node's transport: plain atomics, read by the collector.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Refusal};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters since the start. Relaxed: each is exact, together they are not a consistent cut.
        #[derive(Debug, Default)]
        pub struct Stats {
            $(pub(crate) $name: AtomicU64,)*
        }

        /// The values of [`Stats`] at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Stats {
            /// The values now.
            pub fn counts(&self) -> Counts {
                Counts { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Connections opened by this node, handshake included.
    connects,
    /// Attempts to open one that failed, handshake included.
    connect_failures,
    /// Connections taken, handshake included.
    accepts,
    /// Connections closed at once because too many were half open.
    half_open_refused,
    /// Handshakes that missed their deadline.
    handshake_timeouts,
    /// Handshakes refused, by either side: another cluster.
    refused_other_cluster,
    /// Handshakes refused, by either side: no common protocol version.
    refused_other_version,
    /// Handshakes refused, by either side: another node than the one dialled.
    refused_unexpected_node,
    /// Handshakes refused, by either side: this node's own id.
    refused_own_node,
    /// Handshakes refused, by either side: node or incarnation not accepted.
    refused_peer,
    /// Connections closed because of bytes that are not ours: garbage, checksums, malformed structures.
    malformed_closed,
    /// Connections closed because a frame's length was over the cap.
    oversized_closed,
    /// Connections closed because nothing was heard.
    silent_closed,
    /// Raft messages written to a connection.
    messages_sent,
    /// Raft messages given to the handler.
    messages_received,
    /// Raft messages dropped, for whatever reason.
    messages_dropped,
    /// Raft messages dropped because they are over the frame cap (also in `messages_dropped`).
    messages_oversized,
    /// Requests written to a connection.
    requests_sent,
    /// Requests given to the handler.
    requests_received,
    /// Requests answered busy here without asking the handler.
    requests_refused_busy,
    /// Replies that came after their caller had gone.
    replies_late,
    /// Replies that could not be carried: over the cap, or too many bytes waiting.
    replies_lost,
    /// Batches of raft messages written; `messages_sent` over this is the mean batch.
    batches_sent,
    /// Writes to connections.
    writes,
    /// Bytes written.
    bytes_sent,
    /// Bytes read.
    bytes_received,
}

/// Adds to one counter.
pub(crate) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

impl Stats {
    /// Counts why a connection, or an attempt at one, ended.
    pub(crate) fn count_end(&self, error: &Error) {
        let counter = match error {
            Error::Wire(crate::WireError::TooLarge { .. }) => &self.oversized_closed,
            Error::Wire(_) => &self.malformed_closed,
            Error::Silent => &self.silent_closed,
            Error::Deadline { what: "handshake" } => &self.handshake_timeouts,
            Error::Refused(refusal) => match refusal {
                Refusal::OtherCluster => &self.refused_other_cluster,
                Refusal::OtherVersion => &self.refused_other_version,
                Refusal::UnexpectedNode => &self.refused_unexpected_node,
                Refusal::OwnNode => &self.refused_own_node,
                Refusal::PeerRefused | Refusal::Unknown => &self.refused_peer,
            },
            _ => return,
        };
        add(counter, 1);
    }
}
