//! The checksums of a tree's files: `current` has that of the version file, which has those of the tables. The
//! library itself checks only the blocks it reads.
//!
//! Follows the files of `lsm-tree` 3: `current` is the version's number (8), the XXH3-128 of its file (16), the
//! kind of checksum (1, 0); in the version file's section `tables` stand levels (1), runs (1 each), tables (4 each)
//! and for each its id (8), kind of checksum (1), XXH3-128 (16) and sequence number (8). Little-endian. A table is
//! blocks: magic (4), kind (1), XXH3-128 of the data (16), its length (4), length uncompressed (4), low half of the
//! XXH3-128 of these (4), data; and an index of sections.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{Error, Result};

const CURRENT_BYTES: usize = 25;
const BLOCK_HEADER_BYTES: usize = 33;
const BLOCK_MAGIC: [u8; 4] = *b"LSM\x03";

/// No version file is longer: it has 33 bytes a table.
const VERSION_BYTES_MAX: u64 = 64 << 20;

const READ_BYTES: u64 = 1 << 20;

/// A table as its version names it.
struct NamedTable {
    id: u64,
    checksum: u128,
}

/// Checks every file of the tree in `dir` that its current version names, and tells `found` of each that is not what
/// it should be. `read` is told of bytes that were read.
pub(crate) fn check_files(
    disk: &dyn Disk,
    dir: &Path,
    found: &mut dyn FnMut(Error),
    read: &mut dyn FnMut(u64),
) {
    let tables = match read_version_if_any(disk, dir, read) {
        Ok(tables) => tables,
        Err(error) => return found(error),
    };
    for table in tables {
        let path = dir.join("tables").join(table.id.to_string());
        if let Err(error) = check_table(disk, &path, table.checksum, read) {
            found(error);
        }
    }
}

/// Whether the tree in `dir` has the tables that it was left with. The library takes its version file unchecked: with one
/// bit changed it opens a tree without some of its tables, or asks for 64 GiB of memory, and the process aborts. Reads two
/// small files.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Missing`], [`Error::Io`]: the tree must not be opened.
pub(super) fn check_version(disk: &dyn Disk, dir: &Path) -> Result<()> {
    read_version_if_any(disk, dir, &mut |_| {}).map(drop)
}

/// The version comes last when a tree is made: without tables there was none yet.
fn read_version_if_any(disk: &dyn Disk, dir: &Path, read: &mut dyn FnMut(u64)) -> Result<Vec<NamedTable>> {
    match read_version(disk, dir, read) {
        Err(Error::Missing { path }) if path.ends_with("current") && !has_tables(disk, dir) => Ok(Vec::new()),
        read => read,
    }
}

fn has_tables(disk: &dyn Disk, dir: &Path) -> bool {
    disk.list(&dir.join("tables")).is_ok_and(|entries| !entries.is_empty())
}

fn read_version(disk: &dyn Disk, dir: &Path, read: &mut dyn FnMut(u64)) -> Result<Vec<NamedTable>> {
    let current = dir.join("current");
    let bytes = read_whole(disk, &current, read)?;
    let corrupt = |offset, expected, found| Error::Corrupt {
        what: "name of the current version",
        file: current.clone(),
        offset,
        expected,
        found,
    };
    let Some(bytes) = bytes.first_chunk::<CURRENT_BYTES>().filter(|_| bytes.len() == CURRENT_BYTES) else {
        return Err(corrupt(0, CURRENT_BYTES as u64, bytes.len() as u64));
    };
    if bytes[24] != 0 {
        return Err(corrupt(24, 0, bytes[24].into()));
    }
    let number = u64::from_le_bytes(std::array::from_fn(|i| bytes[i]));
    let checksum = u128::from_le_bytes(std::array::from_fn(|i| bytes[8 + i]));
    let path = dir.join(format!("v{number}"));
    let version = read_whole(disk, &path, read)?;
    let computed = xxh3_128(&version);
    if computed != checksum {
        return Err(mismatch("version file, or its checksum in `current`", &path, 0, [checksum, computed]));
    }
    let tables = parse_version(&version);
    tables.ok_or(Error::Corrupt { what: "version file", file: path, offset: 0, expected: 0, found: 0 })
}

/// How many tables a version file names. Its checksum has been checked.
pub(crate) fn count_tables(version: &[u8]) -> Option<usize> {
    parse_version(version).map(|tables| tables.len())
}

/// Whether a version file has as many sections as it says. The library makes room for all of them before it reads the
/// first, or their checksum.
///
/// The last 38 bytes are a magic (4), a version (1), a kind of checksum (1), a checksum (16), and where the table of
/// sections stands and how long it is (8 each). The table is a magic (4), a count (4), and for each section two numbers
/// (8 each), the length of its name (2) and the name.
fn has_its_sections(version: &[u8]) -> bool {
    const TRAILER_BYTES: usize = 38;
    const SECTION_BYTES: usize = 18;
    let count = || {
        let trailer = version.len().checked_sub(TRAILER_BYTES)?;
        let at = u64::from_le_bytes(*version.get(trailer + 22..)?.first_chunk()?);
        let table = version.get(usize::try_from(at).ok()?..trailer)?;
        let count = u32::from_le_bytes(*table.get(4..)?.first_chunk()?);
        Some((count as usize, table.len()))
    };
    count().is_some_and(|(count, table_bytes)| count <= table_bytes / SECTION_BYTES)
}

/// The tables a version file names. Its checksum has been checked.
fn parse_version(version: &[u8]) -> Option<Vec<NamedTable>> {
    has_its_sections(version).then_some(())?;
    let archive = sfa::Reader::from_reader(&mut Cursor::new(version)).ok()?;
    let section = archive.toc().section(b"tables")?;
    let start = usize::try_from(section.pos()).ok()?;
    let end = start.checked_add(usize::try_from(section.len()).ok()?)?;
    let mut bytes = version.get(start..end)?;
    let mut tables = Vec::new();
    for _ in 0..take::<1>(&mut bytes)?[0] {
        for _ in 0..take::<1>(&mut bytes)?[0] {
            for _ in 0..u32::from_le_bytes(take(&mut bytes)?) {
                let id = u64::from_le_bytes(take(&mut bytes)?);
                take::<1>(&mut bytes)?;
                let checksum = u128::from_le_bytes(take(&mut bytes)?);
                take::<8>(&mut bytes)?;
                tables.push(NamedTable { id, checksum });
            }
        }
    }
    Some(tables)
}

fn check_table(disk: &dyn Disk, path: &Path, checksum: u128, read: &mut dyn FnMut(u64)) -> Result<()> {
    let (file, bytes) = open(disk, path)?;
    let mut hasher = Xxh3Default::new();
    let mut at = 0;
    while at < bytes {
        let piece = read_at(file.as_ref(), path, at, (bytes - at).min(READ_BYTES))?;
        hasher.update(&piece);
        at += piece.len() as u64;
        read(piece.len() as u64);
    }
    let computed = hasher.digest128();
    if computed == checksum {
        return Ok(());
    }
    let at = find_bad_block(file.as_ref(), path, bytes)?;
    Err(mismatch("table of the LSM tree", path, at, [checksum, computed]))
}

/// Where the first block starts that is not whole; where the blocks end if all are.
fn find_bad_block(file: &dyn DiskFile, path: &Path, bytes: u64) -> Result<u64> {
    let mut at = 0_u64;
    loop {
        let Some(data_at) = at.checked_add(BLOCK_HEADER_BYTES as u64).filter(|&data_at| data_at <= bytes)
        else {
            return Ok(at);
        };
        let header = read_at(file, path, at, BLOCK_HEADER_BYTES as u64)?;
        let number = |start: usize| u32::from_le_bytes(std::array::from_fn(|i| header[start + i]));
        let checksum = u128::from_le_bytes(std::array::from_fn(|i| header[5 + i]));
        let data_bytes = u64::from(number(21));
        let is_header = header.starts_with(&BLOCK_MAGIC)
            && u128::from(number(29)) == xxh3_128(&header[..29]) & u128::from(u32::MAX)
            && data_bytes <= bytes - data_at;
        if !is_header || xxh3_128(&read_at(file, path, data_at, data_bytes)?) != checksum {
            return Ok(at);
        }
        at = data_at + data_bytes;
    }
}

fn mismatch(what: &'static str, path: &Path, offset: u64, checksums: [u128; 2]) -> Error {
    // An error has room for one half of each.
    let low = |checksum: u128| u64::from_le_bytes(std::array::from_fn(|i| checksum.to_le_bytes()[i]));
    let [expected, found] = checksums.map(low);
    Error::Corrupt { what, file: path.to_path_buf(), offset, expected, found }
}

fn open(disk: &dyn Disk, path: &Path) -> Result<(Box<dyn DiskFile>, u64)> {
    let file = disk.open(path, OpenMode::Read).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => Error::Missing { path: PathBuf::from(path) },
        _ => Error::io("open", path, cause),
    })?;
    let bytes = file.len().map_err(|cause| Error::io("measure", path, cause))?;
    Ok((file, bytes))
}

fn read_whole(disk: &dyn Disk, path: &Path, read: &mut dyn FnMut(u64)) -> Result<Vec<u8>> {
    let (file, bytes) = open(disk, path)?;
    if bytes > VERSION_BYTES_MAX {
        let (what, file) = ("size of a version file", path.to_path_buf());
        return Err(Error::Corrupt { what, file, offset: 0, expected: VERSION_BYTES_MAX, found: bytes });
    }
    read(bytes);
    read_at(file.as_ref(), path, 0, bytes)
}

/// `count` is bounded by the caller.
fn read_at(file: &dyn DiskFile, path: &Path, at: u64, count: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(count).expect("bounded by the caller")];
    file.read_exact_at(&mut bytes, at).map_err(|cause| Error::io("read", path, cause))?;
    Ok(bytes)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}
