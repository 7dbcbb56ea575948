//! How the open segment comes to be: made anew behind the one before, or taken up again after a start.

use std::sync::Arc;

use super::LogPlace;
use super::cursor::Cursor;
use crate::disk::DiskFile;
use crate::entry::EntryId;
use crate::error::{Error, Result};
use crate::identity::{FileHeader, FileKind};
use crate::log::reader::{ClosedSegment, OpenSegment};
use crate::log::recovery::Segment;
use crate::log::segment::{HEAD_PAGE_BYTES, SegmentHead, SegmentName};
use crate::log::summary::Summary;

impl From<Segment> for ClosedSegment {
    fn from(segment: Segment) -> Self {
        let refs = (!segment.is_sealed).then(|| Arc::from(segment.summary.refs.as_slice()));
        let first = segment.summary.first();
        let bytes = segment.bytes;
        let repairs = Arc::from(segment.summary.repairs);
        let (number, id) = (segment.name.number, segment.head.header.file);
        Self { number, path: Arc::from(segment.path), id, first, refs, repairs, bytes }
    }
}

/// Creates the segment that continues behind `before`. Two syncs.
pub(super) fn create_segment(
    place: &LogPlace,
    name: SegmentName,
    before: &Summary,
    last: EntryId,
    planned_bytes: u64,
) -> Result<(OpenSegment, Cursor)> {
    let head = SegmentHead {
        header: FileHeader::new(FileKind::Log, place.owner, place.rng.as_ref()),
        number: name.number,
        sequence: before.sequence,
        previous_crc: before.crc,
        planned_bytes: planned_bytes.max(2 * HEAD_PAGE_BYTES),
        last,
        start: before.end.clone(),
    };
    let file = head.create(place.disk.as_ref(), &place.dir, name)?;
    let summary = Summary::new(before.end.clone(), before.sequence, before.crc);
    let cursor = Cursor::new(head.header.file, HEAD_PAGE_BYTES, head.planned_bytes);
    let open = OpenSegment {
        number: name.number,
        path: Arc::from(name.path(&place.dir)),
        id: head.header.file,
        file,
        summary,
        end: HEAD_PAGE_BYTES,
        bytes: head.planned_bytes,
    };
    Ok((open, cursor))
}

/// Goes on in a segment that was found open, at `end`. One sync.
pub(super) fn take_up(
    place: &LogPlace,
    segment: Segment,
    (file, end): (Box<dyn DiskFile>, u64),
    last: Option<&(u64, Vec<u8>)>,
) -> Result<(OpenSegment, Cursor)> {
    persist_tail(place, &segment, file.as_ref(), last)?;
    let cursor = Cursor::new(segment.head.header.file, end, segment.head.planned_bytes);
    let open = OpenSegment {
        number: segment.name.number,
        path: Arc::from(segment.path),
        id: segment.head.header.file,
        file: Arc::from(file),
        summary: segment.summary,
        end,
        bytes: segment.head.planned_bytes.max(segment.bytes),
    };
    Ok((open, cursor))
}

/// Makes sure that the last thing of the open segment is on the device.
fn persist_tail(
    place: &LogPlace,
    segment: &Segment,
    file: &dyn DiskFile,
    last: Option<&(u64, Vec<u8>)>,
) -> Result<()> {
    let path = &segment.path;
    let Some((offset, bytes)) = last else {
        return segment.head.persist(place.disk.as_ref(), file, &place.dir, path);
    };
    file.write_all_at(bytes, *offset).map_err(|source| Error::io("write", path, source))?;
    file.sync_data().map_err(|source| Error::io("sync", path, source))
}
