//! Reads a whole snapshot file once, and checks everything about it that can be checked.

use std::path::Path;

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::sha256::Sha256Sum;
use crate::snapshot::{SnapshotLabel, SnapshotReader, SnapshotSource, SnapshotToken};
use crate::state::{RecordHasher, StateDigest};

/// Is called with the key and the value of every record.
pub type OnRecord<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

/// What a snapshot file turned out to be.
#[derive(Clone, Debug)]
pub struct WholeSnapshot {
    /// What it says of itself.
    pub label: SnapshotLabel,
    /// Its records.
    pub records: u64,
    /// SHA-256 of the file.
    pub sha256: Sha256Sum,
}

impl WholeSnapshot {
    /// The digest its records add up to; `None` if the state machine that wrote it keeps none.
    pub fn digest(&self) -> Option<StateDigest> {
        let digest = self.label.record.digest;
        (digest != StateDigest::EMPTY || self.records == 0).then_some(digest)
    }
}

/// Reads the snapshot at `path`, which should be the one of `token`: every block, the index, the footer, the token; and
/// that its records add up to the digest in its label, if there is one. `on_record` is called with every record in key
/// order, `on_bytes` now and then with how many more bytes were read; what they were told counts only once this returns
/// `Ok`. Reads the file once. Blocking.
///
/// # Errors
/// As [`SnapshotReader::open`] and [`SnapshotReader`]'s `next_record`; [`Error::Corrupt`] about the digest; whatever
/// `on_record` says.
pub fn read_whole(
    disk: &dyn Disk,
    path: &Path,
    token: SnapshotToken,
    on_bytes: &mut dyn FnMut(u64),
    on_record: OnRecord<'_>,
) -> Result<WholeSnapshot> {
    let mut reader = SnapshotReader::open_hashing(disk, path, token)?;
    let label = reader.label().clone();
    let hasher = RecordHasher::new(label.record.descriptor.uid);
    let (mut digest, mut records, mut told) = (StateDigest::EMPTY, 0, 0);
    while let Some((key, value)) = reader.next_record()? {
        records += 1;
        digest = digest.with(hasher.hash(&key, &value));
        on_record(&key, &value)?;
        on_bytes(reader.bytes_read() - told);
        told = reader.bytes_read();
    }
    on_bytes(reader.bytes_read() - told);
    let sha256 = reader.sha256().expect("it was opened to be hashed, and has been read");
    let whole = WholeSnapshot { label, records, sha256 };
    match whole.digest() {
        Some(expected) if expected != digest => {
            let [expected, found] = [expected, digest].map(|digest| (digest.0 >> 64) as u64);
            let what = "state digest of a snapshot";
            Err(Error::Corrupt { what, file: path.to_path_buf(), offset: 0, expected, found })
        }
        _ => Ok(whole),
    }
}
