//! The transport's settings and their defaults.

use std::net::SocketAddr;
use std::time::Duration;

/// Settings of a [`crate::Transport`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes a free one. None: this node only dials (a single node needs no port).
    pub listen: Option<SocketAddr>,
    /// Most bytes of a frame's body, checked before anything is allocated. At least 4 KiB. Equal on all
    /// nodes. Default 16 MiB.
    pub frame_bytes_max: usize,
    /// Most messages and requests waiting for one lane of one node. Default 16,384.
    pub queue_messages_max: usize,
    /// Most bytes waiting for one lane of one node; one message is always taken. Default 64 MiB.
    pub queue_bytes_max: usize,
    /// Most requests of this node to one lane of one node without an end yet. Default 4,096.
    pub requests_in_flight_max: usize,
    /// Most requests of one connection served here at a time, replies not yet written included; above it the
    /// answer is busy. Default 1,024.
    pub requests_served_max: usize,
    /// Most bytes of replies waiting for one connection. Default 64 MiB.
    pub reply_bytes_max: usize,
    /// Deadline of opening a connection. Default 2 s.
    pub connect_timeout: Duration,
    /// Deadline of the handshake, on both sides. Default 2 s.
    pub handshake_timeout: Duration,
    /// Most accepted connections that have not finished their handshake; one more is closed at once.
    /// Default 64.
    pub handshakes_max: usize,
    /// Interval of the pings on control lanes. Default 1 s.
    pub ping_interval: Duration,
    /// Intervals without a byte after which the other side counts as dead. At least 2. Default 3.
    pub silent_intervals_max: u32,
    /// Pause after the first failed attempt to connect; doubles, with jitter. Default 20 ms.
    pub backoff_min: Duration,
    /// Longest pause between attempts. Default 1 s.
    pub backoff_max: Duration,
    /// How long a graceful stop may take to flush what is queued. Default 500 ms.
    pub stop_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: None,
            frame_bytes_max: 16 << 20,
            queue_messages_max: 16_384,
            queue_bytes_max: 64 << 20,
            requests_in_flight_max: 4_096,
            requests_served_max: 1_024,
            reply_bytes_max: 64 << 20,
            connect_timeout: Duration::from_secs(2),
            handshake_timeout: Duration::from_secs(2),
            handshakes_max: 64,
            ping_interval: Duration::from_secs(1),
            silent_intervals_max: 3,
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_secs(1),
            stop_timeout: Duration::from_millis(500),
        }
    }
}

impl Config {
    /// Broken settings are a bug of the caller.
    pub(crate) fn check(&self) {
        assert!(self.frame_bytes_max >= 4 << 10, "frame_bytes_max is below 4 KiB");
        assert!(u32::try_from(self.frame_bytes_max).is_ok(), "frame_bytes_max does not fit 32 bits");
        assert!(self.silent_intervals_max >= 2, "silent_intervals_max is below 2");
        assert!(!self.ping_interval.is_zero(), "ping_interval is zero");
        assert!(self.handshakes_max > 0, "handshakes_max is zero");
        assert!(self.backoff_min <= self.backoff_max, "backoff_min is above backoff_max");
    }
}
