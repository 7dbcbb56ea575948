//! Groups are checked side by side by a few scoped threads; what they find is told in the order of the groups.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use parking_lot::Mutex;

use super::group;
use super::progress::{Checked, Tally, VerifyProgress};
use crate::ids::GroupId;
use crate::offline::{LookOptions, StoppedDir};

/// Checks `groups` with at most `readers` threads; with one, the calling thread does it.
pub(super) fn check_groups(
    (dir, options): (&StoppedDir, &LookOptions),
    groups: &[GroupId],
    readers: usize,
    tally: &mut Tally<'_>,
) {
    let readers = readers.min(groups.len());
    let slots: Vec<Mutex<Option<Checked>>> = groups.iter().map(|_| Mutex::default()).collect();
    let next = AtomicUsize::new(0);
    let check_rest = |progress: &mut dyn FnMut(usize, &VerifyProgress)| {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let (Some(&group), Some(slot)) = (groups.get(at), slots.get(at)) else { return };
            *slot.lock() = Some(check_one((dir, options), group, &mut |now| progress(at, now)));
        }
    };
    let mut told = vec![VerifyProgress::default(); groups.len()];
    let mut tell = |at: usize, now: &VerifyProgress| tally.tell_part(&mut told[at], now);
    if readers <= 1 {
        check_rest(&mut tell);
    } else {
        std::thread::scope(|scope| {
            let (sender, received) = mpsc::channel();
            for _ in 0..readers {
                let (sender, check_rest) = (sender.clone(), &check_rest);
                scope.spawn(move || {
                    check_rest(&mut |at, now| {
                        // Nobody listens any more if the caller's callback has panicked.
                        let _ = sender.send((at, *now));
                    });
                });
            }
            drop(sender);
            for (at, now) in received {
                tell(at, &now);
            }
        });
    }
    for checked in slots.into_iter().filter_map(Mutex::into_inner) {
        tally.take(checked);
    }
}

fn check_one(
    (dir, options): (&StoppedDir, &LookOptions),
    group: GroupId,
    progress: &mut dyn FnMut(&VerifyProgress),
) -> Checked {
    let mut tally = Tally::new(progress);
    tally.begin(group);
    group::check(dir, options, group, &mut tally);
    tally.checked()
}
