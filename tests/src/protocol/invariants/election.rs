//! Election safety.

use std::collections::HashMap;

use quorate_storage::{GroupId, ReplicaId, Term};
use quorate_transport::{RaftMessage, RaftMessageKind};

use super::{Checked, Law, Who, broken};

/// Who led, and who was voted for.
#[derive(Debug, Default)]
pub(crate) struct Elections {
    leaders: HashMap<(GroupId, Term), ReplicaId>,
    votes: HashMap<(Who, Term), ReplicaId>,
}

impl Elections {
    /// `replica` leads in `term`. Whether nobody was known to lead in it.
    pub(crate) fn leads(&mut self, (group, replica): Who, term: Term) -> Result<bool, super::Violation> {
        let before = self.leaders.len();
        let leader = *self.leaders.entry((group, term)).or_insert(replica);
        if leader != replica {
            let told = format_args!("{leader} and {replica} lead group {group} in term {term}").to_string();
            broken(Law::ElectionSafety, told)?;
        }
        Ok(self.leaders.len() > before)
    }

    /// A message leaves its replica: if it is a vote, it is the only one in its term, whatever happened in between.
    pub(crate) fn sent(&mut self, message: &RaftMessage) -> Checked {
        let is_vote = message.kind == RaftMessageKind::RequestVoteResponse && !message.reject;
        if !is_vote {
            return Ok(());
        }
        let RaftMessage { group, from, to, term, .. } = *message;
        let voted = *self.votes.entry(((group, from), term)).or_insert(to);
        if voted != to {
            let told = format!("{from} of group {group} votes for {voted} and for {to} in term {term}");
            return broken(Law::ElectionSafety, told);
        }
        Ok(())
    }
}
