//! Counts the memory that a thread takes: how the tests see that a length alone makes nobody allocate.
#![expect(
    unsafe_code,
    reason = "an allocator is an unsafe trait; this one hands every call on to the system's"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, which counts. To be made the global one of a test binary; without it nothing is counted.
#[derive(Clone, Copy, Debug)]
pub struct Counting;

/// Bytes of one thread. Signed: what it frees may have been another's.
#[derive(Clone, Copy, Debug)]
struct Counts {
    live: isize,
    peak: isize,
}

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { live: 0, peak: 0 }) };
}

/// The most bytes this thread had at once while it did `work`, beyond what it had before.
pub fn peak_of(work: impl FnOnce()) -> usize {
    let before = COUNTS.get().live;
    COUNTS.set(Counts { live: before, peak: before });
    work();
    usize::try_from(COUNTS.get().peak - before).unwrap_or_default()
}

fn note(bytes: isize) {
    // A thread that ends has no counts any more.
    let _ = COUNTS.try_with(|counts| {
        let Counts { live, peak } = counts.get();
        let live = live + bytes;
        counts.set(Counts { live, peak: peak.max(live) });
    });
}

/// A layout has at most `isize::MAX` bytes.
fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

// SAFETY: every call is handed on as it came, and its answer handed back; counting allocates nothing (the cells are
// initialized at compile time and have no destructor) and does not unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(signed(layout.size()));
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(-signed(layout.size()));
        // SAFETY: as above; the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(signed(size) - signed(layout.size()));
        // SAFETY: as above; the pointer came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
