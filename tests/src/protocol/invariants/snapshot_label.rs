//! A snapshot holds what its label says.

use quorate_storage::kv::verify_snapshot;
use quorate_storage::snapshot::{SnapshotDir, SnapshotLabel, SnapshotToken};

use super::{Checked, Law, Laws, Who, broken};

impl Laws {
    /// `who` has published or taken a snapshot: its label names a committed entry, the digest in it is that of the state at
    /// this very index, and the records in the file add up to it.
    pub(crate) fn snapshot(
        &mut self,
        who: Who,
        dir: &SnapshotDir,
        token: SnapshotToken,
        label: &SnapshotLabel,
    ) -> Checked {
        let (group, replica) = who;
        let record = &label.record;
        let told = |what: &dyn std::fmt::Display| {
            format!("the snapshot of {replica} of group {group} at {}: {what}", token.id.index)
        };
        if record.applied != token.id {
            return broken(Law::SnapshotLabel, told(&format!("its label is of {:?}", record.applied)));
        }
        let is_birth = token.id.index.get() == 1;
        if !is_birth && self.states.entry_at(group, token.id.index) != Some(token.id) {
            return broken(Law::SnapshotLabel, told(&"nobody has applied that entry"));
        }
        if let Some(digest) = self.states.digest_at(group, token.id.index)
            && digest != record.digest
        {
            return broken(Law::SnapshotLabel, told(&"the state had another digest there"));
        }
        let file = dir.path_of(token.id);
        let verified = dir
            .reader(token)
            .and_then(|mut reader| verify_snapshot(record.descriptor.uid, &mut reader, record, &file));
        match verified {
            Err(error) if error.is_corruption() => broken(Law::SnapshotLabel, told(&error)),
            // The disk fails, or its power is gone: nothing can be said.
            _ => Ok(()),
        }
    }
}
