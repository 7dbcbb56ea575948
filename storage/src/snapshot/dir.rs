//! The directory that holds a group's snapshots.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_telemetry::Rng;

use crate::descriptor::GroupDescriptor;
use crate::disk::Disk;
use crate::entry::{ConfState, EntryId};
use crate::error::{Error, Result};
use crate::identity::{FileHeader, FileKind, FileOwner};
use crate::ids::{Index, Term, Timestamp};
use crate::snapshot::label::{read_label, read_token};
use crate::snapshot::layout::{PART_SUFFIX, QUARANTINE_SUFFIX, TEMPORARY_SUFFIX, file_name, parse_file_name};
use crate::snapshot::writer::{remove_if_there, rename_into_place};
use crate::snapshot::{
    ReadFrom, Retention, SnapshotChunks, SnapshotLabel, SnapshotPayload, SnapshotReadBack, SnapshotReader,
    SnapshotSpool, SnapshotToken, SnapshotWriter, SpoolLimits, verify,
};
use crate::state::{AppliedRecord, StateDigest};

/// Where the snapshot that a group is born with stands: its log starts behind it.
const BIRTH: EntryId = EntryId { term: Term(1), index: Index(1) };

/// A complete file, by its name and size. Whether it is intact is another question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotFile {
    /// The position in its name.
    pub id: EntryId,
    /// Its size.
    pub bytes: u64,
}

/// One group's snapshots. Clones name the same directory; nothing is open or locked in between calls.
///
/// One thread at a time writes, installs or prunes; readers need no care, since an open file stays readable.
#[derive(Clone, Debug)]
pub struct SnapshotDir {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Whose directory this is: the group every file must be of, and the owner named in those written here.
    owner: FileOwner,
}

impl SnapshotDir {
    /// The directory at `path`, of the replica `owner`. Touches nothing.
    pub fn new(disk: Arc<dyn Disk>, path: PathBuf, owner: FileOwner) -> Self {
        Self { disk, path, owner }
    }

    /// Creates the directory in a parent that exists; durable on return.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(&self) -> Result<()> {
        self.disk.create_dir_all(&self.path).map_err(|cause| Error::io("create", &self.path, cause))?;
        match self.path.parent() {
            Some(parent) => self.disk.sync_dir(parent).map_err(|cause| Error::io("sync", parent, cause)),
            None => Ok(()),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the snapshot of `id` is, or would be.
    pub fn path_of(&self, id: EntryId) -> PathBuf {
        self.path.join(file_name(id))
    }

    /// The complete files, oldest first.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn list(&self) -> Result<Vec<SnapshotFile>> {
        let mut files = Vec::new();
        for name in self.names()? {
            let Some(id) = parse_file_name(&name) else { continue };
            let path = self.path.join(&name);
            let size = self.disk.size(&path).map_err(|cause| Error::io("stat", &path, cause))?;
            files.extend(size.map(|bytes| SnapshotFile { id, bytes }));
        }
        files.sort_unstable();
        Ok(files)
    }

    /// Those of `recorded` (the log's) whose file is there with the token's size, oldest first. A `stat` each;
    /// nothing is read. Of two tokens of one position the later counts.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn usable(&self, recorded: &[SnapshotToken]) -> Result<Vec<SnapshotToken>> {
        let mut usable: Vec<SnapshotToken> = Vec::new();
        for token in recorded {
            let path = self.path_of(token.id);
            let size = self.disk.size(&path).map_err(|cause| Error::io("stat", &path, cause))?;
            usable.retain(|earlier| earlier.id != token.id);
            usable.extend((size == Some(token.bytes)).then_some(*token));
        }
        usable.sort_unstable_by_key(|token| (token.id.index, token.id.term));
        Ok(usable)
    }

    /// Starts writing the snapshot of `label`.
    ///
    /// # Errors
    /// [`Error::Io`], with `AlreadyExists` if a file of that position is there (the log may have recorded it);
    /// [`Error::TooLarge`] if the label is over its bound; [`Error::Foreign`] if it is of another group.
    pub fn writer(&self, label: &SnapshotLabel, rng: &dyn Rng) -> Result<SnapshotWriter> {
        let path = self.path_of(label.record.applied);
        let header = FileHeader::new(FileKind::Snapshot, self.owner, rng);
        header.check_group(label.record.descriptor.uid, &path)?;
        if self.disk.size(&path).map_err(|cause| Error::io("stat", &path, cause))?.is_some() {
            return Err(Error::io("publish", &path, std::io::ErrorKind::AlreadyExists.into()));
        }
        SnapshotWriter::create(Arc::clone(&self.disk), &self.path, &header, label)
    }

    /// Publishes the empty snapshot a group is born with, at index 1 of term 1: first conf state and descriptor,
    /// no records. Durable on return. To be called before the log exists; a leftover of an attempt that
    /// crashed is taken if it is intact and says the same, else replaced.
    ///
    /// # Errors
    /// As [`Self::writer`] and [`SnapshotWriter::finish`].
    pub fn publish_empty(
        &self,
        conf_state: ConfState,
        descriptor: GroupDescriptor,
        rng: &dyn Rng,
    ) -> Result<(SnapshotToken, SnapshotLabel)> {
        let record = AppliedRecord {
            applied: BIRTH,
            conf_state,
            descriptor,
            incarnation: self.owner.incarnation,
            hlc_ceiling: Timestamp(0),
            cutover: None,
            wrapped_keys: bytes::Bytes::new(),
            digest: StateDigest::default(),
        };
        let (label, path) = (SnapshotLabel { record }, self.path_of(BIRTH));
        match read_token(&*self.disk, &path) {
            Ok((token, found)) if found == label => {
                self.sync()?;
                return Ok((token, label));
            }
            Ok(_) => remove_if_there(&*self.disk, &path)?,
            Err(error) if error.is_corruption() => remove_if_there(&*self.disk, &path)?,
            Err(Error::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
        let token = self.writer(&label, rng)?.finish()?;
        Ok((token, label))
    }

    /// Starts receiving the snapshot of `token`, which is what its sender's log recorded.
    ///
    /// # Errors
    /// [`Error::TooLarge`] over the limits; [`Error::Io`], with `StorageFull` if there is no room for it.
    pub fn spool(&self, token: SnapshotToken, limits: SpoolLimits) -> Result<SnapshotSpool> {
        SnapshotSpool::create(Arc::clone(&self.disk), &self.path, self.owner.group, token, limits)
    }

    /// Opens the snapshot of `token` to restore from it.
    ///
    /// # Errors
    /// As [`SnapshotReader::open`], and [`Error::Foreign`] if it is of another group.
    pub fn reader(&self, token: SnapshotToken) -> Result<SnapshotReader> {
        let path = self.path_of(token.id);
        let reader = SnapshotReader::open(&*self.disk, &path, token)?;
        reader.header().check_group(self.owner.group, &path)?;
        Ok(reader)
    }

    /// What the snapshot of `token` says it holds. Reads a few KiB, and verifies no more.
    ///
    /// # Errors
    /// As [`read_label`]; [`Error::Corrupt`] if it is of another position; [`Error::Foreign`] if it is of another group.
    pub fn label(&self, token: &SnapshotToken) -> Result<SnapshotLabel> {
        let path = self.path_of(token.id);
        let label = read_label(&*self.disk, &path)?;
        let uid = label.record.descriptor.uid;
        if uid != self.owner.group {
            let (expected, found) = (self.owner.group.to_string(), uid.to_string());
            return Err(Error::Foreign { what: "group", file: path, expected, found });
        }
        Ok(label)
    }

    /// Opens the snapshot of `token` for its state header, from the device.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`]; [`Error::Corrupt`] if size, footer or head are not what they should be;
    /// [`Error::NewerFormat`]; [`Error::Foreign`].
    pub fn payload(&self, token: SnapshotToken) -> Result<SnapshotPayload> {
        SnapshotPayload::open(&*self.disk, &self.path_of(token.id), token, self.owner.group)
    }

    /// Opens the snapshot of `token` to send it.
    ///
    /// # Errors
    /// As [`SnapshotChunks::open`].
    pub fn chunks(&self, token: &SnapshotToken) -> Result<SnapshotChunks> {
        SnapshotChunks::open(&*self.disk, &self.path_of(token.id), token)
    }

    /// Whether the file of `token` is what the token says. Reads all of it; see [`verify`].
    ///
    /// # Errors
    /// As [`verify`].
    pub fn verify(&self, token: &SnapshotToken, from: ReadFrom) -> Result<()> {
        verify(&*self.disk, &self.path_of(token.id), token, from)
    }

    /// Removes what no one will ever need: files being written or received when the process ended, and complete
    /// ones that the log never recorded. For the start of a group, before anything is written or received.
    /// Returns how many were removed. Files put aside as corrupt stay.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sweep(&self, recorded: &[SnapshotToken]) -> Result<usize> {
        self.remove_where(|name| match parse_file_name(name) {
            Some(id) => !recorded.iter().any(|token| token.id == id),
            None => [PART_SUFFIX, TEMPORARY_SUFFIX]
                .iter()
                .any(|suffix| name.strip_suffix(suffix).is_some_and(|name| parse_file_name(name).is_some())),
        })
    }

    /// Keeps the newest usable ones of `recorded` (the log's) that `retention` allows, and removes every complete
    /// file that is older than all of them, or as old and not recorded. Newer files stay: one may be received at
    /// this moment. Returns what was kept, oldest first; with fewer than two usable ones nothing is removed.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn prune(&self, recorded: &[SnapshotToken], retention: Retention) -> Result<Vec<SnapshotToken>> {
        let mut kept = self.usable(recorded)?;
        kept.drain(..retention.surplus(&kept));
        let [oldest, .., newest] = kept.as_slice() else { return Ok(kept) };
        let (oldest, newest) = (oldest.id.index, newest.id.index);
        let is_recorded = |id: EntryId| recorded.iter().any(|token| token.id == id);
        self.remove_where(|name| {
            parse_file_name(name)
                .is_some_and(|id| id.index < oldest || (id.index <= newest && !is_recorded(id)))
        })?;
        Ok(kept)
    }

    /// Refuses a file of `bytes` that would leave less than `reserve_bytes` free.
    ///
    /// # Errors
    /// [`Error::NoRoom`]; [`Error::Io`] if the disk does not say.
    pub fn check_room(&self, id: EntryId, bytes: u64, reserve_bytes: u64) -> Result<()> {
        check_room(&*self.disk, &self.path, &self.path_of(id), bytes.saturating_add(reserve_bytes))
    }

    /// Begins to read the file of `token` back from the device, to see whether it is what the token says.
    ///
    /// # Errors
    /// As [`verify`].
    pub fn read_back(&self, token: SnapshotToken) -> Result<SnapshotReadBack> {
        SnapshotReadBack::open(&*self.disk, &self.path_of(token.id), token)
    }

    /// Puts the file of `id` aside under another name, so that it is never used again but can be looked at.
    /// Durable on return.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn quarantine(&self, id: EntryId) -> Result<PathBuf> {
        let name = file_name(id) + QUARANTINE_SUFFIX;
        rename_into_place(&*self.disk, &self.path_of(id), &self.path, &name)?;
        Ok(self.path.join(name))
    }

    fn remove_where(&self, mut is_removed: impl FnMut(&str) -> bool) -> Result<usize> {
        let mut removed = 0;
        for name in self.names()? {
            if is_removed(&name) {
                remove_if_there(&*self.disk, &self.path.join(&name))?;
                removed += 1;
            }
        }
        if removed > 0 {
            self.sync()?;
        }
        Ok(removed)
    }

    fn names(&self) -> Result<Vec<String>> {
        let entries = self.disk.list(&self.path).map_err(|cause| Error::io("list", &self.path, cause))?;
        Ok(entries.into_iter().filter(|entry| !entry.is_dir).map(|entry| entry.name).collect())
    }

    fn sync(&self) -> Result<()> {
        self.disk.sync_dir(&self.path).map_err(|cause| Error::io("sync", &self.path, cause))
    }
}

/// Refuses `file` in `dir` unless `needed_bytes` are free there.
pub(crate) fn check_room(disk: &dyn Disk, dir: &Path, file: &Path, needed_bytes: u64) -> Result<()> {
    let free_bytes = disk.free_bytes(dir).map_err(|cause| Error::io("stat", dir, cause))?;
    if free_bytes >= needed_bytes {
        return Ok(());
    }
    Err(Error::NoRoom { path: file.to_path_buf(), needed_bytes, free_bytes })
}
