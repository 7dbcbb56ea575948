//! Whether a backup is still what was written.

use std::path::Path;
use std::sync::Arc;

use super::progress::Tally;
use super::snapshots::every_damage;
use super::{VerifyProgress, VerifyReport};
use crate::backup::{Backup, BackupGroup, LOCK_FILE, MANIFEST_FILE, MANIFEST_HASH_FILE};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::ids::GroupId;
use crate::offline::Finding;

/// Checks the backup at `dir`, goes on after damage, and changes nothing: the manifest by its hash; every snapshot by its
/// SHA-256, its footer, every block, its index; that its records add up to its digest and its label is what the manifest
/// says; and that nothing is there that does not belong to it. With `group`, only that group's snapshot. If the manifest
/// is not what was written nothing can be said of the snapshots, and only the manifest is a finding. `progress` is called
/// about once a MiB.
pub fn verify_backup(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    group: Option<GroupId>,
    progress: &mut dyn FnMut(&VerifyProgress),
) -> VerifyReport {
    let mut tally = Tally::new(progress);
    match Backup::open(Arc::clone(disk), dir) {
        Ok(backup) => {
            let groups = || {
                backup.manifest().groups.iter().filter(|known| group.is_none_or(|group| group == known.group))
            };
            tally.expect(groups().map(|group| group.token.bytes).sum());
            tally.file_done();
            tally.file_done();
            if let Err(error) = check_names(&**disk, &backup, &mut tally) {
                tally.found(&error, dir);
            }
            for group in groups() {
                tally.begin(group.group);
                check_group(&**disk, &backup, group, &mut tally);
            }
        }
        Err(error) => tally.found(&error, &dir.join(MANIFEST_FILE)),
    }
    tally.finish(dir)
}

fn check_group(disk: &dyn Disk, backup: &Backup, group: &BackupGroup, tally: &mut Tally<'_>) {
    let path = backup.path_of(group);
    let checked = backup.check(group, &mut |bytes| tally.read(bytes), &mut |_, _| Ok(()));
    let damage = match checked {
        Ok(_) => Vec::new(),
        Err(first) => every_damage(disk, &path, group.token, first).unwrap_or_else(|error| vec![error]),
    };
    for error in damage {
        tally.found(&error, &path);
    }
    tally.file_done();
}

/// What does not belong to a backup was put there by somebody else: it cannot be vouched for.
fn check_names(disk: &dyn Disk, backup: &Backup, tally: &mut Tally<'_>) -> Result<()> {
    let dir = backup.path();
    let entries = disk.list(dir).map_err(|cause| Error::io("list", dir, cause))?;
    let manifest = backup.manifest();
    for entry in entries {
        let name = entry.name.as_str();
        let is_known = [MANIFEST_FILE, MANIFEST_HASH_FILE, LOCK_FILE].contains(&name)
            || manifest.groups.iter().any(|group| group.file_name() == name);
        if !is_known {
            let path = dir.join(name);
            let (expected, found) = ("the backup".to_owned(), "something else".to_owned());
            let error = Error::Foreign { what: "directory", file: path.clone(), expected, found };
            tally.keep(Finding::of(&error, &path));
        }
    }
    Ok(())
}
