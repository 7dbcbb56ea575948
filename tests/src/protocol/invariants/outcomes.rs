//! What is said to have had no effect has none.

use std::collections::HashMap;

use quorate_storage::GroupId;
use quorate_storage::payload::ProposalId;

use super::{Checked, Law, broken};

/// One attempt of a client, as the group knows it.
pub(crate) type Attempt = (GroupId, ProposalId);

/// What became of attempts.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    fates: HashMap<(GroupId, u64, u64), Fate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Refused,
    Applied,
}

impl Outcomes {
    /// It was refused, without an effect.
    pub(crate) fn refused(&mut self, attempt: Attempt) -> Checked {
        self.ends(attempt, Fate::Refused)
    }

    /// Somebody applies it.
    pub(crate) fn applied(&mut self, attempt: Attempt) -> Checked {
        self.ends(attempt, Fate::Applied)
    }

    fn ends(&mut self, (group, proposal): Attempt, fate: Fate) -> Checked {
        let known = *self.fates.entry((group, proposal.stream, proposal.sequence)).or_insert(fate);
        if known == fate {
            return Ok(());
        }
        broken(Law::RefusedHasNoEffect, format!("{proposal:?} of group {group} was refused, and is applied"))
    }
}
