//! State machine safety: one history, one state at each index of it. A model applies what replicas apply, and says what
//! should have come of it.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use quorate_storage::kv::{Condition, KvCommand, KvOutcome, Op, OpResult};
use quorate_storage::payload::{Payload, ProposalId, Tag};
use quorate_storage::state::StateDigest;
use quorate_storage::{Entry, EntryId, EntryKind, GroupId, Index};

use super::{Checked, Law, Who, broken};

/// The history of every group, and what its state was.
#[derive(Debug, Default)]
pub(crate) struct States {
    groups: BTreeMap<GroupId, State>,
}

#[derive(Debug, Default)]
struct State {
    /// From index 2 on: with the first, a group is born.
    history: Vec<Told>,
    /// Every value of each key, with the index it is from.
    versions: BTreeMap<Bytes, Vec<(Index, Option<Bytes>)>>,
    digests: HashMap<Index, StateDigest>,
}

/// What an entry was when it was first applied.
#[derive(Debug)]
struct Told {
    id: EntryId,
    crc: u32,
    proposal: Option<ProposalId>,
    output: Option<Bytes>,
}

/// Index of the first entry that is applied.
const FIRST: u64 = 2;

impl States {
    /// `who` is about to apply `entry`. Tells the model, if nobody was so far yet; gives what the state machine must answer.
    pub(crate) fn applying(
        &mut self,
        (group, replica): Who,
        entry: &Entry,
    ) -> Result<Option<Bytes>, super::Violation> {
        let state = self.groups.entry(group).or_default();
        let at = usize::try_from(entry.index.get() - FIRST).unwrap_or(usize::MAX);
        if at == state.history.len() {
            state.tell(entry);
        }
        match state.history.get(at) {
            Some(told) if told.id == entry.id() && told.crc == entry.crc() => Ok(told.output.clone()),
            Some(told) => {
                let told = format!(
                    "{replica} of group {group} applies an entry of term {} at {}, where one of term {} was applied",
                    entry.term, entry.index, told.id.term
                );
                broken(Law::StateMachineSafety, told).map(|()| None)
            }
            None => {
                let told = format!("{replica} of group {group} applies {} behind a gap", entry.index);
                broken(Law::StateMachineSafety, told).map(|()| None)
            }
        }
    }

    /// What the state machine answered to the command at `id`.
    pub(crate) fn answered(
        (group, replica): Who,
        id: EntryId,
        expected: Option<&Bytes>,
        output: &Bytes,
    ) -> Checked {
        if expected == Some(output) {
            return Ok(());
        }
        let told = format!("{replica} of group {group} answers {output:?} at {}, not {expected:?}", id.index);
        broken(Law::StateMachineSafety, told)
    }

    /// The state of `who` at `index`.
    pub(crate) fn digest(&mut self, (group, replica): Who, index: Index, digest: StateDigest) -> Checked {
        let known = *self.groups.entry(group).or_default().digests.entry(index).or_insert(digest);
        if known == digest {
            return Ok(());
        }
        let told = format!(
            "the state of {replica} of group {group} at {index} has digest {:032x}, another's had {:032x}",
            digest.0, known.0
        );
        broken(Law::StateMachineSafety, told)
    }

    /// The digest known for `index`.
    pub(crate) fn digest_at(&self, group: GroupId, index: Index) -> Option<StateDigest> {
        self.groups.get(&group)?.digests.get(&index).copied()
    }

    /// The entry known at `index`.
    pub(crate) fn entry_at(&self, group: GroupId, index: Index) -> Option<EntryId> {
        let at = usize::try_from(index.get().checked_sub(FIRST)?).ok()?;
        self.groups.get(&group)?.history.get(at).map(|told| told.id)
    }

    /// The proposal of the entry known at `id`.
    pub(crate) fn proposal_at(&self, group: GroupId, id: EntryId) -> Option<ProposalId> {
        let at = usize::try_from(id.index.get().checked_sub(FIRST)?).ok()?;
        let told = self.groups.get(&group)?.history.get(at)?;
        told.proposal.filter(|_| told.id == id)
    }

    /// The value of `key` as of `index`.
    pub(crate) fn value(&self, group: GroupId, key: &Bytes, index: Index) -> Option<Bytes> {
        let versions = self.groups.get(&group)?.versions.get(key)?;
        let behind = versions.partition_point(|(at, _)| *at <= index);
        versions[..behind].last().and_then(|(_, value)| value.clone())
    }

    /// Index of the last entry anyone has applied.
    pub(crate) fn last(&self, group: GroupId) -> Index {
        let count = self.groups.get(&group).map_or(0, |state| state.history.len() as u64);
        Index(count + FIRST - 1)
    }
}

impl State {
    fn tell(&mut self, entry: &Entry) {
        let payload = match entry.kind {
            EntryKind::Normal if !entry.payload.is_empty() => Payload::decode(&entry.payload).ok(),
            _ => None,
        };
        let proposal = payload.as_ref().map(|payload| payload.proposal);
        let command = payload.filter(|payload| payload.tag == Tag::Command);
        let command = command.and_then(|payload| KvCommand::decode(&payload.body).ok());
        let output = command.map(|command| self.run(entry.index, &command).encode());
        self.history.push(Told { id: entry.id(), crc: entry.crc(), proposal, output });
    }

    fn now(&self, key: &Bytes) -> Option<Bytes> {
        self.versions.get(key).and_then(|versions| versions.last()).and_then(|(_, value)| value.clone())
    }

    /// Conditions, puts and deletes: all that clients of a simulation send.
    fn run(&mut self, index: Index, command: &KvCommand) -> KvOutcome {
        for (position, condition) in (0..).zip(&command.conditions) {
            let actual = self.now(condition.key());
            let holds = match condition {
                Condition::Equals(_, value) => actual.as_ref() == Some(value),
                Condition::Absent(_) => actual.is_none(),
                Condition::Present(_) => actual.is_some(),
            };
            if !holds {
                return KvOutcome::Refused { condition: position, actual };
            }
        }
        let mut results = Vec::with_capacity(command.ops.len());
        for op in &command.ops {
            let value = match op {
                Op::Put(_, value) => Some(value.clone()),
                Op::Delete(_) => None,
                other => unreachable!("no client sends {other:?}"),
            };
            results.push(OpResult::done(self.now(op.key()).is_some()));
            self.versions.entry(op.key().clone()).or_default().push((index, value));
        }
        KvOutcome::Applied { results }
    }
}
