//! Applied only moves on.

use std::collections::HashMap;

use quorate_storage::Index;

use super::{Checked, Law, Who, broken};

/// How far each replica is, and how far its state is known to be durable.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    running: HashMap<Who, Index>,
    durable: HashMap<Who, Index>,
}

impl Applied {
    /// A replica starts with everything up to `floor`: after a skip not behind what was durable. (A restore may go back as
    /// far as its snapshot.)
    pub(crate) fn started(&mut self, who: Who, floor: Index, is_skip: bool) -> Checked {
        let durable = self.durable.get(&who).copied().unwrap_or_default();
        if is_skip && floor < durable {
            let (group, replica) = who;
            let told = format!("{replica} of group {group} starts at {floor}, {durable} was durable");
            return broken(Law::AppliedMonotonic, told);
        }
        if !is_skip {
            self.durable.insert(who, floor);
        }
        self.running.insert(who, floor);
        Ok(())
    }

    /// A start that found its log unreadable, and may have restored before, left the state at `floor`.
    pub(crate) fn left_at(&mut self, who: Who, floor: Index) {
        if let Some(durable) = self.durable.get_mut(&who) {
            *durable = floor.min(*durable);
        }
    }

    /// A replica starts without a state: it waits for a snapshot.
    pub(crate) fn waits(&mut self, who: Who) {
        self.durable.remove(&who);
        self.running.remove(&who);
    }

    /// Its state was damaged on purpose: it may start further back.
    pub(crate) fn damaged(&mut self, who: Who) {
        self.durable.remove(&who);
    }

    /// It holds everything up to `through` now, of which the state up to `durable` survives.
    pub(crate) fn moved(&mut self, who: Who, through: Index, durable: Index) -> Checked {
        let (group, replica) = who;
        let before = self.running.insert(who, through).unwrap_or_default();
        if through <= before {
            let told = format!("{replica} of group {group} goes from {before} to {through}");
            return broken(Law::AppliedMonotonic, told);
        }
        if durable > through {
            let told = format!("{durable} is durable of {replica} of group {group}, {through} is applied");
            return broken(Law::AppliedMonotonic, told);
        }
        self.persisted(who, durable);
        Ok(())
    }

    /// Its log has recorded a snapshot that it has published: the state up to there survives.
    pub(crate) fn recorded(&self, who: Who, snapshot: Index) -> Checked {
        let durable = self.durable.get(&who).copied().unwrap_or_default();
        if durable >= snapshot {
            return Ok(());
        }
        let (group, replica) = who;
        let told = format!("{replica} of group {group} records snapshot {snapshot}, {durable} is durable");
        broken(Law::AppliedMonotonic, told)
    }

    /// Its state up to `durable` survives.
    pub(crate) fn persisted(&mut self, who: Who, durable: Index) {
        let known = self.durable.entry(who).or_default();
        *known = durable.max(*known);
    }
}
