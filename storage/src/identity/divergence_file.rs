//! `groups/<g>/diverged`: the replica was found to hold another state than the majority of its group. Its store and its
//! snapshots agree with each other, so nothing else on the disk tells.

use std::fmt;
use std::path::Path;

use quorate_telemetry::Rng;

use crate::disk::Disk;
use crate::error::Result;
use crate::identity::{FileHeader, FileKind, FileOwner, small_file};
use crate::ids::Index;
use crate::state::StateDigest;

/// Index, its own digest, the majority's.
const BODY_BYTES: usize = 40;

/// What was found. While the file is there, the replica does not start: it has to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The applied index that was compared.
    pub index: Index,
    /// What this replica held there.
    pub own: StateDigest,
    /// What the majority held.
    pub majority: StateDigest,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, own, majority } = self;
        write!(
            f,
            "its state at {index} has the digest {:032x}, that of the majority {:032x}",
            own.0, majority.0
        )?;
        f.write_str(": the replica has to be replaced")
    }
}

impl Divergence {
    /// Reads the file at `path`; `None` if there is none.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`], [`crate::Error::NewerFormat`], [`crate::Error::Foreign`] (another kind of file),
    /// [`crate::Error::Io`].
    pub fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Self>> {
        let Some((_, body)) = small_file::read::<BODY_BYTES>(disk, path, FileKind::Divergence)? else {
            return Ok(None);
        };
        let digest = |at: usize| StateDigest(u128::from_le_bytes(std::array::from_fn(|i| body[at + i])));
        let index = Index(u64::from_le_bytes(std::array::from_fn(|i| body[i])));
        Ok(Some(Self { index, own: digest(8), majority: digest(24) }))
    }

    /// Writes the file of the replica `owner`. Durable on return; two syncs.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn write(&self, disk: &dyn Disk, path: &Path, owner: FileOwner, rng: &dyn Rng) -> Result<()> {
        let mut body = [0; BODY_BYTES];
        body[..8].copy_from_slice(&self.index.get().to_le_bytes());
        body[8..24].copy_from_slice(&self.own.0.to_le_bytes());
        body[24..].copy_from_slice(&self.majority.0.to_le_bytes());
        let header = FileHeader::new(FileKind::Divergence, owner, rng);
        small_file::replace(disk, path, &header, &body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use quorate_telemetry::SeededRng;

    use crate::disk::SimDisk;

    #[test]
    fn what_was_found_is_read_back_and_nothing_is_nothing() {
        let (disk, path) = (SimDisk::new(), Path::new("/diverged"));
        assert_eq!(Divergence::read(&disk, path).unwrap(), None);
        let found = Divergence { index: Index(7), own: StateDigest(1 << 90), majority: StateDigest(3) };
        found.write(&disk, path, FileOwner::default(), &SeededRng::new(1)).unwrap();
        assert_eq!(Divergence::read(&disk, path).unwrap(), Some(found));
    }
}
