//! Which file of which node is damaged, and what the format says of its bytes.

use std::ffi::OsStr;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::cluster::DATA;

/// The size and the boundary of everything in a log's file.
const PAGE_BYTES: usize = 4_096;
/// The outer header of a file.
const HEADER_BYTES: usize = 128;
/// The head of a batch, at both of its ends.
const BATCH_HEAD_BYTES: usize = 64;
/// A record in a batch's table, and what follows it for each entry.
const RECORD_BYTES: usize = 40;
const ENTRY_BYTES: usize = 8;
/// Kinds of records that have entries.
const ENTRIES: u8 = 1;
const REPAIR: u8 = 6;

/// What stands before the body of a frame of an in-memory store's file.
const FRAME_HEAD_BYTES: usize = 8;

/// The kinds of our files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// Whose directory it is.
    Node,
    /// Which directories the other nodes have.
    Peers,
    /// Room that is kept.
    Reserve,
    /// Whose replica it is.
    Replica,
    /// A segment of a log.
    Log,
    /// A snapshot.
    Snapshot,
    /// The batches of the in-memory store.
    Store,
    /// A table of an LSM tree.
    Table,
    /// Which tables an LSM tree has: a version, and which one is current.
    Version,
    /// The log of a sled database, where all it holds is.
    Sled,
    /// Where in that log what is.
    SledIndex,
    /// How the database was made.
    SledConfig,
    /// Items too large for that log.
    SledBlob,
    /// Whether the database is to be trusted.
    Trust,
}

impl FileKind {
    /// Of the file at `path`; `None` if its bytes mean nothing: it is only locked.
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        match name {
            "node" => Some(Self::Node),
            "peers" => Some(Self::Peers),
            "reserve" => Some(Self::Reserve),
            "replica" => Some(Self::Replica),
            "batches" => Some(Self::Store),
            "trust" => Some(Self::Trust),
            _ => match path.extension().and_then(OsStr::to_str) {
                Some("wal") => Some(Self::Log),
                Some("snap") => Some(Self::Snapshot),
                _ => Self::of_library(path, name),
            },
        }
    }

    /// Of a file of a store's library.
    fn of_library(path: &Path, name: &str) -> Option<Self> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match path.parent()?.file_name()?.to_str()? {
            "tables" => Some(Self::Table),
            "blobs" => Some(Self::SledBlob),
            "db" if name == "db" => Some(Self::Sled),
            "db" if name == "conf" => Some(Self::SledConfig),
            "db" if name.starts_with("snap.") => Some(Self::SledIndex),
            _ if name == "current" || name.strip_prefix('v').is_some_and(is_number) => Some(Self::Version),
            _ => None,
        }
    }

    /// Whether it is a part of a state store: of what can be rebuilt from snapshot and log.
    pub const fn is_store(self) -> bool {
        match self {
            Self::Node | Self::Peers | Self::Reserve | Self::Replica | Self::Log | Self::Snapshot => false,
            Self::Store
            | Self::Table
            | Self::Version
            | Self::Sled
            | Self::SledIndex
            | Self::SledConfig
            | Self::SledBlob
            | Self::Trust => true,
        }
    }

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Peers => "peers",
            Self::Reserve => "reserve",
            Self::Replica => "replica",
            Self::Log => "log",
            Self::Snapshot => "snapshot",
            Self::Store => "store",
            Self::Table => "table",
            Self::Version => "version",
            Self::Sled => "sled",
            Self::SledIndex => "sled_index",
            Self::SledConfig => "sled_conf",
            Self::SledBlob => "sled_blob",
            Self::Trust => "trust",
        }
    }
}

/// A file of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The node, from 0.
    pub node: usize,
    /// Its path below the data directory.
    pub file: PathBuf,
}

impl Place {
    /// Its path on the node's disk.
    pub fn path(&self) -> PathBuf {
        Path::new(DATA).join(&self.file)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.node, self.file.display())
    }
}

/// Whether no reader looks at the byte at `offset` of a file with these bytes, as `docs/FORMAT.md` says. Written from
/// the document, without the code under test.
pub fn is_unused(kind: FileKind, bytes: &[u8], offset: u64) -> bool {
    let Ok(offset) = usize::try_from(offset) else { return false };
    match kind {
        FileKind::Reserve => true,
        FileKind::Log => log_padding(bytes).iter().any(|part| part.contains(&offset)),
        _ => false,
    }
}

/// Whether the last batch of a log's file, which has no seal, lies within `count` bytes from `at` on.
pub fn has_last_batch_in(bytes: &[u8], at: u64, count: u64) -> bool {
    let Some(last) = batches(bytes).last() else { return false };
    let is_open = bytes[last.end..].iter().all(|&byte| byte == 0);
    is_open && last.start as u64 >= at && last.end as u64 <= at + count
}

/// Whether a frame of an in-memory store's file ends at `offset`.
pub fn ends_frame(bytes: &[u8], offset: u64) -> bool {
    let mut at = 0;
    while let Some(body_bytes) = number(bytes, at) {
        at += FRAME_HEAD_BYTES + body_bytes;
        if at as u64 >= offset {
            break;
        }
    }
    at as u64 == offset
}

/// An entry's payload in a log's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The entry's index.
    pub index: u64,
    /// Its bytes in the file; not empty.
    pub bytes: Range<u64>,
    /// Whether it is in the last batch of a file without a seal: one that may never have been whole.
    pub is_last: bool,
}

/// The payloads of a log's file, in its order.
pub fn payloads(bytes: &[u8]) -> Vec<Payload> {
    let mut found = Vec::new();
    let all: Vec<Range<usize>> = batches(bytes).collect();
    let is_open = all.last().is_some_and(|last| bytes[last.end..].iter().all(|&byte| byte == 0));
    for (at, batch) in all.iter().enumerate() {
        let is_last = is_open && at + 1 == all.len();
        found.extend(
            payloads_of(bytes, batch.start).unwrap_or_default().into_iter().map(|(index, range)| Payload {
                index,
                bytes: range.start as u64..range.end as u64,
                is_last,
            }),
        );
    }
    found
}

/// Index and bytes of each entry of the batch at `start`.
fn payloads_of(bytes: &[u8], start: usize) -> Option<Vec<(u64, Range<usize>)>> {
    let (records, table_bytes) = (number(bytes, start + 4)?, number(bytes, start + 36)?);
    let mut row = start + BATCH_HEAD_BYTES;
    let mut body = row + table_bytes;
    let mut found = Vec::new();
    for _ in 0..records {
        let (kind, count, first) = (*bytes.get(row)?, number(bytes, row + 4)?, number(bytes, row + 8)?);
        row += RECORD_BYTES;
        if kind != ENTRIES && kind != REPAIR {
            continue;
        }
        for index in first..first + count {
            let payload_bytes = number(bytes, row + 4)? & 0x0fff_ffff;
            if payload_bytes > 0 && kind == ENTRIES {
                found.push((index as u64, body..body + payload_bytes));
            }
            (row, body) = (row + ENTRY_BYTES, body + payload_bytes);
        }
    }
    Some(found)
}

/// The parts of a log's file that pad it to whole pages.
fn log_padding(bytes: &[u8]) -> Vec<Range<usize>> {
    let Some(head_bytes) = number(bytes, HEADER_BYTES) else { return Vec::new() };
    let head = HEADER_BYTES + 8 + head_bytes..PAGE_BYTES;
    let padding = |batch: Range<usize>| {
        let (table_bytes, body_bytes) = (number(bytes, batch.start + 36)?, number(bytes, batch.start + 40)?);
        let start = batch.start + BATCH_HEAD_BYTES + table_bytes + body_bytes;
        Some(start..batch.end - BATCH_HEAD_BYTES - table_bytes)
    };
    std::iter::once(head).chain(batches(bytes).filter_map(padding)).collect()
}

/// Where the batches of a log's file are. Ends at what is none.
fn batches(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = PAGE_BYTES;
    std::iter::from_fn(move || {
        bytes.get(at..).filter(|rest| rest.starts_with(b"QBAT"))?;
        let start = at;
        at += number(bytes, at + 32)?;
        Some(start..at)
    })
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*field)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_ends_behind_its_body_and_nowhere_else() {
        let frame = |body: u8| [&[body, 0, 0, 0, 9, 9, 9, 9][..], &vec![7; usize::from(body)]].concat();
        let file = [frame(3), frame(0), frame(5)].concat();
        let ends: Vec<u64> = (0..=40).filter(|&offset| ends_frame(&file, offset)).collect();
        assert_eq!(ends, [11, 19, 32]);
    }
}
