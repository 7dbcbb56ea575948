//! The snapshots of a group.

use std::path::Path;

use super::progress::Tally;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::identity::FileOwner;
use crate::log::LogState;
use crate::offline::Finding;
use crate::snapshot::{
    self, ReadFrom, SnapshotReader, SnapshotSource, SnapshotToken, file_name, find_damage, parse_file_name,
    read_footer,
};
use crate::state::{RecordHasher, StateDigest};

/// Ends the name of a file that was put aside as corrupt.
const QUARANTINE_SUFFIX: &str = ".bad";

/// Where a group's snapshots are.
pub(super) struct Place<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) dir: &'a Path,
    pub(super) owner: FileOwner,
}

impl Place<'_> {
    /// Checks every complete file: against the log's record, or against its own footer if the log (`None`: it cannot
    /// be read) has none. `is_kv`: the records must add up to the digest in the label.
    pub(super) fn check(&self, log: Option<&LogState>, is_kv: bool, tally: &mut Tally<'_>) {
        let names: Vec<String> = match self.disk.list(self.dir) {
            Ok(entries) => {
                entries.into_iter().filter(|entry| !entry.is_dir).map(|entry| entry.name).collect()
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(cause) => return tally.found(&Error::io("list", self.dir, cause), self.dir),
        };
        let recorded = log.map(|log| log.snapshots.as_slice()).unwrap_or_default();
        for name in &names {
            let Some(id) = parse_file_name(name) else { continue };
            let path = self.dir.join(name);
            let token = recorded.iter().rev().find(|token| token.id == id).copied();
            // The next start removes what a log that can be read does not record.
            let is_orphan = log.is_some() && token.is_none();
            let checked = match token {
                Some(token) => Ok(token),
                None => self.own_token(&path, id),
            };
            let damage = match checked.and_then(|token| self.check_file(&path, token, is_kv, tally)) {
                Ok(damage) => damage,
                Err(error) => vec![error],
            };
            for error in damage {
                let finding = Finding::of(&error, &path);
                tally.keep(if is_orphan { finding.redundant() } else { finding });
            }
            tally.file_done();
        }
        self.check_newest(recorded, &names, tally);
    }

    /// The newest snapshot that the log records is there, unless it was put aside.
    fn check_newest(&self, recorded: &[SnapshotToken], names: &[String], tally: &mut Tally<'_>) {
        let Some(newest) = recorded.iter().max_by_key(|token| token.id.index) else { return };
        let name = file_name(newest.id);
        let aside = format!("{name}{QUARANTINE_SUFFIX}");
        if !names.contains(&name) && !names.contains(&aside) {
            let path = self.dir.join(name);
            tally.found(&Error::Missing { path: path.clone() }, &path);
        }
    }

    /// The token that a file without a record says it has.
    fn own_token(&self, path: &Path, id: crate::EntryId) -> Result<SnapshotToken> {
        let bytes = self.disk.size(path).map_err(|cause| Error::io("look up", path, cause))?.unwrap_or(0);
        Ok(SnapshotToken { id, bytes, crc: read_footer(self.disk, path)? })
    }

    /// Everything that is wrong with one file. Read once; once more to find every place if something is.
    fn check_file(
        &self,
        path: &Path,
        token: SnapshotToken,
        is_kv: bool,
        tally: &mut Tally<'_>,
    ) -> Result<Vec<Error>> {
        match self.read(path, token, is_kv, tally) {
            Ok(()) => Ok(Vec::new()),
            Err(first) => every_damage(self.disk, path, token, first),
        }
    }

    fn read(&self, path: &Path, token: SnapshotToken, is_kv: bool, tally: &mut Tally<'_>) -> Result<()> {
        let mut reader = SnapshotReader::open(self.disk, path, token)?;
        reader.header().check_group(self.owner.group, path)?;
        let hasher = RecordHasher::new(self.owner.group);
        let (mut digest, mut bytes) = (StateDigest::EMPTY, 0);
        while let Some((key, value)) = reader.next_record()? {
            if is_kv {
                digest = digest.with(hasher.hash(&key, &value));
            }
            tally.read(reader.bytes_read() - bytes);
            bytes = reader.bytes_read();
        }
        tally.read(reader.bytes_read() - bytes);
        let expected = reader.label().record.digest;
        if is_kv && digest != expected {
            let [expected, found] = [expected, digest].map(|digest| (digest.0 >> 64) as u64);
            let what = "state digest of a snapshot";
            return Err(Error::Corrupt { what, file: path.to_path_buf(), offset: 0, expected, found });
        }
        Ok(())
    }
}

/// Everything that is wrong with a file of which `first` was found.
///
/// # Errors
/// `first`, if it is about something else than damage; else what kept it from being looked at.
pub(super) fn every_damage(
    disk: &dyn Disk,
    path: &Path,
    token: SnapshotToken,
    first: Error,
) -> Result<Vec<Error>> {
    if matches!(first, Error::Io { .. } | Error::NewerFormat { .. } | Error::Foreign { .. }) {
        // A damaged version or owner looks like a newer or foreign one, but then the file is not the token's.
        return match snapshot::verify(disk, path, &token, ReadFrom::Cache) {
            Err(damage) if damage.is_corruption() => Ok(vec![damage]),
            _ => Err(first),
        };
    }
    let damage = find_damage(disk, path, &token)?;
    Ok(if damage.is_empty() { vec![first] } else { damage })
}
