//! Worker threads.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, ThreadId};
use std::{io, mem};

use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::{Mutex, RwLock};

use super::{Job, Stopped, Workers};

/// Spreads consecutive keys over the threads more evenly than a general hash does (Fibonacci hashing).
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// A thread of the pool could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start worker thread {thread}")]
pub struct SpawnError {
    /// Name of the thread.
    pub thread: String,
    /// Why.
    pub source: io::Error,
}

/// The production [`Workers`]: named threads, each fed by a channel of its own. A key always goes to the same thread,
/// which is what keeps its jobs in order.
///
/// The channels are unbounded because `submit` must neither block nor fail for want of room: whoever submits bounds
/// what it has in flight (a log writer submits its next batch when the last one was answered), and
/// [`depth`](Workers::depth) shows whether it does.
///
/// Dropped without [`stop`](Workers::stop), the pool still runs what it accepted, but nobody waits for it.
#[derive(Debug)]
pub struct ThreadWorkers {
    /// Empty once stopped: the threads end when they have drained their channel.
    queues: RwLock<Vec<Sender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    thread_ids: Vec<ThreadId>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    depth: AtomicUsize,
    panics: AtomicU64,
}

impl ThreadWorkers {
    /// Starts `threads` threads named `<name>-0`, `<name>-1` and so on. Linux shows the first 15 bytes of a name.
    ///
    /// # Errors
    /// [`SpawnError`] when the operating system refuses a thread; those already started end by themselves.
    pub fn new(name: &str, threads: NonZeroUsize) -> Result<Self, SpawnError> {
        let counts = Arc::new(Counts::default());
        let mut queues = Vec::with_capacity(threads.get());
        let mut handles = Vec::with_capacity(threads.get());
        for number in 0..threads.get() {
            let (sender, receiver) = unbounded();
            let thread = format!("{name}-{number}");
            let counts = Arc::clone(&counts);
            let handle = thread::Builder::new().name(thread.clone()).spawn(move || run(&receiver, &counts));
            handles.push(handle.map_err(|source| SpawnError { thread, source })?);
            queues.push(sender);
        }
        let thread_ids = handles.iter().map(|handle| handle.thread().id()).collect();
        Ok(Self { queues: RwLock::new(queues), threads: Mutex::new(handles), thread_ids, counts })
    }

    /// Jobs that ended in a panic since the pool was started.
    pub fn panics(&self) -> u64 {
        self.counts.panics.load(Ordering::Relaxed)
    }
}

impl Workers for ThreadWorkers {
    fn submit(&self, key: u64, job: Job) -> Result<(), Stopped> {
        let queues = self.queues.read();
        if queues.is_empty() {
            return Err(Stopped);
        }
        // Counted before it is queued: a thread never takes the count below zero.
        self.counts.depth.fetch_add(1, Ordering::Relaxed);
        let sent = queues[thread_of(key, queues.len())].send(job);
        // A thread ends only when its sender is gone, and we hold that.
        assert!(sent.is_ok(), "a worker thread ended before its pool was stopped");
        Ok(())
    }

    fn depth(&self) -> usize {
        self.counts.depth.load(Ordering::Relaxed)
    }

    /// From a job of this very pool it only refuses further jobs: waiting there would be waiting for itself.
    fn stop(&self) {
        drop(mem::take(&mut *self.queues.write()));
        if self.thread_ids.contains(&thread::current().id()) {
            return;
        }
        // The lock is held while joining: a second caller also returns only when everything has run.
        for handle in self.threads.lock().drain(..) {
            // Jobs are caught, so a thread has nothing left to panic with.
            assert!(handle.join().is_ok(), "a worker thread unwound outside of a job");
        }
    }
}

fn thread_of(key: u64, threads: usize) -> usize {
    let spread = u128::from(key.wrapping_mul(SPREAD));
    let thread = (spread * threads as u128) >> 64;
    usize::try_from(thread).expect("a number below the number of threads")
}

fn run(queue: &Receiver<Job>, counts: &Counts) {
    for job in queue {
        if !run_caught(job) {
            counts.panics.fetch_add(1, Ordering::Relaxed);
        }
        counts.depth.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs `job`; whether it ended without a panic. What it captured is dropped either way.
pub(super) fn run_caught(job: Job) -> bool {
    // Unwind safety: whatever a job shares with others reports through a channel that the unwind drops.
    match catch_unwind(AssertUnwindSafe(job)) {
        Ok(()) => true,
        Err(payload) => {
            let thread = thread::current();
            tracing::error!(thread = thread.name(), "a job panicked; the pool goes on");
            // Dropping a payload may itself panic. It is leaked: a panicking group is quarantined, so there are few.
            mem::forget(payload);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Barrier;

    use super::super::conformance;
    use super::*;

    fn pool(threads: usize) -> ThreadWorkers {
        ThreadWorkers::new("test", NonZeroUsize::new(threads).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn threads_conform_whatever_their_number() {
        for threads in [1, 2, 5] {
            conformance::check(|| Arc::new(pool(threads))).await;
        }
    }

    #[test]
    fn consecutive_keys_fill_the_threads_evenly() {
        for threads in 1..=8 {
            let mut keys = vec![0_usize; threads];
            for key in 1..=64 {
                keys[thread_of(key, threads)] += 1;
            }
            let (least, most) = (keys.iter().min().unwrap(), keys.iter().max().unwrap());
            assert!(most - least <= 3, "{keys:?}");
        }
        let used: BTreeSet<_> = (0..1_000).map(|key| thread_of(key * 64, 4)).collect();
        assert_eq!(used.len(), 4, "a stride does not starve a thread");
    }

    #[test]
    fn keys_of_different_threads_run_side_by_side() {
        let pool = pool(2);
        let other = (1..10).find(|&key| thread_of(key, 2) != thread_of(0, 2)).unwrap();
        // Both jobs wait for each other and for us: this only returns when they run at the same time.
        let meeting = Arc::new(Barrier::new(3));
        for key in [0, other] {
            let meeting = Arc::clone(&meeting);
            pool.submit(key, Box::new(move || _ = meeting.wait())).unwrap();
        }
        meeting.wait();
        pool.stop();
        assert_eq!(pool.depth(), 0);
    }

    #[test]
    fn panics_are_counted_and_the_thread_goes_on() {
        let pool = pool(1);
        for _ in 0..3 {
            pool.submit(1, Box::new(|| panic!("planted"))).unwrap();
        }
        let (sender, receiver) = unbounded();
        pool.submit(1, Box::new(move || sender.send(thread::current().name().map(str::to_owned)).unwrap()))
            .unwrap();
        assert_eq!(receiver.recv().unwrap().as_deref(), Some("test-0"));
        pool.stop();
        assert_eq!(pool.panics(), 3);
    }

    #[test]
    fn a_job_may_stop_its_own_pool() {
        let pool = Arc::new(pool(1));
        let (sender, receiver) = unbounded();
        let own = Arc::clone(&pool);
        pool.submit(
            1,
            Box::new(move || {
                own.stop();
                sender.send(()).unwrap();
            }),
        )
        .unwrap();
        receiver.recv().unwrap();
        assert_eq!(pool.submit(1, Box::new(|| ())), Err(Stopped));
    }
}
