//! What the log drops is in a snapshot, and in an older one, should that rot.

use quorate_storage::Index;
use quorate_storage::snapshot::SnapshotToken;

use super::{Checked, Law, Laws, Who, broken};

impl Laws {
    /// `who` is about to drop its log up to `through`; its log has recorded these snapshots, oldest first.
    pub(crate) fn compacts((group, replica): Who, through: Index, recorded: &[SnapshotToken]) -> Checked {
        let fallback = recorded.iter().rev().nth(1).map_or(Index(0), |token| token.id.index);
        if through <= fallback {
            return Ok(());
        }
        let told = format!(
            "{replica} of group {group} drops its log up to {through}, its second newest snapshot is of {fallback}"
        );
        broken(Law::LogReachesSnapshot, told)
    }
}
