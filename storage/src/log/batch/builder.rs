//! Builds batches.

use super::{
    ALIGN_BYTES, END_MAGIC, ENTRY_BYTES_MAX, FLAG_INSTALL, FRONT_MAGIC, HEAD_BYTES, LENGTH_BITS, Record,
    count_u32, head_crc, kind,
};
use crate::entry::{Entry, EntryId};
use crate::ids::{FileId, ReplicaId, Term};
use crate::log::bytes::PutFields;

/// Builds a batch in a buffer that is kept between batches. First every record, then every payload in the
/// order of the records, then [`Self::finish`].
#[derive(Debug, Default)]
pub(in crate::log) struct BatchBuilder {
    bytes: Vec<u8>,
    records: u32,
    table_bytes: usize,
}

impl BatchBuilder {
    pub(in crate::log) fn begin(&mut self) {
        self.bytes.clear();
        self.bytes.resize(HEAD_BYTES, 0);
        self.records = 0;
    }

    pub(in crate::log) fn has_records(&self) -> bool {
        self.records > 0
    }

    /// Adds a record that has no payload.
    pub(in crate::log) fn record(&mut self, record: &Record) {
        let (kind, flags, id, value, crc) = match *record {
            Record::Entries(_) | Record::Repair(_) | Record::Unknown(_) => {
                unreachable!("entries are added with their rows")
            }
            Record::HardState(state) => {
                let id = EntryId { term: state.term, index: state.commit };
                (kind::HARD_STATE, 0, id, state.vote.map_or(0, ReplicaId::get), 0)
            }
            Record::Truncate { last } => (kind::TRUNCATE, 0, last, 0, 0),
            Record::Compact(id) => (kind::COMPACT, 0, id, 0, 0),
            Record::Snapshot { token, install } => {
                let flags = if install { FLAG_INSTALL } else { 0 };
                (kind::SNAPSHOT, flags, token.id, token.bytes, token.crc)
            }
            Record::Proof => (kind::PROOF, 0, EntryId::default(), 0, 0),
            Record::Close => (kind::CLOSE, 0, EntryId::default(), 0, 0),
        };
        self.put_record([kind, flags], 0, id, value);
        self.bytes.put_u32(0);
        self.bytes.put_u32(crc);
    }

    /// Adds the records of `entries`, one per run of equal term. Their payloads follow later.
    pub(in crate::log) fn entries(&mut self, entries: &[Entry], mut prev_term: Term) {
        for run in entries.chunk_by(|a, b| a.term == b.term) {
            self.put_run(kind::ENTRIES, run, prev_term);
            prev_term = run[0].term;
        }
    }

    /// Adds the records of repaired `entries`, ascending, perhaps with gaps. Their payloads follow later.
    pub(in crate::log) fn repairs(&mut self, entries: &[Entry]) {
        for run in entries.chunk_by(|a, b| a.term == b.term && a.index.next() == b.index) {
            self.put_run(kind::REPAIR, run, Term(0));
        }
    }

    fn put_run(&mut self, kind: u8, run: &[Entry], prev_term: Term) {
        let body_bytes: usize = run.iter().map(|entry| entry.payload.len()).sum();
        self.put_record([kind, 0], count_u32(run.len()), run[0].id(), prev_term.get());
        self.bytes.put_u32(count_u32(body_bytes));
        self.bytes.put_u32(0);
        for entry in run {
            assert!(entry.payload.len() <= ENTRY_BYTES_MAX, "an entry's size is checked before");
            self.bytes.put_u32(entry.crc());
            let kind = u32::from(entry.kind.code()) << LENGTH_BITS;
            self.bytes.put_u32(kind | count_u32(entry.payload.len()));
        }
    }

    /// Ends the table; payloads follow.
    pub(in crate::log) fn begin_body(&mut self) {
        self.table_bytes = self.bytes.len() - HEAD_BYTES;
    }

    pub(in crate::log) fn payloads(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.bytes.put(&entry.payload);
        }
    }

    /// Bytes the finished batch will have.
    pub(in crate::log) fn batch_bytes(&self) -> usize {
        (self.bytes.len() + self.table_bytes + HEAD_BYTES).next_multiple_of(ALIGN_BYTES)
    }

    /// Closes the batch and returns its bytes.
    pub(in crate::log) fn finish(&mut self, file: FileId, sequence: u64, previous_crc: u32) -> &[u8] {
        let body_at = HEAD_BYTES + self.table_bytes;
        let batch_bytes = self.batch_bytes();
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.put(&FRONT_MAGIC);
        head.put_u32(self.records);
        head.put_u64(sequence);
        head.put(&file.0);
        head.put_u32(count_u32(batch_bytes));
        head.put_u32(count_u32(self.table_bytes));
        head.put_u32(count_u32(self.bytes.len() - body_at));
        head.put_u32(crc32fast::hash(&self.bytes[body_at..]));
        head.put_u32(previous_crc);
        head.put_u64(0);
        let crc = head_crc(&head, &self.bytes[HEAD_BYTES..body_at]);
        head.put_u32(crc);
        self.bytes[..HEAD_BYTES].copy_from_slice(&head);
        self.bytes.resize(batch_bytes - self.table_bytes - HEAD_BYTES, 0);
        self.bytes.extend_from_within(HEAD_BYTES..body_at);
        head[..4].copy_from_slice(&END_MAGIC);
        self.bytes.put(&head);
        assert_eq!(self.bytes.len(), batch_bytes, "a batch ends on a boundary");
        &self.bytes
    }

    /// Gives the buffer's memory back; the next batch allocates anew.
    pub(in crate::log) fn release(&mut self) {
        self.bytes = Vec::new();
    }

    fn put_record(&mut self, [kind, flags]: [u8; 2], count: u32, id: EntryId, value: u64) {
        self.bytes.put(&[kind, flags, 0, 0]);
        self.bytes.put_u32(count);
        self.bytes.put_id(id);
        self.bytes.put_u64(value);
        self.records += 1;
    }
}
