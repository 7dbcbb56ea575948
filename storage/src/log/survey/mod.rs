//! Reads a whole log for those who look at it and do not run it: changes nothing, and goes on behind damage.
//!
//! What counts as torn and what as damaged is decided as a start decides it (`scan.rs`, `recovery.rs`); only, a start
//! ends at the first damage, and a survey tells of all of it.

mod damaged;
mod walk;

use std::path::{Path, PathBuf};

use self::damaged::DamagedEntries;
use self::walk::Walk;
use super::recovery::list;
use super::segment::{HEAD_PAGE_BYTES, SegmentHead, SegmentName, find_seal};
use super::summary::Summary;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::entry::{EntryId, HardState};
use crate::error::{Error, Result};
use crate::identity::{FileOwner, HEADER_BYTES};
use crate::ids::Index;
use crate::snapshot::SnapshotToken;

/// How much of closed segments is read. The newest is always read whole: only so a torn tail is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The first table of each batch.
    Tables,
    /// Every byte.
    Everything,
}

/// The log to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SurveyPlace<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) dir: &'a Path,
    pub(crate) owner: FileOwner,
}

/// Told while the survey goes on.
#[derive(Debug)]
pub(crate) enum Event {
    /// So many more bytes were read.
    Read(u64),
    /// Something is not as it was written.
    Found(Found),
}

/// Something that is not as it was written, or cannot be read.
#[derive(Debug)]
pub(crate) struct Found {
    /// What and where.
    pub(crate) error: Error,
    /// Nothing is lost: the same stands elsewhere, or nobody reads it.
    pub(crate) is_redundant: bool,
    /// The entry it is about, where it is about one.
    pub(crate) entry: Option<Index>,
}

/// What a segment is to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Closed, and its end says what is in it.
    Sealed,
    /// Closed, without a seal.
    Closed,
    /// The newest: appending goes on in it.
    Open,
    /// Without a use: what a crash left of a compaction, or of the creation of a segment.
    Leftover,
}

/// What is in one segment.
#[derive(Debug)]
pub(crate) struct SegmentSurvey {
    pub(crate) path: PathBuf,
    pub(crate) number: u64,
    pub(crate) role: Role,
    pub(crate) bytes: u64,
    /// Size the file was given; 0 if its head is damaged.
    pub(crate) planned_bytes: u64,
    /// Sequence of the first batch.
    pub(crate) sequence: u64,
    pub(crate) batches: u64,
    /// Lowest and highest index of an entry in it, truncated ones included.
    pub(crate) entries: Option<(Index, Index)>,
    /// The last entries that stayed.
    pub(crate) truncations: Vec<EntryId>,
    /// The last entries that went.
    pub(crate) compactions: Vec<EntryId>,
    /// With whether the log was reset to it.
    pub(crate) snapshots: Vec<(SnapshotToken, bool)>,
    /// The newest hard state in it.
    pub(crate) hard_state: Option<HardState>,
    /// Whether the last batch is proven: by what follows, or because it says nothing but that.
    pub(crate) is_tail_proven: bool,
    /// Where a batch starts that was never proven whole: cut at the next start, or cut already.
    pub(crate) torn_at: Option<u64>,
}

/// What a survey is told of and tells.
pub(crate) type Sink<'a> = dyn FnMut(Event) + 'a;

/// Where a segment ended: sequence and checksum the next one must start with, as far as they are known.
type End = (u64, Option<u32>);

/// Reads the log, oldest segment first; leftovers, which are not read, come before. Damaged entries are told last, when
/// it is known which of them have a repaired copy.
///
/// # Errors
/// [`Error::Io`] if the directory cannot be listed. Everything else is told to `sink`.
pub(crate) fn survey(
    place: SurveyPlace<'_>,
    depth: Depth,
    sink: &mut Sink<'_>,
) -> Result<Vec<SegmentSurvey>> {
    let (names, leftovers) = list(place.disk, place.dir)?;
    let mut surveys: Vec<_> = leftovers.into_iter().map(|path| leftover(place.disk, path)).collect();
    let heads: Vec<_> = names.iter().map(|name| read_head(place, *name)).collect();
    if names.is_empty() {
        let reason = "there is no segment";
        sink(found(Error::LogLost { file: place.dir.to_path_buf(), offset: None, reason }));
    }
    let mut end: Option<End> = None;
    let mut damaged = DamagedEntries::default();
    for (at, (name, opened)) in names.iter().zip(&heads).enumerate() {
        let next = heads.get(at + 1).and_then(|next| next.head.as_ref().ok());
        check_chain(end, opened, sink);
        let is_newest = at + 1 == names.len();
        let depth = if is_newest { Depth::Everything } else { depth };
        let next = next.map(|head| head.sequence);
        let (survey, found_end) =
            read_segment(opened, *name, (is_newest, next), (depth, &mut *sink), &mut damaged);
        surveys.push(survey);
        end = found_end;
    }
    damaged.tell(sink);
    Ok(surveys)
}

/// A segment whose first page was read.
struct Opened {
    path: PathBuf,
    bytes: u64,
    file: Option<Box<dyn DiskFile>>,
    page: Vec<u8>,
    head: Result<SegmentHead>,
}

fn read_head(place: SurveyPlace<'_>, name: SegmentName) -> Opened {
    let path = name.path(place.dir);
    let mut opened = Opened {
        bytes: 0,
        file: None,
        page: Vec::new(),
        head: Err(Error::Missing { path: path.clone() }),
        path,
    };
    if let Err(error) = opened.read(place) {
        opened.head = Err(error);
    }
    opened
}

impl Opened {
    fn read(&mut self, place: SurveyPlace<'_>) -> Result<()> {
        let failed = |action, source| Error::io(action, &self.path, source);
        let file = place.disk.open(&self.path, OpenMode::Read).map_err(|cause| failed("open", cause))?;
        self.bytes = file.len().map_err(|cause| failed("measure", cause))?;
        self.page = vec![0; usize::try_from(self.bytes.min(HEAD_PAGE_BYTES)).unwrap_or_default()];
        file.read_exact_at(&mut self.page, 0).map_err(|cause| Error::io("read", &self.path, cause))?;
        self.file = Some(file);
        self.head = SegmentHead::decode(&self.page, &place.owner, &self.path);
        Ok(())
    }
}

fn leftover(disk: &dyn Disk, path: PathBuf) -> SegmentSurvey {
    let bytes = disk.size(&path).ok().flatten().unwrap_or_default();
    let number = path.file_name().and_then(|name| SegmentName::parse(name.to_str()?));
    blank(path, number.map_or(0, |name| name.number), Role::Leftover, bytes)
}

fn blank(path: PathBuf, number: u64, role: Role, bytes: u64) -> SegmentSurvey {
    SegmentSurvey {
        path,
        number,
        role,
        bytes,
        planned_bytes: 0,
        sequence: 0,
        batches: 0,
        entries: None,
        truncations: Vec::new(),
        compactions: Vec::new(),
        snapshots: Vec::new(),
        hard_state: None,
        is_tail_proven: true,
        torn_at: None,
    }
}

/// A segment starts with the sequence and the checksum that the one before ended with.
fn check_chain(end: Option<End>, opened: &Opened, sink: &mut Sink<'_>) {
    let (Some((sequence, crc)), Ok(head)) = (end, &opened.head) else { return };
    let checksums = crc.map(|crc| [u64::from(crc), u64::from(head.previous_crc)]);
    let pairs = [Some([sequence, head.sequence]), checksums];
    let Some(broken) = pairs.into_iter().flatten().find(|[expected, found]| expected != found) else {
        return;
    };
    sink(found(corrupt("chain of segments", &opened.path, HEADER_BYTES as u64, broken)));
}

/// Reads one segment: `is_newest`, and the sequence at which the next one starts, if that is known. Also returns
/// where it ended, if every batch was there.
fn read_segment(
    opened: &Opened,
    name: SegmentName,
    (is_newest, next): (bool, Option<u64>),
    (depth, sink): (Depth, &mut Sink<'_>),
    damaged: &mut DamagedEntries,
) -> (SegmentSurvey, Option<End>) {
    let role = if is_newest { Role::Open } else { Role::Closed };
    let mut survey = blank(opened.path.clone(), name.number, role, opened.bytes);
    if let Err(error) = &opened.head {
        sink(found(error.clone()));
    }
    let Some(file) = opened.file.as_deref() else { return (survey, None) };
    let seal = find_seal(file, &opened.path, opened.bytes).unwrap_or_else(|error| {
        sink(found(error));
        None
    });
    if seal.is_some() {
        survey.role = Role::Sealed;
    }
    let head = opened.head.as_ref().ok();
    survey.planned_bytes = head.map_or(0, |head| head.planned_bytes);
    if depth == Depth::Everything {
        check_head_padding(opened, head, sink);
    }
    let mut walk = Walk::new(file, survey, depth, sink, damaged);
    walk.begin(head, seal.as_ref(), next);
    let end = walk.run();
    walk.check_end(seal.as_ref(), is_newest);
    let survey = walk.survey;
    if depth == Depth::Everything {
        sink(Event::Read(survey.bytes));
    }
    (survey, end)
}

/// Behind the head the page is zeros.
fn check_head_padding(opened: &Opened, head: Option<&SegmentHead>, sink: &mut Sink<'_>) {
    let Some(head) = head else { return };
    let expected = head.encode();
    if let Some(at) = (0..opened.page.len()).find(|&at| opened.page[at] != expected[at]) {
        let bytes = [u64::from(expected[at]), u64::from(opened.page[at])];
        sink(redundant(corrupt("segment head padding", &opened.path, at as u64, bytes)));
    }
}

fn corrupt(what: &'static str, file: &Path, offset: u64, [expected, found]: [u64; 2]) -> Error {
    Error::Corrupt { what, file: file.to_path_buf(), offset, expected, found }
}

fn found(error: Error) -> Event {
    Event::Found(Found { error, is_redundant: false, entry: None })
}

fn redundant(error: Error) -> Event {
    Event::Found(Found { error, is_redundant: true, entry: None })
}

/// A sound seal, and where it starts.
type Seal = (u64, Summary);
