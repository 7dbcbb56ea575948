//! Walks an [`UndoView`] page by page, so that a long walk holds writes back only for moments.

use bytes::Bytes;

use super::store::Visit;
use super::undo::UndoView;
use crate::error::Result;

/// Most records of one page.
const PAGE_RECORDS_MAX: usize = 1_024;

/// Bytes after which a page ends.
const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// A page of a view, and the key to go on after; `None` after the last page.
pub(crate) struct Page {
    records: Vec<(Bytes, Bytes)>,
    next: Option<Bytes>,
}

/// Takes a page of the live records `pairs` (those after the key `after`) and rewinds it.
pub(crate) fn page(
    pairs: impl Iterator<Item = Result<(Bytes, Bytes)>>,
    after: &[u8],
    undo: &UndoView,
) -> Result<Page> {
    let mut records: Vec<(Bytes, Bytes)> = Vec::new();
    let mut bytes = 0;
    let mut next = None;
    for pair in pairs {
        let (key, value) = pair?;
        bytes += key.len() + value.len();
        records.push((key, value));
        if records.len() >= PAGE_RECORDS_MAX || bytes >= PAGE_BYTES_MAX {
            next = records.last().map(|(key, _)| key.clone());
            break;
        }
    }
    Ok(Page { records: undo.rewind(records, after, next.as_deref()), next })
}

/// How far a walk over a view has come.
#[derive(Debug)]
pub(crate) struct Pages {
    page: std::vec::IntoIter<(Bytes, Bytes)>,
    /// The key the next page begins after; `None` behind the last one.
    after: Option<Bytes>,
}

impl Default for Pages {
    fn default() -> Self {
        Self { page: Vec::new().into_iter(), after: Some(Bytes::new()) }
    }
}

impl Pages {
    /// Visits every record from where the last walk was broken off: `take` gives the page after a key.
    pub(crate) fn for_each(
        &mut self,
        visit: &mut Visit<'_>,
        mut take: impl FnMut(&[u8]) -> Result<Page>,
    ) -> Result<()> {
        loop {
            for (key, value) in self.page.by_ref() {
                if visit(&key, &value)?.is_break() {
                    return Ok(());
                }
            }
            let Some(after) = &self.after else { return Ok(()) };
            let page = take(after)?;
            (self.page, self.after) = (page.records.into_iter(), page.next);
        }
    }
}
