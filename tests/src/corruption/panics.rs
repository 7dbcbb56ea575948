//! Panics of this thread, also those that somebody catches.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;
use std::thread;

use parking_lot::Mutex;

/// Starts the names of the threads of nodes in real time, and of sled's own.
const THREADS: [&str; 2] = ["rot-", "sled"];
/// Panics that are kept; later ones say nothing new.
const PANICS_MAX: usize = 1_000;

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

static OF_THREADS: Mutex<Vec<String>> = Mutex::new(Vec::new());

static WATCHING: Once = Once::new();

/// Has panics on the threads of nodes kept for [`take_of_threads`].
pub(super) fn watch_threads() {
    WATCHING.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let thread = thread::current();
            let name = thread.name().unwrap_or_default();
            if THREADS.iter().any(|start| name.starts_with(start)) {
                let mut seen = OF_THREADS.lock();
                if seen.len() < PANICS_MAX {
                    seen.push(format!("{name}: {info}"));
                }
                return;
            }
            SEEN.with_borrow_mut(|seen| seen.push(info.to_string()));
            before(info);
        }));
    });
}

/// Every panic since the last call on threads whose name begins with `start`, and on sled's, whoever they work for; told
/// with its thread and place.
pub(super) fn take_of_threads(start: &str) -> Vec<String> {
    let is_wanted = |panic: &mut String| panic.starts_with(start) || panic.starts_with(THREADS[1]);
    OF_THREADS.lock().extract_if(.., is_wanted).collect()
}

/// Runs `work`; what it gives, and every panic on this thread meanwhile, told with its place.
pub(super) fn watched<T>(work: impl FnOnce() -> T) -> (Option<T>, Vec<String>) {
    watch_threads();
    SEEN.with_borrow_mut(Vec::clear);
    let done = panic::catch_unwind(panic::AssertUnwindSafe(work)).ok();
    (done, SEEN.with_borrow_mut(std::mem::take))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_panic_that_was_caught_is_seen() {
        let caught = || std::panic::catch_unwind(|| panic!("deep inside")).is_err();
        let (done, seen) = super::watched(caught);
        assert_eq!((done, seen.len()), (Some(true), 1));
        assert!(seen[0].contains("deep inside"), "{seen:?}");
        assert_eq!(super::watched(|| 7), (Some(7), Vec::new()));
    }
}
