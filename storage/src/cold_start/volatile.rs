//! Entries that act on memory only, and duplicates: what a start that restored nothing has to do again, and what it must
//! not.
//!
//! A duplicate is an entry at or below the floor. It is opened if it stands above the cutover, and only then judged:
//! *volatile* ones are applied for their effect on memory, without an index, a marker or an answer; data, conf changes and
//! empty entries are dropped, because the state holds them already.

use bytes::Bytes;

use crate::entry::{Entry, EntryKind};
use crate::error::{Error, Result};
use crate::ids::{Index, Timestamp};
use crate::log::LogReader;
use crate::payload::{Lease, Payload, Tag, Unsealer};
use crate::planted::{self, Planted};
use crate::state::VolatileEntryClassifier;

/// Bytes of payload read from the log at once.
const READ_BYTES_MAX: u64 = 1 << 20;

/// What an entry at or below the floor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duplicate {
    /// Nothing is done with it.
    Dropped,
    /// It is applied for its effect on memory.
    Volatile(Payload),
}

/// How payloads are read.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// Index strictly above which payloads are sealed.
    pub cutover: Option<Index>,
    /// Opens them.
    pub unsealer: &'a dyn Unsealer,
}

impl Opening<'_> {
    /// The payload of a normal entry, in clear; `None` if it is raft's empty one.
    ///
    /// # Errors
    /// Of the unsealer; [`Error::Malformed`]. The group halts.
    pub fn open(&self, entry: &Entry) -> Result<Option<Payload>> {
        if entry.payload.is_empty() {
            return Ok(None);
        }
        let is_sealed = self.cutover.is_some_and(|cutover| entry.index > cutover);
        let clear: Bytes =
            if is_sealed { self.unsealer.unseal(entry.id(), &entry.payload)? } else { entry.payload.clone() };
        Payload::decode(&clear).map(Some)
    }

    /// Judges an entry at or below the floor.
    ///
    /// # Errors
    /// As [`Opening::open`]: what cannot be understood halts the group as it would have at its apply.
    pub fn classify(&self, entry: &Entry, classifier: &dyn VolatileEntryClassifier) -> Result<Duplicate> {
        if entry.kind == EntryKind::ConfChange || classifier.covers_volatile() {
            return Ok(Duplicate::Dropped);
        }
        let volatile = self.open(entry)?.filter(|payload| classifier.is_volatile(payload));
        Ok(volatile.map_or(Duplicate::Dropped, Duplicate::Volatile))
    }
}

/// The entries between the newest snapshot and the floor of a skip, `after` not included.
#[derive(Clone, Copy, Debug)]
pub struct VolatileWalk<'a> {
    /// The log.
    pub log: &'a dyn LogReader,
    /// First index of the log.
    pub first: Index,
    /// `S`.
    pub after: Index,
    /// `H`.
    pub through: Index,
    /// How payloads are read.
    pub opening: Opening<'a>,
}

/// What a walk did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Entries applied for their effect on memory.
    pub replayed: u64,
    /// Entries dropped.
    pub dropped: u64,
    /// Bytes of payload read.
    pub bytes_read: u64,
    /// The highest ceiling of a lease among those replayed; 0 without one.
    pub hlc_ceiling: Timestamp,
}

/// Why a walk ended early.
#[derive(Clone, Debug)]
pub enum WalkEnd {
    /// The log lacks this entry, or cannot give it: the state is restored instead.
    Gap(Index),
    /// This entry cannot be understood, or its effect not be had: the group halts.
    Halt(Index, Error),
}

impl VolatileWalk<'_> {
    /// Applies the volatile entries, once each and in order. Reads a MiB at a time. Nothing is applied if the log is
    /// known to lack one.
    ///
    /// # Errors
    /// [`WalkEnd`]. What was applied before stays in memory, and is replaced by the restore that follows a gap.
    pub fn run(&self, classifier: &mut dyn VolatileEntryClassifier) -> Result<Walked, WalkEnd> {
        let mut walked = Walked::default();
        let mut next = self.after.next();
        if next <= self.through && next < self.first {
            return Err(WalkEnd::Gap(next));
        }
        while next <= self.through {
            let entries = self.log.entries(next, self.through.next(), READ_BYTES_MAX);
            let entries = entries.map_err(|_unreadable| WalkEnd::Gap(next))?;
            if entries.is_empty() {
                return Err(WalkEnd::Gap(next));
            }
            for entry in entries {
                if entry.index != next {
                    return Err(WalkEnd::Gap(next));
                }
                walked.bytes_read += entry.payload.len() as u64;
                self.replay(&entry, classifier, &mut walked).map_err(|cause| WalkEnd::Halt(next, cause))?;
                next = next.next();
            }
        }
        Ok(walked)
    }

    fn replay(
        &self,
        entry: &Entry,
        classifier: &mut dyn VolatileEntryClassifier,
        walked: &mut Walked,
    ) -> Result<()> {
        match self.opening.classify(entry, classifier)? {
            Duplicate::Dropped => walked.dropped += 1,
            Duplicate::Volatile(_) if planted::is(Planted::VolatileDropped) => walked.dropped += 1,
            Duplicate::Volatile(payload) => {
                if payload.tag == Tag::Lease {
                    walked.hlc_ceiling = walked.hlc_ceiling.max(Lease::decode(&payload.body)?.ceiling);
                }
                classifier.apply_volatile(&payload)?;
                walked.replayed += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
