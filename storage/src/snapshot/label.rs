//! The front of a snapshot file: outer header, label, state header. Enough to know what a file is without
//! reading its records.

use std::path::Path;

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::identity::{FileHeader, FileKind, HEADER_BYTES};
use crate::snapshot::checked_file::CheckedFile;
use crate::snapshot::layout::{
    FOOTER_BYTES, LABEL_BYTES_MAX, corrupt, length_field, parse_file_name, u32_at,
};
use crate::snapshot::state_header::{self, StateHeader};
use crate::snapshot::verify::{ReadFrom, verify};
use crate::snapshot::{SnapshotLabel, SnapshotToken};
use crate::state::AppliedRecord;

/// What stands before the records.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) header: FileHeader,
    pub(super) label: SnapshotLabel,
    pub(super) state: Option<StateHeader>,
}

impl Front {
    /// The bytes of a new file's front.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the label is over its bound.
    pub(super) fn encode(header: &FileHeader, label: &SnapshotLabel) -> Result<Vec<u8>> {
        let record = label.record.encode();
        if record.len() > LABEL_BYTES_MAX {
            let (bytes, bytes_max) = (record.len() as u64, LABEL_BYTES_MAX as u64);
            return Err(Error::TooLarge { what: "snapshot label", bytes, bytes_max });
        }
        let state = StateHeader { hlc_ceiling: label.record.hlc_ceiling, cutover: label.record.cutover };
        let mut bytes = header.encode().to_vec();
        bytes.extend_from_slice(&length_field(record.len()));
        bytes.extend_from_slice(&record);
        bytes.extend_from_slice(&state.encode());
        Ok(bytes)
    }

    /// Reads the front, from the start of the file. Each part is checked by its own checksum.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::NewerFormat`], [`Error::Foreign`] (another kind of file, or sealed).
    pub(super) fn read(file: &mut CheckedFile) -> Result<Self> {
        let (header, label) = read_head(file)?;
        Ok(Self { header, label, state: read_state_header(file)? })
    }
}

/// Outer header and label, from the start of the file.
///
/// # Errors
/// As [`Front::read`].
pub(super) fn read_head(file: &mut CheckedFile) -> Result<(FileHeader, SnapshotLabel)> {
    let path = file.path().to_path_buf();
    let header_bytes = usize::try_from(file.bytes()).map_or(HEADER_BYTES, |bytes| bytes.min(HEADER_BYTES));
    let header = FileHeader::decode(&file.take(header_bytes, "file header")?, FileKind::Snapshot, &path)?;
    header.check_clear(&path)?;
    let at = file.offset();
    let label_bytes = u32::from_le_bytes(file.take_array("snapshot label length")?) as usize;
    if label_bytes > LABEL_BYTES_MAX {
        let lengths = [LABEL_BYTES_MAX as u64, label_bytes as u64];
        return Err(corrupt("snapshot label length", &path, at, lengths));
    }
    let record = AppliedRecord::decode(&file.take(label_bytes, "snapshot label")?, &path)?
        .ok_or(Error::Malformed { what: "snapshot label: a format this release no longer reads" })?;
    header.check_group(record.descriptor.uid, &path)?;
    Ok((header, SnapshotLabel { record }))
}

/// The state header, if one stands here: whatever else does is the business of whoever reads on.
///
/// # Errors
/// [`Error::NewerFormat`], [`Error::Corrupt`].
pub(super) fn read_state_header(file: &mut CheckedFile) -> Result<Option<StateHeader>> {
    if file.peek("snapshot section")? != state_header::MAGIC {
        return Ok(None);
    }
    let (path, at) = (file.path().to_path_buf(), file.offset());
    let length = StateHeader::length(file.peek("state header")?, &path, at)?;
    StateHeader::decode(&file.take(length, "state header")?, &path, at).map(Some)
}

/// What the snapshot at `path` says it holds. Reads a few KiB; label and header are checked by their own
/// checksums, the records and the footer are not looked at.
///
/// # Errors
/// [`Error::Missing`], [`Error::Io`]; [`Error::Corrupt`] or [`Error::Malformed`] for a damaged front;
/// [`Error::NewerFormat`]; [`Error::Foreign`] if it is no snapshot, or its name is another's.
pub fn read_label(disk: &dyn Disk, path: &Path) -> Result<SnapshotLabel> {
    let front = Front::read(&mut CheckedFile::open_front(disk, path)?)?;
    check_name(path, &front.label)?;
    Ok(front.label)
}

/// The token and label of the complete snapshot at `path`, of which nothing is known yet. Reads and verifies
/// the whole file.
///
/// # Errors
/// As [`read_label`], and [`Error::Corrupt`] if the file does not match its own footer.
pub fn read_token(disk: &dyn Disk, path: &Path) -> Result<(SnapshotToken, SnapshotLabel)> {
    let label = read_label(disk, path)?;
    let file = CheckedFile::open(disk, path)?;
    let footer = file.last::<FOOTER_BYTES>()?;
    let token = SnapshotToken { id: label.record.applied, bytes: file.bytes(), crc: u32_at(&footer, 0) };
    verify(disk, path, &token, ReadFrom::Cache)?;
    Ok((token, label))
}

/// The last bytes of the file at `path`: its footer, if it is a snapshot.
///
/// # Errors
/// [`Error::Missing`], [`Error::Io`]; [`Error::Corrupt`] if it is too short.
pub(crate) fn read_footer(disk: &dyn Disk, path: &Path) -> Result<u32> {
    Ok(u32_at(&CheckedFile::open(disk, path)?.last::<FOOTER_BYTES>()?, 0))
}

/// Whether the label is of the position the file is named for. A name that is not a snapshot's says nothing.
pub(super) fn check_name(path: &Path, label: &SnapshotLabel) -> Result<()> {
    let named = path.file_name().and_then(|name| parse_file_name(name.to_str()?));
    let held = label.record.applied;
    if named.is_some_and(|named| named != held) {
        return Err(corrupt(
            "snapshot name",
            path,
            0,
            [named.map_or(0, |id| id.index.get()), held.index.get()],
        ));
    }
    Ok(())
}
