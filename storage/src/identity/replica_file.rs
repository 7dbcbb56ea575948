//! `groups/<g>/replica`: which replica of which group a directory belongs to, or belonged to.

use std::path::Path;

use quorate_telemetry::Rng;

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::identity::header::foreign;
use crate::identity::{FileHeader, FileKind, FileOwner, small_file};
use crate::ids::{GroupId, GroupUid, Incarnation, ReplicaId};

/// Group id, flags. Uid, replica id and incarnation are in the outer header.
const BODY_BYTES: usize = 16;

/// Flag: removed for ever.
const TOMBSTONE: u8 = 1;

/// Who a group's directory belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaIdentity {
    /// The group's number.
    pub group: GroupId,
    /// The group's identity.
    pub uid: GroupUid,
    /// Raft's peer id.
    pub replica: ReplicaId,
    /// This directory.
    pub incarnation: Incarnation,
    /// The replica was removed and must never take part again; its data is gone or going.
    pub tombstone: bool,
}

impl ReplicaIdentity {
    /// What every file of this replica is owned by.
    pub fn owner(&self) -> FileOwner {
        FileOwner { group: self.uid, replica: self.replica, incarnation: self.incarnation }
    }

    /// Reads the replica file at `path`; `None` if there is none: the directory was never completed.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::NewerFormat`], [`Error::Foreign`] (another kind of file), [`Error::Io`].
    pub fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Self>> {
        let Some((header, body)) = small_file::read::<BODY_BYTES>(disk, path, FileKind::Replica)? else {
            return Ok(None);
        };
        let FileOwner { group: uid, replica, incarnation } = header.owner;
        let group = GroupId(u64::from_le_bytes(std::array::from_fn(|i| body[i])));
        if body[8] > TOMBSTONE {
            return Err(Error::Malformed { what: "replica file flags" });
        }
        Ok(Some(Self { group, uid, replica, incarnation, tombstone: body[8] == TOMBSTONE }))
    }

    /// Writes the replica file of a new replica: the last act of creating its directory, which counts only once
    /// this has returned. Durable on return. Doing it again with the same identity changes nothing.
    ///
    /// # Errors
    /// [`Error::Foreign`] if another replica lives there, or this very one was removed: a removed replica never
    /// comes back under its id. [`Error::Io`]; whatever reading the present file says.
    pub fn create(&self, disk: &dyn Disk, path: &Path, rng: &dyn Rng) -> Result<()> {
        match Self::read(disk, path)? {
            Some(found) if found == *self => Ok(()),
            Some(found) if !found.tombstone || (found.uid, found.replica) == (self.uid, self.replica) => {
                Err(foreign("replica", path, self.replica_name(), found.replica_name()))
            }
            _ => self.write(disk, path, rng),
        }
    }

    /// Writes or replaces the replica file. Durable on return.
    pub(super) fn write(&self, disk: &dyn Disk, path: &Path, rng: &dyn Rng) -> Result<()> {
        let mut body = [0; BODY_BYTES];
        body[..8].copy_from_slice(&self.group.get().to_le_bytes());
        body[8] = u8::from(self.tombstone);
        let header = FileHeader::new(FileKind::Replica, self.owner(), rng);
        small_file::replace(disk, path, &header, &body)
    }

    fn replica_name(&self) -> String {
        let removed = if self.tombstone { " (removed)" } else { "" };
        format!("{} of group {}, incarnation {}{removed}", self.replica, self.uid, self.incarnation)
    }
}
