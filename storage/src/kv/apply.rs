//! Decides and runs the commands of one apply call. Commands see what the ones before them did; the store
//! sees one write per key, the last.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;

use super::batch::Batch;
use super::marker::Counts;
use super::store::KvReader;
use super::{Condition, KvCommand, KvOutcome, Op, decide, record};
use crate::error::Result;
use crate::planted::{self, Planted};
use crate::state::{RecordHasher, StateDigest};

/// A key the call has looked at.
#[derive(Debug)]
struct Slot {
    /// Its value before the call.
    before: Option<Bytes>,
    /// Its value now.
    now: Option<Bytes>,
}

/// The changes of one apply call, over a store that does not change meanwhile.
pub(super) struct Overlay<'a> {
    store: &'a dyn KvReader,
    dir: &'a Path,
    slots: BTreeMap<Bytes, Slot>,
    /// Reused for every look-up.
    stored_key: Vec<u8>,
}

impl<'a> Overlay<'a> {
    /// No changes yet. `dir` is named in errors.
    pub(super) fn new(store: &'a dyn KvReader, dir: &'a Path) -> Self {
        Self { store, dir, slots: BTreeMap::new(), stored_key: Vec::new() }
    }

    /// Runs one command.
    pub(super) fn run(&mut self, command: &KvCommand) -> Result<KvOutcome> {
        for (position, condition) in (0..).zip(&command.conditions) {
            let slot = self.slot(condition.key())?;
            let actual = if planted::is(Planted::ConditionOnOlderState) { &slot.before } else { &slot.now };
            let holds = match condition {
                Condition::Equals(_, value) => actual.as_ref() == Some(value),
                Condition::Absent(_) => actual.is_none(),
                Condition::Present(_) => actual.is_some(),
            };
            if !holds {
                return Ok(KvOutcome::Refused { condition: position, actual: actual.clone() });
            }
        }
        let run = |op: &Op| Ok(decide::run(op, &mut self.slot(op.key())?.now));
        let results = command.ops.iter().map(run).collect::<Result<_>>()?;
        Ok(KvOutcome::Applied { results })
    }

    /// Puts every change into `batch`, and brings `counts` up to date. Returns the digest after them.
    pub(super) fn finish(
        self,
        batch: &mut Batch,
        counts: &mut Counts,
        (hasher, mut digest): (&RecordHasher, StateDigest),
    ) -> StateDigest {
        for (key, slot) in &self.slots {
            if slot.before == slot.now {
                continue;
            }
            if let Some(value) = &slot.before {
                digest = digest.without(hasher.hash(key, value));
                counts.remove(key, value);
            }
            match &slot.now {
                Some(value) => {
                    digest = digest.with(hasher.hash(key, value));
                    counts.add(key, value);
                    record::put(batch, key, value);
                }
                None => record::delete(batch, key),
            }
        }
        digest
    }

    fn slot(&mut self, key: &Bytes) -> Result<&mut Slot> {
        use std::collections::btree_map::Entry;

        match self.slots.entry(key.clone()) {
            Entry::Occupied(slot) => Ok(slot.into_mut()),
            Entry::Vacant(vacant) => {
                self.stored_key.clear();
                self.stored_key.push(record::PREFIX);
                self.stored_key.extend_from_slice(key);
                let before = match self.store.get(&self.stored_key)? {
                    Some(stored) => Some(record::verified(key, &stored, self.dir)?),
                    None => None,
                };
                Ok(vacant.insert(Slot { now: before.clone(), before }))
            }
        }
    }
}
