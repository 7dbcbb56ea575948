//! Why bytes were refused.

/// Bytes of a peer that are no frame of ours. The connection they came on is closed and counted: nothing
/// behind them can be trusted to start where a frame starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The first four bytes are not ours: not a Quorate node, or the stream slipped.
    #[error("frame magic is {found:#010x}")]
    Magic {
        /// The four bytes, read little-endian.
        found: u32,
    },
    /// A frame layout this release does not know.
    #[error("frame version is {found}, this release reads {supported}")]
    Version {
        /// Its version.
        found: u8,
        /// Ours.
        supported: u8,
    },
    /// The header was damaged on the way.
    #[error("frame header checksum is {found:#010x}, expected {expected:#010x}")]
    HeaderCrc {
        /// Checksum of what arrived.
        expected: u32,
        /// Checksum it claims.
        found: u32,
    },
    /// A kind this release does not know, or one that has no business at this point.
    #[error("frame kind {found} is not expected here")]
    Kind {
        /// The kind's code.
        found: u8,
    },
    /// The body would be over the cap. Refused before anything was allocated for it.
    #[error("a frame of {bytes} bytes is over the limit of {bytes_max}")]
    TooLarge {
        /// The length in the header.
        bytes: u64,
        /// The cap.
        bytes_max: u64,
    },
    /// The body was damaged on the way.
    #[error("frame body checksum is {found:#010x}, expected {expected:#010x}")]
    BodyCrc {
        /// Checksum of what arrived.
        expected: u32,
        /// Checksum the header claims.
        found: u32,
    },
    /// The checksums are right and the structure is not.
    #[error("malformed {what}")]
    Malformed {
        /// The structure or field.
        what: &'static str,
    },
    /// The stream ended inside a frame.
    #[error("the stream ended after {bytes} bytes of a frame")]
    Truncated {
        /// How much of it had arrived.
        bytes: u64,
    },
}
