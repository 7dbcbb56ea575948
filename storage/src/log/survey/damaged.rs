//! Damaged entries, and the copies that a repair put behind them.

use std::collections::BTreeSet;

use super::{Event, Found, Sink};
use crate::entry::EntryId;
use crate::error::Error;
use crate::ids::{Index, Term};

/// What a copy has in common with the entry: index, term and checksum.
type Identity = (Index, Term, u32);

/// The entries that are damaged where they were written. A copy stands in a later batch, perhaps of a later segment, so
/// whether anything is lost is known once the whole log was read.
#[derive(Debug, Default)]
pub(super) struct DamagedEntries {
    damaged: Vec<(Identity, Error)>,
    copies: BTreeSet<Identity>,
}

impl DamagedEntries {
    /// An entry whose bytes do not have the checksum `crc` that they were written with.
    pub(super) fn push(&mut self, id: EntryId, crc: u32, error: Error) {
        self.damaged.push(((id.index, id.term, crc), error));
    }

    /// An intact copy.
    pub(super) fn push_copy(&mut self, id: EntryId, crc: u32) {
        self.copies.insert((id.index, id.term, crc));
    }

    /// Tells of each entry, in the order of the log; one with a copy is redundant.
    pub(super) fn tell(self, sink: &mut Sink<'_>) {
        for (identity, error) in self.damaged {
            let is_redundant = self.copies.contains(&identity);
            sink(Event::Found(Found { error, is_redundant, entry: Some(identity.0) }));
        }
    }
}
