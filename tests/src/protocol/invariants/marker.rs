//! The marker is what was applied.

use quorate_storage::state::{AppliedRecord, StateMachine};

use super::{Checked, Law, Laws, Who, broken};

impl Laws {
    /// After an apply or a restore: what the state machine's store says it holds is what it was given. Also tells the
    /// state's digest to whom it concerns.
    pub(crate) fn marker(&mut self, who: Who, machine: &dyn StateMachine, given: &AppliedRecord) -> Checked {
        let (group, replica) = who;
        let Some(reader) = machine.as_applied_index_reader() else { return Ok(()) };
        let held = reader.applied_record();
        let Ok(Some(held)) = held else {
            let told =
                format!("{replica} of group {group} has no record of {}: {held:?}", given.applied.index);
            return broken(Law::MarkerEqualsApplied, told);
        };
        let is_same = held.applied == given.applied
            && held.conf_state == given.conf_state
            && held.descriptor == given.descriptor
            && held.hlc_ceiling == given.hlc_ceiling
            && held.incarnation == given.incarnation;
        if !is_same {
            let told = format!("{replica} of group {group} holds {held:?}, applied was {given:?}");
            return broken(Law::MarkerEqualsApplied, told);
        }
        self.states.digest(who, held.applied.index, held.digest)
    }
}
