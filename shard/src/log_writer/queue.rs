//! What waits for the log writer, and how it is grouped into appends.

use std::time::Duration;

use quorate_storage::Index;
use quorate_storage::log::LogBatch;
use quorate_storage::snapshot::SnapshotToken;
use tokio::sync::oneshot;

use crate::core::LogPersist;
use crate::log_writer::{LogReply, persist_bytes};

/// One thing to do to the log, in order.
#[derive(Debug)]
pub(crate) enum LogWork {
    Persist(LogPersist),
    Prove,
    RecordSnapshot { token: SnapshotToken, reply: LogReply },
    Compact { through: Index, reply: LogReply },
    Close { clean: bool, done: oneshot::Sender<()> },
}

/// The queue. Invariant: `in_flight_since` is set while a job is submitted or runs.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Vec<LogWork>,
    in_flight_since: Option<Duration>,
    is_latched: bool,
}

impl Queue {
    /// Adds work; whether a job has to be submitted for it. A latched queue drops it, and with it its replies.
    pub(crate) fn push(
        &mut self,
        work: impl IntoIterator<Item = LogWork>,
        now: impl FnOnce() -> Duration,
    ) -> bool {
        if self.is_latched {
            return false;
        }
        self.waiting.extend(work);
        if self.in_flight_since.is_some() || self.waiting.is_empty() {
            return false;
        }
        self.in_flight_since = Some(now());
        true
    }

    /// Takes everything.
    pub(crate) fn take(&mut self) -> Vec<LogWork> {
        std::mem::take(&mut self.waiting)
    }

    /// After a job: whether another one has to follow.
    pub(crate) fn next_round(&mut self, now: impl FnOnce() -> Duration) -> bool {
        let has_more = !self.waiting.is_empty();
        self.in_flight_since = has_more.then(now);
        has_more
    }

    /// Forgets what no job has taken yet.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Takes nothing more.
    pub(crate) fn latch(&mut self) {
        self.is_latched = true;
        self.in_flight_since = None;
        self.waiting.clear();
    }

    pub(crate) fn in_flight_since(&self) -> Option<Duration> {
        self.in_flight_since
    }
}

/// One call to the log store.
#[derive(Debug)]
pub(crate) enum Step {
    Append(Append),
    /// Anything but [`LogWork::Persist`].
    Other(LogWork),
}

/// One write and at most one sync.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) batches: Vec<LogBatch>,
    pub(crate) sync: bool,
    /// The last ready in it.
    pub(crate) ready: u64,
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
}

/// Neighbouring records become one append.
pub(crate) fn steps(work: Vec<LogWork>) -> Vec<Step> {
    let mut steps = Vec::new();
    for work in work {
        let LogWork::Persist(persist) = work else {
            steps.push(Step::Other(work));
            continue;
        };
        let bytes = persist_bytes(&persist);
        let entries = persist.batch.entries.len() as u64;
        if let Some(Step::Append(append)) = steps.last_mut() {
            assert!(append.ready < persist.ready, "readies are handed in ascending order");
            append.batches.push(persist.batch);
            append.sync |= persist.sync;
            append.ready = persist.ready;
            append.bytes += bytes;
            append.entries += entries;
        } else {
            let LogPersist { ready, batch, sync } = persist;
            let append = Append { batches: vec![batch], sync, ready, bytes, entries };
            steps.push(Step::Append(append));
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn persist(ready: u64, sync: bool) -> LogWork {
        LogWork::Persist(LogPersist { ready, batch: LogBatch::default(), sync })
    }

    #[test]
    fn everything_queued_becomes_one_append_with_one_sync() {
        let steps = steps(vec![persist(1, false), persist(2, true), persist(3, false)]);
        let [Step::Append(append)] = steps.as_slice() else { panic!("one append, not {steps:?}") };
        assert_eq!((append.batches.len(), append.sync, append.ready), (3, true, 3));
    }

    #[test]
    fn commands_keep_their_place_between_appends() {
        let steps = steps(vec![persist(1, true), LogWork::Prove, persist(2, false)]);
        let [Step::Append(first), Step::Other(LogWork::Prove), Step::Append(second)] = steps.as_slice()
        else {
            panic!("append, prove, append, not {steps:?}")
        };
        assert_eq!((first.sync, second.sync), (true, false));
    }

    #[test]
    fn one_job_is_in_flight_at_a_time() {
        let mut queue = Queue::default();
        assert!(queue.push([LogWork::Prove], || Duration::ZERO));
        assert!(!queue.push([LogWork::Prove], || Duration::ZERO), "the job in flight will be followed");
        assert_eq!(queue.take().len(), 2);
        assert!(!queue.next_round(|| Duration::ZERO));
        queue.latch();
        assert!(!queue.push([LogWork::Prove], || Duration::ZERO), "a latched queue takes nothing");
    }
}
