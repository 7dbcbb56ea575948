//! Hashing by several readers gives what hashing by one gives, and never more of them read at a time.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::disk::DiskFile;
use crate::error::{Error, Result};
use crate::snapshot::hash::{HashedFile, PIECE_BYTES};

/// A file whose bytes follow from their offset: large without memory.
#[derive(Debug, Default)]
struct Pattern {
    /// The byte at this offset, from 1, is another one.
    flipped: Option<u64>,
    /// Reads of this byte fail.
    unreadable: Option<u64>,
    reading: AtomicUsize,
    reading_max: AtomicUsize,
}

impl Pattern {
    fn byte(&self, at: u64) -> u8 {
        let byte = (at ^ (at >> 11) ^ (at >> 20)).to_le_bytes()[0];
        if self.flipped == Some(at) { !byte } else { byte }
    }
}

impl DiskFile for Pattern {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let reading = 1 + self.reading.fetch_add(1, Ordering::SeqCst);
        self.reading_max.fetch_max(reading, Ordering::SeqCst);
        let end = offset + buf.len() as u64;
        for (at, byte) in (offset..).zip(buf) {
            *byte = self.byte(at);
        }
        self.reading.fetch_sub(1, Ordering::SeqCst);
        match self.unreadable {
            Some(at) if (offset..end).contains(&at) => Err(io::Error::other(format!("byte {at}"))),
            _ => Ok(()),
        }
    }

    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        unreachable!("hashing does not write")
    }

    fn sync_data(&self) -> io::Result<()> {
        unreachable!("hashing does not sync")
    }

    fn len(&self) -> io::Result<u64> {
        unreachable!("the caller knows the length")
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        unreachable!("hashing does not cut")
    }

    fn preallocate(&self, _: u64) -> io::Result<()> {
        unreachable!("hashing does not reserve")
    }

    fn drop_cache(&self) -> io::Result<()> {
        unreachable!("the caller drops caches")
    }
}

const BYTES: u64 = 2 * PIECE_BYTES + 12_345;

fn crc(file: &Pattern, bytes: u64, readers: u64) -> Result<u32> {
    crc_of(file, 0..bytes, readers)
}

fn crc_of(file: &Pattern, range: Range<u64>, readers: u64) -> Result<u32> {
    let hashed = HashedFile { file, path: Path::new("f"), range, before_read: &|_| {} };
    hashed.crc(readers).map(crc32fast::Hasher::finalize)
}

/// The checksum by definition.
fn plain(file: &Pattern, bytes: u64) -> u32 {
    let bytes: Vec<u8> = (0..bytes).map(|at| file.byte(at)).collect();
    crc32fast::hash(&bytes)
}

#[test]
fn every_number_of_readers_gives_the_same_checksum() {
    let file = Pattern::default();
    let expected = plain(&file, BYTES);
    for readers in [0, 1, 2, 3, 9] {
        assert_eq!(crc(&file, BYTES, readers).unwrap(), expected, "{readers} readers");
    }
    for bytes in [0, 1, 4096] {
        assert_eq!(crc(&file, bytes, 4).unwrap(), plain(&file, bytes), "{bytes} bytes");
    }
}

#[test]
fn a_part_hashed_behind_what_stands_before_gives_the_checksum_of_the_whole() {
    let file = Pattern::default();
    for at in [1, 4096, PIECE_BYTES + 1, BYTES] {
        let hashed = |range| HashedFile { file: &file, path: Path::new("f"), range, before_read: &|_| {} };
        let mut whole = hashed(0..at).crc(1).unwrap();
        whole.combine(&hashed(at..BYTES).crc(3).unwrap());
        assert_eq!(whole.finalize(), plain(&file, BYTES), "split at {at}");
    }
}

#[test]
fn a_changed_byte_in_any_piece_changes_the_checksum() {
    let sound = crc(&Pattern::default(), BYTES, 3).unwrap();
    for at in [0, PIECE_BYTES - 1, PIECE_BYTES, BYTES - 1] {
        let file = Pattern { flipped: Some(at), ..Pattern::default() };
        assert_ne!(crc(&file, BYTES, 3).unwrap(), sound, "byte {at}");
    }
}

#[test]
fn no_more_readers_read_at_a_time_than_asked_for_and_each_read_is_announced() {
    let file = Pattern::default();
    let announced = AtomicU64::new(0);
    let before_read = |bytes| {
        assert!(bytes <= 1 << 20, "a read of {bytes} bytes");
        announced.fetch_add(bytes, Ordering::SeqCst);
    };
    let range = 0..BYTES;
    HashedFile { file: &file, path: Path::new("f"), range, before_read: &before_read }.crc(2).unwrap();
    assert!(file.reading_max.into_inner() <= 2);
    assert_eq!(announced.into_inner(), BYTES);
}

#[test]
fn a_failed_read_ends_all_readers_and_is_returned() {
    for at in [0, PIECE_BYTES, BYTES - 1] {
        let file = Pattern { unreadable: Some(at), ..Pattern::default() };
        let error = crc(&file, BYTES, 3).unwrap_err();
        let Error::Io { action: "read", source, .. } = &error else { panic!("{error}") };
        assert_eq!(source.to_string(), format!("byte {at}"));
    }
}
