//! What a replica promises is durable before it says so.

use quorate_storage::{HardState, Index};
use quorate_transport::{RaftMessage, RaftMessageKind};

use super::{Checked, Law, Laws, broken};

impl Laws {
    /// `message` leaves a replica whose log has `hard_state` and entries up to `last` on its disk: the vote that it gives is
    /// there, and the entries that it acknowledges. (What was promised in an earlier term may have been overtaken.)
    pub(crate) fn promises(message: &RaftMessage, hard_state: HardState, last: Index) -> Checked {
        let is_current = message.term >= hard_state.term;
        let has_term = message.term == hard_state.term;
        let is_durable = match message.kind {
            RaftMessageKind::RequestVote => has_term && hard_state.vote == Some(message.from),
            RaftMessageKind::RequestVoteResponse if !message.reject => {
                has_term && hard_state.vote == Some(message.to)
            }
            RaftMessageKind::AppendResponse if !message.reject => has_term && message.log.index <= last,
            _ => true,
        };
        if is_durable || !is_current {
            return Ok(());
        }
        let RaftMessage { group, from, to, kind, term, .. } = message;
        let told = format!(
            "{from} of group {group} sends {to} a {kind:?} of term {term} up to {}, its disk has {hard_state:?} and \
             entries up to {last}",
            message.log.index
        );
        broken(Law::PromisesAreDurable, told)
    }
}
