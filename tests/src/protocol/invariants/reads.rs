//! No linearizable read is stale.

use bytes::Bytes;
use quorate_storage::Index;

use super::{Checked, Law, Laws, Who, broken};

impl Laws {
    /// The round of a read that `who` was asked for holds at `index`: not behind what somebody had been told of before.
    pub(crate) fn barrier((group, replica): Who, told_before: Index, index: Index) -> Checked {
        if index >= told_before {
            return Ok(());
        }
        let told = format!(
            "a read by {replica} of group {group} waits for {index}, {told_before} was acknowledged before"
        );
        broken(Law::NoStaleRead, told)
    }

    /// `who` answers a read with `value`, out of its state at `applied`. When it was asked for, somebody had been told of
    /// everything up to `told_before`.
    pub(crate) fn read(
        &mut self,
        who: Who,
        key: &Bytes,
        (told_before, applied): (Index, Index),
        value: Option<&Bytes>,
    ) -> Checked {
        let (group, replica) = who;
        if applied < told_before {
            let told = format!(
                "{replica} of group {group} reads at {applied}, {told_before} was acknowledged before"
            );
            return broken(Law::NoStaleRead, told);
        }
        let expected = self.states.value(group, key, applied);
        if expected.as_ref() != value {
            let told = format!(
                "{replica} of group {group} reads {value:?} of {key:?} at {applied}, not {expected:?}"
            );
            return broken(Law::NoStaleRead, told);
        }
        self.acknowledged.seen(group, applied);
        Ok(())
    }
}
