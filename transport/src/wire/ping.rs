//! Pings, which keep a connection known to be alive and carry the senders' clocks.

use bytes::Bytes;
use rkyv::{Archive, Serialize};

use crate::wire::WireError;
use crate::wire::rkyv_forms::{access, archive_into};

/// Form of a ping. Frozen.
#[derive(Archive, Serialize)]
struct PingV1 {
    wall_ms: u64,
}

/// Form of the answer. Frozen.
#[derive(Archive, Serialize)]
struct PongV1 {
    ping_wall_ms: u64,
    wall_ms: u64,
}

/// A ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ping {
    /// The sender's wall clock, in milliseconds since the Unix epoch.
    pub(crate) wall_ms: u64,
}

impl Ping {
    pub(crate) fn encode(self, buffer: &mut Vec<u8>) {
        archive_into(&PingV1 { wall_ms: self.wall_ms }, buffer);
    }

    pub(crate) fn decode(body: &Bytes) -> Result<Self, WireError> {
        let form = access::<ArchivedPingV1>(body, "ping")?;
        Ok(Self { wall_ms: form.wall_ms.to_native() })
    }
}

/// The answer to a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pong {
    /// What the ping said.
    pub(crate) ping_wall_ms: u64,
    /// The answering node's wall clock.
    pub(crate) wall_ms: u64,
}

impl Pong {
    pub(crate) fn encode(self, buffer: &mut Vec<u8>) {
        archive_into(&PongV1 { ping_wall_ms: self.ping_wall_ms, wall_ms: self.wall_ms }, buffer);
    }

    pub(crate) fn decode(body: &Bytes) -> Result<Self, WireError> {
        let form = access::<ArchivedPongV1>(body, "pong")?;
        Ok(Self { ping_wall_ms: form.ping_wall_ms.to_native(), wall_ms: form.wall_ms.to_native() })
    }

    /// How far the answering node's clock is ahead of ours, which shows `now_wall_ms` when the pong
    /// arrives: the answer is taken to have been given half way.
    pub(crate) fn offset_ms(self, now_wall_ms: u64) -> i64 {
        let half_way = self.ping_wall_ms.midpoint(now_wall_ms);
        let ahead = i128::from(self.wall_ms) - i128::from(half_way);
        i64::try_from(ahead).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX })
    }
}
