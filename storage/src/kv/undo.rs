//! Point-in-time views for stores that have none: while a view is open, the value a key had before its first
//! later write is kept for it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

/// Values as they were when a view was opened; `None` for a key that was absent.
type Undo = BTreeMap<Bytes, Option<Bytes>>;

/// The open views of one store.
#[derive(Debug, Default)]
pub(crate) struct OpenViews {
    views: Mutex<Vec<Weak<Mutex<Undo>>>>,
}

/// One open view; closed by dropping it.
#[derive(Debug)]
pub(crate) struct UndoView {
    undo: Arc<Mutex<Undo>>,
}

impl OpenViews {
    /// Opens a view. The caller holds writes back meanwhile.
    pub(crate) fn open(&self) -> UndoView {
        let undo = Arc::new(Mutex::new(Undo::new()));
        let mut views = self.views.lock();
        views.retain(|view| view.strong_count() > 0);
        views.push(Arc::downgrade(&undo));
        UndoView { undo }
    }

    /// Whether [`OpenViews::keep`] has to be told of writes.
    pub(crate) fn is_any_open(&self) -> bool {
        self.views.lock().iter().any(|view| view.strong_count() > 0)
    }

    /// Keeps the `old` value of a key that is about to be written. The caller holds reads back meanwhile.
    pub(crate) fn keep(&self, key: &[u8], old: Option<&Bytes>) {
        for view in self.views.lock().iter().filter_map(Weak::upgrade) {
            let mut undo = view.lock();
            if !undo.contains_key(key) {
                undo.insert(Bytes::copy_from_slice(key), old.cloned());
            }
        }
    }
}

impl UndoView {
    /// Turns records as they are now into records as they were: `page` holds all of `after..=last` (or
    /// everything from `after` on, without a `last`), in key order.
    pub(crate) fn rewind(
        &self,
        page: Vec<(Bytes, Bytes)>,
        after: &[u8],
        last: Option<&[u8]>,
    ) -> Vec<(Bytes, Bytes)> {
        let undo = self.undo.lock();
        let upper = last.map_or(Bound::Unbounded, Bound::Included);
        let mut changed = undo.range::<[u8], _>((Bound::Excluded(after), upper)).peekable();
        if changed.peek().is_none() {
            return page;
        }
        let mut merged: BTreeMap<Bytes, Bytes> = page.into_iter().collect();
        for (key, old) in changed {
            match old {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        merged.into_iter().collect()
    }
}
