//! Commands on keys: from arguments to what has to be read or written.

use bytes::Bytes;

use super::arguments::{integer, key, keys, put, value};
use super::command::Keys;
use super::pipeline::{LengthShape, Plan, ValueShape, WriteShape};
use super::reply::{self, Reply};
use super::walk::{Scan, Walk};
use crate::backend::{Routing, When, Write};
use crate::key;

/// What `command` asks for. `args` are as many as it takes.
///
/// # Errors
/// The reply to send instead.
pub(super) fn plan(command: Keys, args: &[Bytes], routing: Routing) -> Result<Plan, Reply> {
    let plan = match command {
        Keys::Get => Plan::Read { keys: vec![key(&args[0])?], shape: ValueShape::One },
        Keys::Mget => Plan::Read { keys: keys(args)?, shape: ValueShape::All },
        Keys::Exists => Plan::Measure { keys: keys(args)?, shape: LengthShape::Found },
        Keys::Strlen => Plan::Measure { keys: vec![key(&args[0])?], shape: LengthShape::Length },
        Keys::Type => Plan::Measure { keys: vec![key(&args[0])?], shape: LengthShape::Kind },
        Keys::Dbsize => Plan::Walk(Walk::Count),
        Keys::Scan => Plan::Walk(Walk::Scan(Scan::parse(args)?)),
        Keys::Set => set(args)?,
        Keys::Mset => mset(args)?,
        Keys::Setnx => conditional(&args[0], &args[1], When::Absent, WriteShape::OneIfMet)?,
        Keys::Getset => conditional(&args[0], &args[1], When::Always, WriteShape::Previous)?,
        Keys::Getdel => one(Write::Take { key: key(&args[0])? }, WriteShape::Previous),
        Keys::Del => {
            let writes = keys(args)?.into_iter().map(|key| Write::Delete { key }).collect();
            Plan::Write { writes, shape: WriteShape::Removed }
        }
        Keys::Append => {
            let suffix = value(&args[1])?;
            one(Write::Append { key: key(&args[0])?, suffix }, WriteShape::Number)
        }
        Keys::Incr => add(&args[0], 1)?,
        Keys::Decr => add(&args[0], -1)?,
        Keys::Incrby => add(&args[0], integer(&args[1])?)?,
        Keys::Decrby => {
            let negated = integer(&args[1])?.checked_neg();
            add(&args[0], negated.ok_or_else(|| reply::error("ERR decrement would overflow"))?)?
        }
    };
    if routing == Routing::Cluster && !is_one_slot(&plan) {
        return Err(reply::error("CROSSSLOT Keys in request don't hash to the same slot"));
    }
    Ok(plan)
}

/// `SET key value [NX | XX] [GET] [KEEPTTL]`. No key ever expires, so `KEEPTTL` asks for nothing.
fn set(args: &[Bytes]) -> Result<Plan, Reply> {
    let (mut when, mut returns_previous) = (When::Always, false);
    for option in &args[2..] {
        match option.to_ascii_lowercase().as_slice() {
            b"nx" if when != When::Present => when = When::Absent,
            b"xx" if when != When::Absent => when = When::Present,
            b"get" => returns_previous = true,
            b"keepttl" => {}
            b"ex" | b"px" | b"exat" | b"pxat" => {
                return Err(reply::error("ERR keys cannot expire: EX, PX, EXAT and PXAT are not supported"));
            }
            _ => return Err(reply::syntax_error()),
        }
    }
    match (when, returns_previous) {
        (When::Always, false) => Ok(one(put(&args[0], &args[1])?, WriteShape::Ok)),
        (_, false) => conditional(&args[0], &args[1], when, WriteShape::OkIfMet),
        (_, true) => conditional(&args[0], &args[1], when, WriteShape::Previous),
    }
}

fn mset(args: &[Bytes]) -> Result<Plan, Reply> {
    if !args.len().is_multiple_of(2) {
        return Err(reply::wrong_arity("mset"));
    }
    let writes = args.chunks_exact(2).map(|pair| put(&pair[0], &pair[1])).collect::<Result<_, _>>()?;
    Ok(Plan::Write { writes, shape: WriteShape::Ok })
}

fn conditional(name: &[u8], new: &Bytes, when: When, shape: WriteShape) -> Result<Plan, Reply> {
    let returns_previous = shape == WriteShape::Previous;
    Ok(one(Write::Set { value: value(new)?, key: key(name)?, when, returns_previous }, shape))
}

fn add(name: &[u8], delta: i64) -> Result<Plan, Reply> {
    Ok(one(Write::Add { key: key(name)?, delta }, WriteShape::Number))
}

fn one(write: Write, shape: WriteShape) -> Plan {
    Plan::Write { writes: vec![write], shape }
}

/// Whether all keys that are named are in one slot, as nodes of a Redis Cluster demand.
fn is_one_slot(plan: &Plan) -> bool {
    match plan {
        Plan::Read { keys, .. } | Plan::Measure { keys, .. } => {
            is_same(keys.iter().map(|key| key::slot_of(key)))
        }
        Plan::Write { writes, .. } => is_same(writes.iter().map(|write| key::slot_of(write.key()))),
        Plan::Reply(_) | Plan::Close(_) | Plan::Walk(_) => true,
    }
}

fn is_same(mut slots: impl Iterator<Item = u16>) -> bool {
    let first = slots.next();
    slots.all(|slot| Some(slot) == first)
}
