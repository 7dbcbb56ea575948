//! The bytes of one simulated file: what reads see, and what a crash would leave.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use quorate_telemetry::{Rng, SeededRng};

pub(super) const PAGE_BYTES: usize = 4096;

type Page = Arc<[u8; PAGE_BYTES]>;

/// Sparse pages; a missing page reads as zeros. Pages are shared until they are written, so a snapshot of the
/// durable version costs only what was changed since.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    len: u64,
    len_durable: u64,
    pages: BTreeMap<u64, Page>,
    /// The durable version of every page that differs from it.
    unsynced: BTreeMap<u64, Unsynced>,
}

#[derive(Clone, Debug)]
struct Unsynced {
    durable: Option<Page>,
    /// A sync of this page failed: the system counts it clean, so no later sync writes it (fsyncgate).
    lost: bool,
}

/// What the loss of all caches does to what was not synced.
pub(super) enum Survival<'a> {
    Nothing,
    Pieces(&'a SeededRng, usize),
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).ok_or(io::ErrorKind::InvalidInput)?;
        if end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut at = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let (page, within, count) = piece(at, rest.len());
            let (head, tail) = rest.split_at_mut(count);
            match self.pages.get(&page) {
                Some(bytes) => head.copy_from_slice(&bytes[within..within + count]),
                None => head.fill(0),
            }
            rest = tail;
            at += count as u64;
        }
        Ok(())
    }

    pub(super) fn write(&mut self, buf: &[u8], offset: u64) {
        let mut at = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let (page, within, count) = piece(at, rest.len());
            let (head, tail) = rest.split_at(count);
            self.page_mut(page)[within..within + count].copy_from_slice(head);
            rest = tail;
            at += count as u64;
        }
        self.len = self.len.max(at);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let (page, within, _) = piece(len, 0);
            if within > 0 && self.pages.contains_key(&page) {
                self.page_mut(page)[within..].fill(0);
            }
            let first_gone = page + u64::from(within > 0);
            let gone: Vec<u64> = self.pages.range(first_gone..).map(|(&page, _)| page).collect();
            for page in gone {
                let old = self.pages.remove(&page);
                self.unsynced.entry(page).or_insert(Unsynced { durable: old, lost: false }).lost = false;
            }
        }
        self.len = len;
    }

    pub(super) fn sync(&mut self) {
        self.unsynced.retain(|_, page| page.lost);
        self.len_durable = self.len;
    }

    /// The sync that fails: everything unsynced counts as clean from now on, and is not.
    pub(super) fn sync_failed(&mut self) {
        for page in self.unsynced.values_mut() {
            page.lost = true;
        }
    }

    pub(super) fn crash(&mut self, survival: &Survival<'_>) {
        for (page, unsynced) in std::mem::take(&mut self.unsynced) {
            let kept = match survival {
                Survival::Nothing => unsynced.durable,
                Survival::Pieces(dice, bytes) => {
                    Some(mix(unsynced.durable.as_ref(), self.pages.get(&page), dice, *bytes))
                }
            };
            match kept {
                Some(bytes) => self.pages.insert(page, bytes),
                None => self.pages.remove(&page),
            };
        }
        let keeps_len = match survival {
            Survival::Nothing => false,
            Survival::Pieces(dice, _) => coin(dice),
        };
        let len = if keeps_len { self.len } else { self.len_durable };
        self.set_len(len);
        self.unsynced.clear();
        self.len_durable = len;
    }

    /// Forgets clean pages: what a failed sync should have written is seen to be missing.
    pub(super) fn drop_cache(&mut self) {
        let lost: Vec<u64> =
            self.unsynced.iter().filter(|(_, unsynced)| unsynced.lost).map(|(&page, _)| page).collect();
        for page in lost {
            match self.unsynced.remove(&page).and_then(|unsynced| unsynced.durable) {
                Some(bytes) => self.pages.insert(page, bytes),
                None => self.pages.remove(&page),
            };
        }
    }

    /// What was ever written, ascending, neighbours joined.
    pub(super) fn written(&self) -> Vec<Range<u64>> {
        let mut parts: Vec<Range<u64>> = Vec::new();
        for &page in self.pages.keys() {
            let start = page * PAGE_BYTES as u64;
            let end = (start + PAGE_BYTES as u64).min(self.len);
            match parts.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ if start < end => parts.push(start..end),
                _ => {}
            }
        }
        parts
    }

    /// Changes bytes as rot does: on the device and in every cache.
    pub(super) fn rot(&mut self, offset: u64, change: impl FnOnce(u8) -> u8) {
        let (page, within, _) = piece(offset, 1);
        let bytes = Arc::make_mut(self.pages.entry(page).or_insert_with(zeros));
        bytes[within] = change(bytes[within]);
        let rotten = bytes[within];
        if let Some(Unsynced { durable: Some(durable), .. }) = self.unsynced.get_mut(&page) {
            Arc::make_mut(durable)[within] = rotten;
        }
    }

    /// Cuts the file as a broken file system does: durably.
    pub(super) fn cut(&mut self, len: u64) {
        self.set_len(len);
        self.sync();
    }

    fn page_mut(&mut self, page: u64) -> &mut [u8; PAGE_BYTES] {
        let durable = self.pages.get(&page);
        let unsynced =
            self.unsynced.entry(page).or_insert_with(|| Unsynced { durable: durable.cloned(), lost: false });
        unsynced.lost = false;
        Arc::make_mut(self.pages.entry(page).or_insert_with(zeros))
    }
}

pub(super) fn coin(dice: &SeededRng) -> bool {
    dice.next_u64() >> 63 == 1
}

fn zeros() -> Page {
    Arc::new([0; PAGE_BYTES])
}

/// The page of `offset`, the offset within it, and how many of `bytes` fit in it.
fn piece(offset: u64, bytes: usize) -> (u64, usize, usize) {
    let page = offset / PAGE_BYTES as u64;
    let within = usize::try_from(offset % PAGE_BYTES as u64).expect("below the page size");
    (page, within, bytes.min(PAGE_BYTES - within))
}

/// Each piece of the page is the old or the new one.
fn mix(old: Option<&Page>, new: Option<&Page>, dice: &SeededRng, piece_bytes: usize) -> Page {
    let mut mixed = old.cloned().unwrap_or_else(zeros);
    let new = new.cloned().unwrap_or_else(zeros);
    let bytes = Arc::make_mut(&mut mixed);
    for (to, from) in bytes.chunks_mut(piece_bytes).zip(new.chunks(piece_bytes)) {
        if coin(dice) {
            to.copy_from_slice(from);
        }
    }
    mixed
}
