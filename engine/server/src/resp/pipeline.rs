//! The requests of one connection between their arrival and their reply: which may run side by side, which
//! travel together, and in what order they are answered. Without I/O.
//!
//! Requests that have arrived are gathered into one call per kind of access, so that a pipeline of sixteen `SET`s
//! is one write to the engine. Requests on different keys may overtake each other inside; a request waits for
//! those before it that touch one of its keys, unless all of them only read, or they travel in one write, which
//! keeps their order. A walk over many keys waits for the writes before it, and writes wait for it. Replies leave
//! in the order of the requests.

mod shape;

use std::collections::{HashMap, VecDeque};
use std::mem;

use bytes::Bytes;

use super::encode::Protocol;
use super::reply::{self, Reply};
use super::walk::Walk;
use crate::backend::{Access, BackendError, Write, Written};

pub(super) use shape::{LengthShape, ValueShape, WriteShape};

/// Places for unanswered requests and their keys that an idle connection keeps.
const IDLE_CAPACITY_MAX: usize = 8;

/// What a request asks for. Keys are engine keys.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plan {
    /// Nothing is left to do.
    Reply(Reply),
    /// This reply, and then the end of the connection.
    Close(Reply),
    /// Values.
    Read { keys: Vec<Bytes>, shape: ValueShape },
    /// Lengths of values, or only whether they are there.
    Measure { keys: Vec<Bytes>, shape: LengthShape },
    /// Changes.
    Write { writes: Vec<Write>, shape: WriteShape },
    /// Something about many keys that are not named.
    Walk(Walk),
}

/// A request, and what of its connection's state it has to be carried out with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Planned {
    pub(super) plan: Plan,
    /// How the backend is to be called for it.
    pub(super) access: Access,
    /// How its reply is encoded.
    pub(super) protocol: Protocol,
    /// Bytes it took on the wire.
    pub(super) bytes: usize,
}

/// A call to the backend that carries the requests of one kind that had arrived.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Call {
    Read(Vec<Bytes>),
    Measure(Vec<Bytes>),
    Write(Vec<Write>),
    /// Of one request.
    Walk(Walk),
}

/// What the backend answered, one result per operation.
#[derive(Debug)]
pub(super) enum Answer {
    Values(Vec<Result<Option<Bytes>, BackendError>>),
    Lengths(Vec<Result<Option<usize>, BackendError>>),
    Written(Vec<Result<Written, BackendError>>),
    /// To [`Call::Walk`].
    Reply(Reply),
}

/// The requests a call stands for; handed back with its answer.
#[derive(Debug)]
pub(super) struct Ticket {
    access: Access,
    members: Vec<Member>,
    /// Each operation's key, to be released.
    keys: Vec<Bytes>,
}

impl Ticket {
    /// How the backend is to be called: the same for all requests of the call.
    pub(super) fn access(&self) -> Access {
        self.access
    }
}

#[derive(Clone, Copy, Debug)]
struct Member {
    sequence: u64,
    /// How many of the call's operations are this request's.
    operations: usize,
    shape: Shape,
}

/// How results become a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Values(ValueShape),
    Lengths(LengthShape),
    Written(WriteShape),
    Ready,
}

/// Who uses a key at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Read,
    /// All in the write batch of this number.
    Write(u64),
}

#[derive(Debug)]
struct Waiting {
    reply: Option<Reply>,
    protocol: Protocol,
    bytes: usize,
}

/// Requests of one kind that travel together.
#[derive(Debug)]
struct Batch<T> {
    members: Vec<Member>,
    keys: Vec<Bytes>,
    operations: Vec<T>,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { members: Vec::new(), keys: Vec::new(), operations: Vec::new() }
    }
}

impl<T> Batch<T> {
    fn into_call(self, access: Access, call: impl FnOnce(Vec<T>) -> Call) -> Option<(Ticket, Call)> {
        let ticket = Ticket { access, members: self.members, keys: self.keys };
        (!ticket.members.is_empty()).then(|| (ticket, call(self.operations)))
    }
}

/// See the module's text. One per connection.
#[derive(Debug, Default)]
pub(super) struct Pipeline {
    /// Requests not answered yet, the oldest first.
    waiting: VecDeque<Waiting>,
    /// The sequence of the first of `waiting`.
    first_sequence: u64,
    /// Bytes of the requests in `waiting`, and of their replies that are there.
    waiting_bytes: usize,
    /// Keys of requests that are gathered or in flight, with how often each is used.
    in_use: HashMap<Bytes, (Use, usize)>,
    /// How many of the uses in `in_use` are writes.
    writes_in_use: usize,
    /// Whether a walk is gathered or in flight: one at a time, because one alone may hold much.
    is_walking: bool,
    /// Number of the write batch that is being gathered.
    write_batch: u64,
    /// The access of everything that is being gathered; `None` when nothing is.
    access: Option<Access>,
    reads: Batch<Bytes>,
    measures: Batch<Bytes>,
    writes: Batch<Write>,
    walk: Batch<Walk>,
}

impl Pipeline {
    /// No requests yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Requests not answered yet.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether every request has been answered.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes of the requests not answered yet, and of their replies as far as those are there.
    pub(super) fn bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Takes in the next request.
    ///
    /// # Errors
    /// Hands it back when it has to wait for a request before it: to be admitted again, before any other,
    /// once a call has been completed. Gathered calls have to be taken first.
    pub(super) fn admit(&mut self, request: Planned) -> Result<(), Planned> {
        if !self.may_run(&request) {
            return Err(request);
        }
        let Planned { plan, access, protocol, mut bytes } = request;
        let sequence = self.first_sequence + self.waiting.len() as u64;
        let mut reply = None;
        match plan {
            Plan::Reply(ready) | Plan::Close(ready) => {
                bytes += reply::bytes(&ready);
                reply = Some(ready);
            }
            plan => {
                self.access = Some(access);
                self.gather(sequence, plan);
            }
        }
        self.waiting.push_back(Waiting { reply, protocol, bytes });
        self.waiting_bytes += bytes;
        Ok(())
    }

    /// The calls gathered since the last time, to be made now, side by side.
    pub(super) fn take_calls(&mut self) -> impl Iterator<Item = (Ticket, Call)> + use<> {
        let Some(access) = self.access.take() else { return [None, None, None, None].into_iter().flatten() };
        // Later writes must not join this batch: it is under way.
        self.write_batch += 1;
        let one_walk = |mut walks: Vec<Walk>| match walks.pop() {
            Some(walk) => Call::Walk(walk),
            None => unreachable!("a gathered walk is there"),
        };
        let calls = [
            mem::take(&mut self.reads).into_call(access, Call::Read),
            mem::take(&mut self.measures).into_call(access, Call::Measure),
            mem::take(&mut self.writes).into_call(access, Call::Write),
            mem::take(&mut self.walk).into_call(access, one_walk),
        ];
        calls.into_iter().flatten()
    }

    /// Takes the answer to a call.
    ///
    /// # Panics
    /// If it has not one result per operation of the call: the backend broke its contract.
    pub(super) fn complete(&mut self, ticket: Ticket, answer: Answer) {
        let Ticket { members, keys, access: _ } = ticket;
        for key in &keys {
            self.release(key);
        }
        match answer {
            Answer::Values(values) => self.answer(members, values, |shape, own| match shape {
                Shape::Values(shape) => shape.reply(own),
                other => unreachable!("{other:?} is no reply to a read of values"),
            }),
            Answer::Lengths(lengths) => self.answer(members, lengths, |shape, own| match shape {
                Shape::Lengths(shape) => shape.reply(own),
                other => unreachable!("{other:?} is no reply to a read of lengths"),
            }),
            Answer::Written(written) => self.answer(members, written, |shape, own| match shape {
                Shape::Written(shape) => shape.reply(own),
                other => unreachable!("{other:?} is no reply to a write"),
            }),
            Answer::Reply(reply) => {
                self.is_walking = false;
                self.answer(members, vec![reply], |_, mut own| own.pop().unwrap_or(Reply::Null));
            }
        }
    }

    /// The oldest request's reply, if it is ready, and how to encode it.
    pub(super) fn next_reply(&mut self) -> Option<(Reply, Protocol)> {
        let reply = self.waiting.front_mut()?.reply.take()?;
        let answered = self.waiting.pop_front()?;
        self.waiting_bytes -= answered.bytes;
        self.first_sequence += 1;
        Some((reply, answered.protocol))
    }

    /// Gives back the memory of busier times. Costs nothing when there is none.
    pub(super) fn shrink(&mut self) {
        if self.waiting.is_empty() && self.waiting.capacity() > IDLE_CAPACITY_MAX {
            self.waiting = VecDeque::new();
        }
        if self.in_use.is_empty() && self.in_use.capacity() > IDLE_CAPACITY_MAX {
            self.in_use = HashMap::new();
        }
    }

    fn may_run(&self, request: &Planned) -> bool {
        let readable = |key: &Bytes| matches!(self.in_use.get(key), None | Some((Use::Read, _)));
        let writable = |write: &Write| match self.in_use.get(write.key()) {
            None => true,
            Some((used, _)) => *used == Use::Write(self.write_batch),
        };
        let travels = self.access.is_none_or(|access| access == request.access);
        match &request.plan {
            Plan::Reply(_) | Plan::Close(_) => true,
            Plan::Read { keys, .. } | Plan::Measure { keys, .. } => travels && keys.iter().all(readable),
            Plan::Write { writes, .. } => travels && !self.is_walking && writes.iter().all(writable),
            Plan::Walk(_) => travels && !self.is_walking && self.writes_in_use == 0,
        }
    }

    fn gather(&mut self, sequence: u64, plan: Plan) {
        match plan {
            Plan::Reply(_) | Plan::Close(_) => unreachable!("what is answered already needs no call"),
            Plan::Read { keys, shape } => {
                let batch = &mut self.reads;
                batch.members.push(Member { sequence, operations: keys.len(), shape: Shape::Values(shape) });
                use_keys(&mut self.in_use, &mut batch.keys, keys.iter(), Use::Read);
                batch.operations.extend(keys);
            }
            Plan::Measure { keys, shape } => {
                let batch = &mut self.measures;
                batch.members.push(Member { sequence, operations: keys.len(), shape: Shape::Lengths(shape) });
                use_keys(&mut self.in_use, &mut batch.keys, keys.iter(), Use::Read);
                batch.operations.extend(keys);
            }
            Plan::Write { writes, shape } => {
                let batch = &mut self.writes;
                let (operations, shape) = (writes.len(), Shape::Written(shape));
                batch.members.push(Member { sequence, operations, shape });
                let used = Use::Write(self.write_batch);
                use_keys(&mut self.in_use, &mut batch.keys, writes.iter().map(Write::key), used);
                self.writes_in_use += operations;
                batch.operations.extend(writes);
            }
            Plan::Walk(walk) => {
                self.walk.members.push(Member { sequence, operations: 1, shape: Shape::Ready });
                self.walk.operations.push(walk);
                self.is_walking = true;
            }
        }
    }

    fn release(&mut self, key: &Bytes) {
        let Some((used, count)) = self.in_use.get_mut(key) else {
            unreachable!("a key in flight is in use");
        };
        if matches!(used, Use::Write(_)) {
            self.writes_in_use -= 1;
        }
        *count -= 1;
        if *count == 0 {
            self.in_use.remove(key);
        }
    }

    /// Deals the results out to the requests of the call, in order.
    fn answer<T>(&mut self, members: Vec<Member>, results: Vec<T>, reply: impl Fn(Shape, Vec<T>) -> Reply) {
        let operations: usize = members.iter().map(|member| member.operations).sum();
        assert_eq!(results.len(), operations, "a backend gives one result per operation");
        let mut results = results.into_iter();
        for member in members {
            let place = member.sequence - self.first_sequence;
            let slot = usize::try_from(place).ok().and_then(|place| self.waiting.get_mut(place));
            let Some(slot) = slot else { unreachable!("an unanswered request waits in its place") };
            assert!(slot.reply.is_none(), "request {} is answered once", member.sequence);
            let reply = reply(member.shape, results.by_ref().take(member.operations).collect());
            let bytes = reply::bytes(&reply);
            slot.bytes += bytes;
            self.waiting_bytes += bytes;
            slot.reply = Some(reply);
        }
    }
}

fn use_keys<'a>(
    in_use: &mut HashMap<Bytes, (Use, usize)>,
    used_keys: &mut Vec<Bytes>,
    keys: impl Iterator<Item = &'a Bytes>,
    used: Use,
) {
    for key in keys {
        let entry = in_use.entry(key.clone()).or_insert((used, 0));
        assert_eq!(entry.0, used, "a key has readers, or the writers of one batch");
        entry.1 += 1;
        used_keys.push(key.clone());
    }
}

#[cfg(test)]
mod tests;
