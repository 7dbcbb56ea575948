//! The requests of one connection between their arrival and their reply: which may run side by side, which
//! travel together, and in what order they are answered. Without I/O.
//!
//! Requests that have arrived are gathered into one call per kind of access, so that a pipeline of sixteen `SET`s
//! is one write to the engine. Requests on different keys may overtake each other inside; a request waits for
//! those before it that touch one of its keys, unless all of them only read, or they travel in one write, which
//! keeps their order. Replies leave in the order of the requests.

use std::collections::{HashMap, VecDeque};
use std::mem;

use bytes::Bytes;

use super::reply::{self, Reply};
use crate::backend::{BackendError, Write};

/// What a request asks for. Keys are engine keys.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Nothing is left to do.
    Reply(Reply),
    /// This reply, and then the end of the connection.
    Close(Reply),
    /// One value.
    Get {
        /// Of this key.
        key: Bytes,
    },
    /// Several values, all or an error.
    Mget {
        /// Of these keys.
        keys: Vec<Bytes>,
    },
    /// How many keys exist.
    Exists {
        /// A key named twice counts twice.
        keys: Vec<Bytes>,
    },
    /// One write, answered by OK.
    Set {
        /// A put.
        write: Write,
    },
    /// Several writes, answered by OK.
    Mset {
        /// Puts.
        writes: Vec<Write>,
    },
    /// Several removals, answered by how many keys were there.
    Del {
        /// Deletes.
        writes: Vec<Write>,
    },
}

/// A call to the backend that carries the requests of one kind that had arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Values.
    Read(Vec<Bytes>),
    /// Presence.
    Exists(Vec<Bytes>),
    /// Changes.
    Write(Vec<Write>),
}

/// What the backend answered.
#[derive(Debug)]
pub enum Answer {
    /// To [`Call::Read`].
    Values(Vec<Result<Option<Bytes>, BackendError>>),
    /// To [`Call::Exists`] and [`Call::Write`]: whether each key was there.
    Existed(Vec<Result<bool, BackendError>>),
}

/// The requests a call stands for; handed back with its answer.
#[derive(Debug, Default)]
pub struct Ticket {
    members: Vec<Member>,
    /// Each operation's key, to be released.
    keys: Vec<Bytes>,
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
    Value,
    Values,
    /// How many keys exist.
    Found,
    /// How many keys were removed.
    Removed,
    /// That all was written.
    Ok,
}

/// Who uses a key at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    /// All in the write batch of this number.
    Write(u64),
}

#[derive(Debug)]
struct Waiting {
    reply: Option<Reply>,
    bytes: usize,
}

/// See the module's text. One per connection.
#[derive(Debug, Default)]
pub struct Pipeline {
    /// Requests not answered yet, the oldest first.
    waiting: VecDeque<Waiting>,
    /// The sequence of the first of `waiting`.
    first_sequence: u64,
    /// Bytes of the requests in `waiting`, and of their replies that are there.
    waiting_bytes: usize,
    /// Keys of requests that are gathered or in flight, with how often each is used.
    in_use: HashMap<Bytes, (Access, usize)>,
    /// Number of the write batch that is being gathered.
    write_batch: u64,
    reads: (Ticket, Vec<Bytes>),
    probes: (Ticket, Vec<Bytes>),
    writes: (Ticket, Vec<Write>),
}

impl Pipeline {
    /// No requests yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests not answered yet.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether every request has been answered.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes of the requests not answered yet, and of their replies as far as those are there.
    pub fn bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Takes in the next request, which took `bytes` on the wire.
    ///
    /// # Errors
    /// Hands the plan back when it has to wait for a request before it: to be admitted again, before any other,
    /// once a call has been completed. Gathered calls have to be taken first.
    pub fn admit(&mut self, plan: Plan, bytes: usize) -> Result<(), Plan> {
        if !self.may_run(&plan) {
            return Err(plan);
        }
        let sequence = self.first_sequence + self.waiting.len() as u64;
        let mut reply = None;
        match plan {
            Plan::Reply(ready) | Plan::Close(ready) => reply = Some(ready),
            Plan::Get { key } => self.gather_read(Member::new(sequence, 1, Shape::Value), vec![key]),
            Plan::Mget { keys } => self.gather_read(Member::new(sequence, keys.len(), Shape::Values), keys),
            Plan::Exists { keys } => self.gather_probe(Member::new(sequence, keys.len(), Shape::Found), keys),
            Plan::Set { write } => self.gather_write(Member::new(sequence, 1, Shape::Ok), vec![write]),
            Plan::Mset { writes } => {
                self.gather_write(Member::new(sequence, writes.len(), Shape::Ok), writes);
            }
            Plan::Del { writes } => {
                self.gather_write(Member::new(sequence, writes.len(), Shape::Removed), writes);
            }
        }
        self.waiting.push_back(Waiting { reply, bytes });
        self.waiting_bytes += bytes;
        Ok(())
    }

    /// The calls gathered since the last time, to be made now, side by side.
    pub fn take_calls(&mut self) -> impl Iterator<Item = (Ticket, Call)> + use<> {
        let reads = mem::take(&mut self.reads);
        let probes = mem::take(&mut self.probes);
        let writes = mem::take(&mut self.writes);
        // Later writes must not join this batch: it is under way.
        self.write_batch += 1;
        let calls = [
            (reads.0, Call::Read(reads.1)),
            (probes.0, Call::Exists(probes.1)),
            (writes.0, Call::Write(writes.1)),
        ];
        calls.into_iter().filter(|(ticket, _)| !ticket.members.is_empty())
    }

    /// Takes the answer to a call.
    ///
    /// # Panics
    /// If it has not one result per operation of the call: the backend broke its contract.
    pub fn complete(&mut self, ticket: Ticket, answer: Answer) {
        let Ticket { members, keys } = ticket;
        for key in &keys {
            self.release(key);
        }
        match answer {
            Answer::Values(values) => {
                assert_eq!(values.len(), keys.len(), "a backend gives one result per operation");
                self.answer(members, &values, values_reply);
            }
            Answer::Existed(existed) => {
                assert_eq!(existed.len(), keys.len(), "a backend gives one result per operation");
                self.answer(members, &existed, existed_reply);
            }
        }
    }

    /// The oldest request's reply, if it is ready.
    pub fn next_reply(&mut self) -> Option<Reply> {
        let reply = self.waiting.front_mut()?.reply.take()?;
        let answered = self.waiting.pop_front();
        self.waiting_bytes -= answered.map_or(0, |answered| answered.bytes);
        self.first_sequence += 1;
        Some(reply)
    }

    fn may_run(&self, plan: &Plan) -> bool {
        let readable = |key: &Bytes| matches!(self.in_use.get(key), None | Some((Access::Read, _)));
        let writable = |write: &Write| match self.in_use.get(write.key()) {
            None => true,
            Some((access, _)) => *access == Access::Write(self.write_batch),
        };
        match plan {
            Plan::Reply(_) | Plan::Close(_) => true,
            Plan::Get { key } => readable(key),
            Plan::Mget { keys } | Plan::Exists { keys } => keys.iter().all(readable),
            Plan::Set { write } => writable(write),
            Plan::Mset { writes } | Plan::Del { writes } => writes.iter().all(writable),
        }
    }

    fn gather_read(&mut self, member: Member, keys: Vec<Bytes>) {
        use_keys(&mut self.in_use, &mut self.reads.0, keys.iter(), Access::Read);
        self.reads.0.members.push(member);
        self.reads.1.extend(keys);
    }

    fn gather_probe(&mut self, member: Member, keys: Vec<Bytes>) {
        use_keys(&mut self.in_use, &mut self.probes.0, keys.iter(), Access::Read);
        self.probes.0.members.push(member);
        self.probes.1.extend(keys);
    }

    fn gather_write(&mut self, member: Member, writes: Vec<Write>) {
        let access = Access::Write(self.write_batch);
        use_keys(&mut self.in_use, &mut self.writes.0, writes.iter().map(Write::key), access);
        self.writes.0.members.push(member);
        self.writes.1.extend(writes);
    }

    fn release(&mut self, key: &Bytes) {
        let Some((_, count)) = self.in_use.get_mut(key) else {
            unreachable!("a key in flight is in use");
        };
        *count -= 1;
        if *count == 0 {
            self.in_use.remove(key);
        }
    }

    /// Deals the results out to the requests of the call, in order.
    fn answer<T>(&mut self, members: Vec<Member>, results: &[T], reply: impl Fn(Shape, &[T]) -> Reply) {
        let mut rest = results;
        for member in members {
            let place = member.sequence - self.first_sequence;
            let slot = usize::try_from(place).ok().and_then(|place| self.waiting.get_mut(place));
            let Some(slot) = slot else { unreachable!("an unanswered request waits in its place") };
            assert!(slot.reply.is_none(), "request {} is answered once", member.sequence);
            let own;
            (own, rest) = rest.split_at(member.operations);
            let reply = reply(member.shape, own);
            let bytes = reply::bytes(&reply);
            slot.bytes += bytes;
            self.waiting_bytes += bytes;
            slot.reply = Some(reply);
        }
        assert!(rest.is_empty(), "every operation belongs to a request");
    }
}

impl Member {
    fn new(sequence: u64, operations: usize, shape: Shape) -> Self {
        Self { sequence, operations, shape }
    }
}

fn use_keys<'a>(
    in_use: &mut HashMap<Bytes, (Access, usize)>,
    ticket: &mut Ticket,
    keys: impl Iterator<Item = &'a Bytes>,
    access: Access,
) {
    for key in keys {
        let entry = in_use.entry(key.clone()).or_insert((access, 0));
        assert_eq!(entry.0, access, "a key has readers, or the writers of one batch");
        entry.1 += 1;
        ticket.keys.push(key.clone());
    }
}

fn values_reply(shape: Shape, values: &[Result<Option<Bytes>, BackendError>]) -> Reply {
    if let Some(error) = values.iter().find_map(|value| value.as_ref().err()) {
        return reply::backend_error(error);
    }
    let bulk = |value: &Bytes| Reply::BulkString(value.clone());
    let mut found =
        values.iter().map(|value| value.as_ref().ok().and_then(Option::as_ref).map_or(Reply::Null, bulk));
    match shape {
        Shape::Value => found.next().unwrap_or(Reply::Null),
        Shape::Values => Reply::Array(found.collect()),
        Shape::Found | Shape::Removed | Shape::Ok => {
            unreachable!("{shape:?} is no reply to a read of values")
        }
    }
}

/// OK or a count. When some keys were done and others failed, that is said, because the error of one key alone
/// would read as if nothing had happened.
fn existed_reply(shape: Shape, existed: &[Result<bool, BackendError>]) -> Reply {
    let indeterminate = |error: &&BackendError| matches!(error, BackendError::Indeterminate);
    let errors = || existed.iter().filter_map(|existed| existed.as_ref().err());
    if let Some(error) = errors().find(indeterminate).or_else(|| errors().next()) {
        let done = existed.iter().filter(|existed| existed.is_ok()).count();
        if done == 0 || shape == Shape::Found {
            return reply::backend_error(error);
        }
        let keys = existed.len();
        return reply::error(&format!("INDETERMINATE {done} of {keys} keys were done, then: {error}"));
    }
    let found = existed.iter().filter(|existed| matches!(existed, Ok(true))).count();
    match shape {
        Shape::Ok => reply::ok(),
        Shape::Found | Shape::Removed => reply::integer(i64::try_from(found).unwrap_or(i64::MAX)),
        Shape::Value | Shape::Values => unreachable!("{shape:?} is no reply to a write"),
    }
}

#[cfg(test)]
mod tests;
