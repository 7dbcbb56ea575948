//! The ways a snapshot file fails the checks that stand between its bytes and their use.

use std::path::Path;

use crate::error::Error;
use crate::snapshot::layout::corrupt;

/// Which check a snapshot file failed. Each is as fatal for the file as any other; the names tell a report apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SnapshotFault {
    /// The file is shorter than any snapshot.
    TooSmall,
    /// The file is not as long as its token says.
    OtherSize,
    /// The footer is not the checksum in the token: the file is another one, or its end is damaged.
    TokenCrc,
    /// What stands before the footer does not have the footer's checksum.
    FileCrc,
    /// Where a section should start stands the magic of none.
    UnknownMagic,
    /// The state header has a length that its version does not have.
    InvalidLength,
}

impl SnapshotFault {
    /// Every fault.
    pub const ALL: [Self; 6] = [
        Self::TooSmall,
        Self::OtherSize,
        Self::TokenCrc,
        Self::FileCrc,
        Self::UnknownMagic,
        Self::InvalidLength,
    ];

    /// The structure that [`Error::Corrupt`] names for this fault.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooSmall => "snapshot (too small)",
            Self::OtherSize => "snapshot size",
            Self::TokenCrc => "snapshot footer",
            Self::FileCrc => "snapshot file",
            Self::UnknownMagic => "snapshot section magic",
            Self::InvalidLength => "state header length",
        }
    }

    /// The fault that `error` tells of; `None` for any other error.
    pub fn of(error: &Error) -> Option<Self> {
        let Error::Corrupt { what, .. } = error else { return None };
        Self::ALL.into_iter().find(|fault| fault.as_str() == *what)
    }

    /// The error of this fault, found at `offset` of the file at `path`.
    pub(super) fn error(self, path: &Path, offset: u64, [expected, found]: [u64; 2]) -> Error {
        corrupt(self.as_str(), path, offset, [expected, found])
    }
}
