//! Panics of this thread, also those that somebody catches.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

static WATCHING: Once = Once::new();

/// Runs `work`; what it gives, and every panic on this thread meanwhile, told with its place.
pub(super) fn watched<T>(work: impl FnOnce() -> T) -> (Option<T>, Vec<String>) {
    WATCHING.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            SEEN.with_borrow_mut(|seen| seen.push(info.to_string()));
            before(info);
        }));
    });
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
