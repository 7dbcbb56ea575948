//! What every [`KvStore`] must do, as a suite any implementation can run. A check panics where a claim does
//! not hold.

mod interrupted;
mod operations;
mod rebuilt;
mod stopping_disk;

pub use interrupted::{
    a_restore_in_pieces_is_the_restore_at_once, a_restore_interrupted_anywhere_leaves_one_whole_state,
    a_view_in_pieces_is_the_view_at_once,
};
pub use operations::entries_of_any_operations_are_whole_or_not_there;
pub use rebuilt::{a_rebuild_interrupted_anywhere_leaves_one_whole_state, a_store_built_anew_is_the_state};
#[cfg(test)]
pub(crate) use stopping_disk::StoppingDisk;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::batch::Batch;
use super::store::{ALL_RECORDS, KvEngine, KvReader, KvStore, KvView};
use super::{ScanRange, record};
use crate::disk::Disk;
use crate::ids::Index;

/// A place for stores.
pub trait Subject {
    /// The file system as it is after the last stop.
    fn disk(&self) -> Arc<dyn Disk>;

    /// An engine whose files are on `disk`: the one above, or one that wraps it.
    fn engine(&self, disk: Arc<dyn Disk>) -> Arc<dyn KvEngine>;

    /// An existing, empty directory; durable by name.
    fn dir(&self) -> PathBuf;

    /// The process dies; everything open has been dropped without a close.
    fn crash_process(&mut self);

    /// The power is cut, and another boot follows; everything open has been dropped without a close.
    fn cut_power(&mut self);
}

/// Makes an empty place.
pub type Make<'a> = dyn FnMut() -> Box<dyn Subject> + 'a;

/// Runs every check.
pub fn check_all(make: &mut Make<'_>) {
    a_batch_is_there_when_write_returns(make);
    scans_keep_to_their_range_and_direction(make);
    a_view_stays_as_it_was_while_writes_go_on(make);
    a_walk_over_a_view_goes_on_where_it_was_broken_off(make);
    a_view_is_taken_whatever_work_is_under_way(make);
    no_reader_sees_a_part_of_a_batch(make);
    a_crash_of_the_process_leaves_whole_batches(make);
    a_power_cut_leaves_whole_batches_or_no_trust(make);
    a_closed_store_is_whole_and_trusted_whatever_follows(make);
    a_restore_interrupted_anywhere_leaves_one_whole_state(make);
    a_restore_in_pieces_is_the_restore_at_once(make);
    a_view_in_pieces_is_the_view_at_once(make);
    a_store_built_anew_is_the_state(make);
    a_rebuild_interrupted_anywhere_leaves_one_whole_state(make);
    entries_of_any_operations_are_whole_or_not_there(make);
}

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// Batches written by a check.
const BATCHES: u64 = 60;

/// Longer than what any store keeps in one piece.
const LONG_VALUE_BYTES: usize = 200_000;

/// Batch `n`: overwrites, deletes, inserts; every tenth has a value that is long, one after it is short again.
fn batch(n: u64) -> Batch {
    let key = |n: u64| format!("key-{:02}", n % 17).into_bytes();
    let fill = n.to_le_bytes()[0];
    let value_bytes = if n.is_multiple_of(10) { LONG_VALUE_BYTES } else { usize::from(fill) + 20 };
    let mut batch = Batch::new(Index(n));
    let written = [key(n), key(n + 5)];
    batch.put(&[&[record::PREFIX], &written[0]], &[&vec![fill; value_bytes]]);
    batch.put(&[&[record::PREFIX], &written[1]], &[n.to_string().as_bytes()]);
    batch.delete(&[&[record::PREFIX], &key(n + 9)]);
    batch.set_marker(format!("marker {n}").into_bytes());
    batch
}

/// What a store holds after batches `1..=n`.
fn expected(n: u64) -> Records {
    let mut records = Records::new();
    for n in 1..=n {
        for write in batch(n).writes() {
            match write.value {
                Some(value) => records.insert(write.key.to_vec(), value.to_vec()),
                None => records.remove(write.key),
            };
        }
    }
    records
}

fn open(subject: &dyn Subject) -> Box<dyn KvStore> {
    subject.engine(subject.disk()).open(&subject.dir()).expect("a store that opens")
}

fn write(store: &mut dyn KvStore, range: std::ops::RangeInclusive<u64>) {
    range.for_each(|n| store.write(&batch(n)).expect("a write"));
}

fn marker_index(marker: Option<&Bytes>) -> u64 {
    let Some(marker) = marker else { return 0 };
    let text = std::str::from_utf8(marker).expect("the marker that was written");
    text.strip_prefix("marker ").and_then(|n| n.parse().ok()).expect("the marker that was written")
}

fn scan(reader: &dyn KvReader, range: ScanRange<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let visited = reader.scan(range, &mut |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        Ok(ControlFlow::Continue(()))
    });
    visited.expect("a scan");
    found
}

fn read_view(view: &mut dyn KvView) -> (u64, Records) {
    let mut found = Vec::new();
    let visited = view.for_each(&mut |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        Ok(ControlFlow::Continue(()))
    });
    visited.expect("a readable view");
    assert!(found.is_sorted_by(|a, b| a.0 < b.0), "a view is in key order");
    (marker_index(view.marker()), found.into_iter().collect())
}

/// A batch is visible as soon as, and only when, it is written; its marker with it.
pub fn a_batch_is_there_when_write_returns(make: &mut Make<'_>) {
    let subject = make();
    let mut store = open(subject.as_ref());
    assert_eq!(store.marker().expect("a marker"), None, "a new store has no marker");
    assert!(store.is_trusted(), "a new store has nothing to distrust");
    let reader = store.reader();
    for n in 1..=BATCHES {
        write(store.as_mut(), n..=n);
        assert_eq!(marker_index(store.marker().expect("a marker").as_ref()), n);
        for write in batch(n).writes() {
            let found = reader.get(write.key).expect("a get");
            assert_eq!(found.as_deref(), write.value, "batch {n}");
        }
    }
    assert_eq!(scan(reader.as_ref(), ALL_RECORDS), Vec::from_iter(expected(BATCHES)));
}

/// A scan starts at its start, ends before its end, goes the way it was asked to and stops when told.
pub fn scans_keep_to_their_range_and_direction(make: &mut Make<'_>) {
    let subject = make();
    let mut store = open(subject.as_ref());
    write(store.as_mut(), 1..=BATCHES);
    let reader = store.reader();
    let all = expected(BATCHES);
    for (start, end) in
        [("", "key-05"), ("key-05", "key-11"), ("key-05x", "key-06"), ("key-11", "key-05"), ("z", "zz")]
    {
        let (start, end) = (record::stored_key(start.as_bytes()), record::stored_key(end.as_bytes()));
        for reverse in [false, true] {
            let mut wanted: Vec<_> =
                all.clone().into_iter().filter(|(key, _)| *key >= start && *key < end).collect();
            if reverse {
                wanted.reverse();
            }
            let range = ScanRange { start: &start, end: Some(&end), reverse };
            assert_eq!(scan(reader.as_ref(), range), wanted, "{range:?}");
        }
    }
    let mut visits = 0;
    let stopped = reader.scan(ALL_RECORDS, &mut |_, _| {
        visits += 1;
        Ok(ControlFlow::Break(()))
    });
    stopped.expect("a scan");
    assert_eq!(visits, 1, "a scan goes on although it was told to stop");
}

/// Views opened at different times each hold their own batch, whatever is written and flushed later.
pub fn a_view_stays_as_it_was_while_writes_go_on(make: &mut Make<'_>) {
    let subject = make();
    let mut store = open(subject.as_ref());
    let mut views = Vec::new();
    for n in 1..=BATCHES {
        write(store.as_mut(), n..=n);
        if n.is_multiple_of(8) {
            views.push((n, store.view().expect("a view")));
        }
        if n.is_multiple_of(11) {
            store.checkpoint().expect("a checkpoint");
        }
    }
    for (n, view) in &mut views {
        let (index, records) = read_view(view.as_mut());
        assert_eq!(index, *n, "the label of a view");
        assert!(records == expected(*n), "the view of batch {n} changed");
    }
}

/// Walks in pieces of any size find every record once, as it was, whatever is written between two of them.
pub fn a_walk_over_a_view_goes_on_where_it_was_broken_off(make: &mut Make<'_>) {
    let subject = make();
    let mut store = open(subject.as_ref());
    write(store.as_mut(), 1..=BATCHES / 2);
    for piece in [1, 3, 1_000] {
        let mut view = store.view().expect("a view");
        let n = marker_index(view.marker());
        let mut found = Vec::new();
        for written in 1.. {
            let before = found.len();
            let visited = view.for_each(&mut |key, value| {
                found.push((key.to_vec(), value.to_vec()));
                let is_enough = found.len() == before + piece;
                Ok(if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            });
            visited.expect("a readable view");
            if found.len() < before + piece {
                break;
            }
            write(store.as_mut(), n + written..=n + written);
        }
        assert!(found == Vec::from_iter(expected(n)), "in pieces of {piece}, the view of batch {n} changed");
    }
}

/// Views taken again and again after each batch, so that some meet every step of the work behind it.
pub fn a_view_is_taken_whatever_work_is_under_way(make: &mut Make<'_>) {
    let subject = make();
    let mut store = open(subject.as_ref());
    for n in 1..=BATCHES {
        let mut batch = Batch::new(Index(n));
        batch.put(&[&[record::PREFIX], b"a"], &[&n.to_le_bytes()]);
        batch.set_marker(format!("marker {n}").into_bytes());
        store.write(&batch).expect("a write");
        for _ in 0..1_000 {
            let view = store.view().expect("a view");
            assert_eq!(marker_index(view.marker()), n, "the label of a view");
            if store.durable_index() == Index(n) {
                break;
            }
        }
    }
}

/// Two keys that every batch sets to the same value are never seen to differ.
pub fn no_reader_sees_a_part_of_a_batch(make: &mut Make<'_>) {
    let subject = make();
    let mut store = open(subject.as_ref());
    let reader = store.reader();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Acquire) {
                let found = scan(reader.as_ref(), ALL_RECORDS);
                assert!(found.windows(2).all(|pair| pair[0].1 == pair[1].1), "half a batch: {found:?}");
                assert!(found.is_empty() || found.len() == 2, "half a batch: {found:?}");
            }
        });
        for n in 1..=10 * BATCHES {
            let mut batch = Batch::new(Index(n));
            for name in [b"a", b"z"] {
                batch.put(&[&[record::PREFIX], name], &[&n.to_le_bytes()]);
            }
            batch.set_marker(format!("marker {n}").into_bytes());
            store.write(&batch).expect("a write");
            if n.is_multiple_of(BATCHES) {
                store.checkpoint().expect("a checkpoint");
            }
        }
        is_done.store(true, Ordering::Release);
    });
}

/// What is found is some number of whole batches, with the marker of the last, and no less than what was
/// durable.
fn check_prefix(subject: &dyn Subject, durable: Index) {
    let mut store = open(subject);
    let (index, records) = read_view(store.view().expect("a view").as_mut());
    assert!(index >= durable.get(), "{durable} was durable, {index} is there");
    assert!(records == expected(index), "the records are not those of the marker, {index}");
    assert_eq!(store.durable_index(), Index(index), "what is found is durable");
    write(store.as_mut(), index + 1..=index + 3);
    assert!(scan(store.reader().as_ref(), ALL_RECORDS) == Vec::from_iter(expected(index + 3)));
}

/// Every store promises this.
pub fn a_crash_of_the_process_leaves_whole_batches(make: &mut Make<'_>) {
    for checkpoint_at in [0, 1, BATCHES / 2, BATCHES] {
        let mut subject = make();
        let durable = write_and_drop(subject.as_ref(), checkpoint_at);
        subject.crash_process();
        assert!(open(subject.as_ref()).is_trusted(), "a crash of the process costs no trust");
        subject.crash_process();
        check_prefix(subject.as_ref(), durable);
    }
}

/// A store that does not survive a power cut says so when it is opened the next time, or does not open.
pub fn a_power_cut_leaves_whole_batches_or_no_trust(make: &mut Make<'_>) {
    for checkpoint_at in [0, 1, BATCHES / 2, BATCHES] {
        let mut subject = make();
        let durable = write_and_drop(subject.as_ref(), checkpoint_at);
        subject.cut_power();
        if subject.engine(subject.disk()).survives_power_cut() {
            check_prefix(subject.as_ref(), durable);
        } else {
            for _ in 0..2 {
                let opened = subject.engine(subject.disk()).open(&subject.dir());
                assert!(opened.is_ok_and(|store| !store.is_trusted()), "trusted after a power cut");
            }
        }
    }
}

fn write_and_drop(subject: &dyn Subject, checkpoint_at: u64) -> Index {
    let mut store = open(subject);
    for n in 1..=BATCHES {
        write(store.as_mut(), n..=n);
        if n == checkpoint_at {
            assert_eq!(store.checkpoint().expect("a checkpoint"), Index(n));
        }
    }
    store.durable_index()
}

/// After a clean stop neither a crash nor a power cut costs anything.
pub fn a_closed_store_is_whole_and_trusted_whatever_follows(make: &mut Make<'_>) {
    let mut subject = make();
    let mut store = open(subject.as_ref());
    write(store.as_mut(), 1..=BATCHES);
    let reader = store.reader();
    store.close().expect("a close");
    assert!(reader.get(&[record::PREFIX]).is_err(), "a closed store is read");
    drop((store, reader));
    subject.cut_power();
    assert!(open(subject.as_ref()).is_trusted());
    check_prefix(subject.as_ref(), Index(BATCHES));
}
