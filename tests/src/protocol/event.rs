//! What happens in a simulation, and when.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

use quorate_shard::core::Fetch;
use quorate_storage::GroupId;

use super::client::{Answer, Asked};
use super::packet::Packet;

/// A node, counted from 0.
pub(crate) type NodeAt = usize;

/// One start of one replica: what is on its way to an earlier start finds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) node: NodeAt,
    pub(crate) group: GroupId,
    pub(crate) life: u64,
}

/// One thing that happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// The clock of a node ticks; `life` is that of its process.
    Tick { node: NodeAt, life: u64 },
    /// A node's process starts.
    Start { node: NodeAt, life: u64 },
    /// A node starts one of its replicas again.
    Restart { node: NodeAt, group: GroupId, life: u64 },
    /// A packet arrives.
    Packet { from: NodeAt, to: NodeAt, packet: Box<Packet> },
    /// A worker has come to this job.
    Job { place: Place, job: Job },
    /// A client's request arrives at a node.
    Asked { node: NodeAt, asked: Box<Asked> },
    /// An answer arrives at a client.
    Answered { client: usize, attempt: u64, answer: Answer },
    /// A client's patience with this attempt ends, or its pause.
    Client { client: usize, attempt: u64 },
    /// A planned fault begins.
    Fault(usize),
    /// A fault that lasts ends.
    FaultEnds(usize),
    /// Whoever changes the membership of a group has another look.
    Operate { group: GroupId },
}

/// Work that a shell gives to its workers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Job {
    /// The log writer takes what is queued.
    Log,
    /// The tail of the log is proven, unless something was written since this many jobs.
    Prove { after: u64 },
    /// The applier takes a batch, or one other piece of work.
    Apply,
    /// Entries are read for the core.
    Fetch(Fetch),
    /// The publishing of a snapshot goes one step on.
    Publish,
    /// The newest snapshot's label is read.
    Label,
}

#[derive(Debug)]
struct Scheduled {
    at: Duration,
    number: u64,
    event: Event,
}

/// Events by time; those of one time in the order they were scheduled.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
}

impl Queue {
    pub(crate) fn add(&mut self, at: Duration, event: Event) {
        self.scheduled += 1;
        self.heap.push(Reverse(Scheduled { at, number: self.scheduled, event }));
    }

    pub(crate) fn next(&mut self) -> Option<(Duration, Event)> {
        self.heap.pop().map(|Reverse(Scheduled { at, event, .. })| (at, event))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
