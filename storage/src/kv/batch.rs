//! What one apply call changes in a store, in one piece of memory.

use std::ops::Range;

use crate::ids::Index;

/// Writes that take effect together, with the marker that says up to where the store then holds the log.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    index: Index,
    marker: Option<Vec<u8>>,
    arena: Vec<u8>,
    spans: Vec<Span>,
}

#[derive(Clone, Debug)]
struct Span {
    key: Range<usize>,
    value: Option<Range<usize>>,
}

/// One write of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write<'a> {
    /// The key as the store has it.
    pub key: &'a [u8],
    /// Its new value; `None` removes it.
    pub value: Option<&'a [u8]>,
}

impl Batch {
    /// An empty batch that brings a store to `index`.
    pub fn new(index: Index) -> Self {
        Self { index, ..Self::default() }
    }

    /// Sets a key. Key and value are given in parts, which are joined. A key may be written once per batch.
    pub fn put(&mut self, key: &[&[u8]], value: &[&[u8]]) {
        let key = self.push(key);
        let value = Some(self.push(value));
        self.spans.push(Span { key, value });
    }

    /// Removes a key, given in parts.
    pub fn delete(&mut self, key: &[&[u8]]) {
        let key = self.push(key);
        self.spans.push(Span { key, value: None });
    }

    /// Sets the marker. Without one the batch is a part of a state that is still being loaded.
    pub fn set_marker(&mut self, marker: Vec<u8>) {
        self.marker = Some(marker);
    }

    /// Up to where a store that took this batch holds the log.
    pub fn index(&self) -> Index {
        self.index
    }

    /// The marker.
    pub fn marker(&self) -> Option<&[u8]> {
        self.marker.as_deref()
    }

    /// The writes, in the order they were added.
    pub fn writes(&self) -> impl ExactSizeIterator<Item = Write<'_>> {
        self.spans.iter().map(|span| Write {
            key: &self.arena[span.key.clone()],
            value: span.value.clone().map(|value| &self.arena[value]),
        })
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    fn push(&mut self, parts: &[&[u8]]) -> Range<usize> {
        let start = self.arena.len();
        for part in parts {
            self.arena.extend_from_slice(part);
        }
        start..self.arena.len()
    }
}
