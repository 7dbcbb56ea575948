//! The envelope of a normal entry's payload: written by the engine, never by a caller.
//!
//! Bytes: tag (1), version (1), flags (2), range epoch (8), proposal id (16), body. Little-endian. An empty
//! payload is raft's empty entry and has no envelope.

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::{Error, Result};
use crate::ids::{RangeEpoch, Timestamp};

/// Bytes before the body.
pub const HEADER_BYTES: usize = 28;

/// Version this release writes, and the only one it reads.
pub const VERSION: u8 = 1;

/// What a payload is. Tags 3 to 7 are reserved (encryption and its neighbours): a reserved or unknown tag halts the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// `0x01`: a command for the state machine.
    Command,
    /// `0x02`: a lease of the hybrid logical clock.
    Lease,
}

impl Tag {
    /// The byte that stands for this tag. Part of the format.
    pub const fn code(self) -> u8 {
        match self {
            Self::Command => 0x01,
            Self::Lease => 0x02,
        }
    }
}

/// Identifies one proposal for ever: 64 random bits of the proposing actor's start, then a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProposalId {
    /// Drawn at each start of an actor.
    pub stream: u64,
    /// Counts that actor's proposals.
    pub sequence: u64,
}

/// A decoded payload; the body shares the entry's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// What the body is.
    pub tag: Tag,
    /// The range epoch the request was routed by; refused at apply if it is stale.
    pub range_epoch: RangeEpoch,
    /// Whose proposal it is.
    pub proposal: ProposalId,
    /// The body.
    pub body: Bytes,
}

impl Payload {
    /// The bytes that go into an entry. One copy of the body.
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEADER_BYTES + self.body.len());
        bytes.put_u8(self.tag.code());
        bytes.put_u8(VERSION);
        bytes.put_u16_le(0);
        bytes.put_u64_le(self.range_epoch.get());
        bytes.put_u64_le(self.proposal.stream);
        bytes.put_u64_le(self.proposal.sequence);
        bytes.extend_from_slice(&self.body);
        bytes.freeze()
    }

    /// Reads an entry's payload. No copy.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a short payload, a reserved or unknown tag, version or flag. At apply this
    /// halts the group: the leader refuses such a payload before it is appended.
    pub fn decode(bytes: &Bytes) -> Result<Self> {
        let header: &[u8; HEADER_BYTES] =
            bytes.first_chunk().ok_or(Error::Malformed { what: "payload header" })?;
        let tag = match header[0] {
            0x01 => Tag::Command,
            0x02 => Tag::Lease,
            _ => return Err(Error::Malformed { what: "payload tag" }),
        };
        if header[1] != VERSION {
            return Err(Error::Malformed { what: "payload version" });
        }
        if header[2..4] != [0, 0] {
            return Err(Error::Malformed { what: "payload flags" });
        }
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| header[at + i]));
        Ok(Self {
            tag,
            range_epoch: RangeEpoch(number(4)),
            proposal: ProposalId { stream: number(12), sequence: number(20) },
            body: bytes.slice(HEADER_BYTES..),
        })
    }
}

/// The body of a lease of the hybrid logical clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The leader that proposed it gives timestamps below this.
    pub ceiling: Timestamp,
}

impl Lease {
    /// Its bytes: the ceiling, little-endian.
    pub fn encode(self) -> Bytes {
        Bytes::copy_from_slice(&self.ceiling.get().to_le_bytes())
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::Malformed`] unless it has 8 bytes.
    pub fn decode(body: &[u8]) -> Result<Self> {
        let bytes = body.try_into().map_err(|_length| Error::Malformed { what: "lease" })?;
        Ok(Self { ceiling: Timestamp(u64::from_le_bytes(bytes)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload() -> Payload {
        Payload {
            tag: Tag::Command,
            range_epoch: RangeEpoch(7),
            proposal: ProposalId { stream: 1 << 63, sequence: 9 },
            body: Bytes::from_static(b"body"),
        }
    }

    #[test]
    fn a_payload_reads_back_as_written() {
        assert_eq!(Payload::decode(&payload().encode()).unwrap(), payload());
    }

    #[test]
    fn a_lease_reads_back_as_written_and_has_one_length() {
        let lease = Lease { ceiling: Timestamp(0x0102_0304_0506_0708) };
        assert_eq!(Lease::decode(&lease.encode()).unwrap(), lease);
        for bytes in [0, 7, 9] {
            assert!(Lease::decode(&vec![1; bytes]).unwrap_err().is_corruption());
        }
    }

    #[test]
    fn reserved_tags_other_versions_and_flags_are_malformed() {
        for (at, value) in [(0, 0x03), (0, 0x08), (0, 0), (1, 2), (2, 1)] {
            let mut bytes = payload().encode().to_vec();
            bytes[at] = value;
            assert!(Payload::decode(&bytes.into()).unwrap_err().is_corruption());
        }
        assert!(Payload::decode(&Bytes::from_static(&[1; HEADER_BYTES - 1])).is_err());
    }
}
