//! The outer header that every file of a replica starts with: what kind of file it is, in which format, whose
//! it is, and its own identity.
//!
//! The 128 bytes (layout, magic and checksum) are frozen for ever; the format version in them speaks of what
//! follows. So a damaged header is told from a newer one, and a newer file is refused by name and version
//! without touching it.

use std::path::Path;

use quorate_telemetry::Rng;

use crate::error::{Error, Result};
use crate::ids::{FileId, GroupUid, Incarnation, ReplicaId};

/// Size of the header in bytes, in every file, for ever.
pub const HEADER_BYTES: usize = 128;

/// First bytes of every file. The high bit shows a transfer that lost it.
pub const MAGIC: [u8; 8] = *b"\x89QUORATE";

const CRC_AT: usize = HEADER_BYTES - 4;

const _: () = assert!(CRC_AT > 76, "the checksum follows the last field");

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// `<data>/node`.
    Node,
    /// `groups/<g>/replica`.
    Replica,
    /// `groups/<g>/wal/<first-index>.wal`.
    Log,
    /// `groups/<g>/snapshots/<term>-<index>.snap`.
    Snapshot,
    /// `<data>/peers`.
    Peers,
    /// `groups/<g>/diverged`.
    Divergence,
}

impl FileKind {
    /// The number that stands for this kind. Part of the format. 5 and 6 are reserved for the journal and the
    /// keyring.
    pub const fn code(self) -> u16 {
        match self {
            Self::Node => 1,
            Self::Replica => 2,
            Self::Log => 3,
            Self::Snapshot => 4,
            Self::Peers => 7,
            Self::Divergence => 8,
        }
    }

    /// The format version this release writes for this kind, and the newest one it reads.
    pub const fn version(self) -> u16 {
        match self {
            Self::Node | Self::Replica | Self::Log | Self::Snapshot | Self::Peers | Self::Divergence => 1,
        }
    }

    /// Its name in errors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node file",
            Self::Replica => "replica file",
            Self::Log => "log segment",
            Self::Snapshot => "snapshot",
            Self::Peers => "peers",
            Self::Divergence => "divergence file",
        }
    }
}

/// The key a file is sealed under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

impl KeyId {
    /// Not sealed.
    pub const CLEAR: Self = Self(0);
}

/// Whose a file is. All zero in the node file, which belongs to no replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileOwner {
    /// The group.
    pub group: GroupUid,
    /// The replica that wrote it. In a snapshot: the source, for information only.
    pub replica: ReplicaId,
    /// The directory that replica had. In a snapshot: the source's, for information only.
    pub incarnation: Incarnation,
}

/// The outer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// What the file is.
    pub kind: FileKind,
    /// Format version of what follows the header. Invariant: `1 <= version <= kind.version()`.
    pub version: u16,
    /// Whose it is.
    pub owner: FileOwner,
    /// Drawn fresh when the file was created.
    pub file: FileId,
    /// The key what follows is sealed under.
    pub key: KeyId,
}

impl FileHeader {
    /// The header of a new file in clear, of this release's format version, with a fresh file id.
    pub fn new(kind: FileKind, owner: FileOwner, rng: &dyn Rng) -> Self {
        Self { kind, version: kind.version(), owner, file: FileId(rng.next_id()), key: KeyId::CLEAR }
    }

    /// The bytes, checksum included.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&self.version.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.kind.code().to_le_bytes());
        bytes[12..16].copy_from_slice(&self.key.0.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.owner.group.0);
        bytes[32..40].copy_from_slice(&self.owner.replica.get().to_le_bytes());
        bytes[40..56].copy_from_slice(&self.owner.incarnation.0);
        bytes[56..72].copy_from_slice(&self.file.0);
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header at the start of `bytes`, which are the first ones of the file at `path` and should be
    /// of `kind`. More than [`HEADER_BYTES`] may be given; the rest is not looked at.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is short, has another magic or a wrong checksum; [`Error::Foreign`] if the file
    /// is of another kind; [`Error::NewerFormat`] if a newer release wrote it. Leave the file untouched then.
    pub fn decode(bytes: &[u8], kind: FileKind, path: &Path) -> Result<Self> {
        let corrupt = |offset: usize, expected: u64, found: u64| Error::Corrupt {
            what: "file header",
            file: path.to_path_buf(),
            offset: offset as u64,
            expected,
            found,
        };
        let bytes: &[u8; HEADER_BYTES] =
            bytes.first_chunk().ok_or_else(|| corrupt(0, HEADER_BYTES as u64, bytes.len() as u64))?;
        if bytes[..8] != MAGIC {
            let found = u64::from_le_bytes(array(bytes, 0));
            return Err(corrupt(0, u64::from_le_bytes(MAGIC), found));
        }
        let (stored, computed) =
            (u32::from_le_bytes(array(bytes, CRC_AT)), crc32fast::hash(&bytes[..CRC_AT]));
        if stored != computed {
            return Err(corrupt(CRC_AT, u64::from(computed), u64::from(stored)));
        }
        let code = u16::from_le_bytes(array(bytes, 10));
        if code != kind.code() {
            let (expected, found) = (kind.as_str().to_owned(), format!("file kind {code}"));
            return Err(Error::Foreign { what: "kind of file", file: path.to_path_buf(), expected, found });
        }
        let version = u16::from_le_bytes(array(bytes, 8));
        if version > kind.version() {
            let supported = kind.version();
            return Err(Error::NewerFormat { file: path.to_path_buf(), found: version, supported });
        }
        if version == 0 {
            return Err(corrupt(8, 1, 0));
        }
        let owner = FileOwner {
            group: GroupUid(array(bytes, 16)),
            replica: ReplicaId(u64::from_le_bytes(array(bytes, 32))),
            incarnation: Incarnation(array(bytes, 40)),
        };
        let key = KeyId(u32::from_le_bytes(array(bytes, 12)));
        Ok(Self { kind, version, owner, file: FileId(array(bytes, 56)), key })
    }

    /// Whether the file belongs to this replica: group, replica id and incarnation.
    ///
    /// # Errors
    /// [`Error::Foreign`], naming the first field that differs.
    pub fn check_owner(&self, owner: &FileOwner, path: &Path) -> Result<()> {
        self.check_group(owner.group, path)?;
        if self.owner.replica != owner.replica {
            return Err(foreign("replica", path, owner.replica, self.owner.replica));
        }
        if self.owner.incarnation != owner.incarnation {
            return Err(foreign("incarnation", path, owner.incarnation, self.owner.incarnation));
        }
        Ok(())
    }

    /// Whether the file belongs to this group, whichever replica wrote it.
    ///
    /// # Errors
    /// [`Error::Foreign`].
    pub fn check_group(&self, group: GroupUid, path: &Path) -> Result<()> {
        if self.owner.group == group {
            return Ok(());
        }
        Err(foreign("group", path, group, self.owner.group))
    }

    /// Whether the file is in clear. This release seals nothing.
    ///
    /// # Errors
    /// [`Error::Foreign`] with the key's number.
    pub fn check_clear(&self, path: &Path) -> Result<()> {
        if self.key == KeyId::CLEAR {
            return Ok(());
        }
        Err(foreign("key", path, KeyId::CLEAR.0, self.key.0))
    }
}

/// An [`Error::Foreign`] of two printable identities.
pub(crate) fn foreign<T: std::fmt::Display>(what: &'static str, path: &Path, expected: T, found: T) -> Error {
    let (expected, found) = (expected.to_string(), found.to_string());
    Error::Foreign { what, file: path.to_path_buf(), expected, found }
}

fn array<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FileHeader {
        FileHeader {
            kind: FileKind::Snapshot,
            version: 1,
            owner: FileOwner {
                group: GroupUid([0xa1; 16]),
                replica: ReplicaId(0x0102_0304_0506_0708),
                incarnation: Incarnation([0xb2; 16]),
            },
            file: FileId([0xc3; 16]),
            key: KeyId(7),
        }
    }

    fn decode(bytes: &[u8]) -> Result<FileHeader> {
        FileHeader::decode(bytes, FileKind::Snapshot, Path::new("f"))
    }

    fn with_crc(mut bytes: [u8; HEADER_BYTES]) -> [u8; HEADER_BYTES] {
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn a_header_reads_back_as_written() {
        assert_eq!(decode(&header().encode()).unwrap(), header());
    }

    #[test]
    fn the_layout_is_pinned() {
        let bytes = header().encode();
        assert_eq!(&bytes[..16], b"\x89QUORATE\x01\x00\x04\x00\x07\x00\x00\x00");
        assert_eq!(&bytes[16..32], &[0xa1; 16]);
        assert_eq!(&bytes[32..40], &[8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(&bytes[40..56], &[0xb2; 16]);
        assert_eq!(&bytes[56..72], &[0xc3; 16]);
        assert_eq!(&bytes[72..124], &[0; 52]);
    }

    #[test]
    fn every_flipped_bit_is_corruption() {
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = header().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes).unwrap_err().is_corruption(), "bit {bit}");
        }
    }

    #[test]
    fn every_short_header_is_corruption() {
        for len in 0..HEADER_BYTES {
            assert!(decode(&header().encode()[..len]).unwrap_err().is_corruption());
        }
    }

    #[test]
    fn a_newer_format_is_refused_by_version() {
        let mut bytes = header().encode();
        bytes[8] = 2;
        let error = decode(&with_crc(bytes)).unwrap_err();
        assert!(matches!(error, Error::NewerFormat { found: 2, supported: 1, .. }), "{error}");
    }

    #[test]
    fn another_kind_and_another_owner_are_foreign() {
        let path = Path::new("f");
        let error = FileHeader::decode(&header().encode(), FileKind::Log, path).unwrap_err();
        assert!(matches!(error, Error::Foreign { what: "kind of file", .. }), "{error}");
        let own = header().owner;
        header().check_owner(&own, path).unwrap();
        for (what, owner) in [
            ("group", FileOwner { group: GroupUid([1; 16]), ..own }),
            ("replica", FileOwner { replica: ReplicaId(1), ..own }),
            ("incarnation", FileOwner { incarnation: Incarnation([1; 16]), ..own }),
        ] {
            let error = header().check_owner(&owner, path).unwrap_err();
            assert!(matches!(error, Error::Foreign { what: w, .. } if w == what), "{error}");
        }
        assert!(header().check_clear(path).is_err());
    }
}
