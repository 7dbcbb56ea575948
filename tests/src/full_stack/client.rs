//! Clients: each asks its node for one thing after the other, until all of them together have asked for enough.

use std::time::Duration;

use bytes::Bytes;
use quorate::{GroupId, Node, ReadLevel, WriteBatch};
use quorate_telemetry::Rng;

use super::world::{Shared, Timestamps, dice, now};
use crate::checker::{Action, Before, ClientId, Guard, History, Reply, Value};

/// Clients of one node.
const PER_NODE: u64 = 4;
/// Keys of one group. Few, so that clients meet.
const KEYS: u64 = 3;
/// One operation in so many asks for a timestamp instead.
const TIMESTAMP_EVERY: u64 = 12;

/// What all clients share.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) history: History,
    pub(super) timestamps: Timestamps,
    /// Operations that nobody has begun yet.
    pub(super) left: u64,
    /// Operations that somebody waits for.
    pub(super) under_way: u64,
    pub(super) acknowledged: u64,
    /// Longest pause between two operations of a client.
    pub(super) pause_max: Duration,
    seed: u64,
    groups: u16,
    next_value: u64,
    next_client: u32,
}

impl Clients {
    pub(super) fn new(seed: u64, groups: u16, operations: u64, pause_max: Duration) -> Self {
        Self {
            history: History::default(),
            timestamps: Timestamps::default(),
            left: operations,
            under_way: 0,
            acknowledged: 0,
            pause_max,
            seed,
            groups,
            next_value: 0,
            next_client: 0,
        }
    }

    pub(super) fn are_done(&self) -> bool {
        self.left == 0 && self.under_way == 0
    }

    fn client(&mut self) -> ClientId {
        self.next_client += 1;
        ClientId(self.next_client)
    }

    fn value(&mut self) -> Value {
        self.next_value += 1;
        Value::from(format!("v{}", self.next_value))
    }
}

/// The name of a key in a history, and its bytes: the first decides the group.
fn key(group: u64, number: u64, groups: u16) -> (String, Bytes) {
    let first = u8::try_from(group * 256 / u64::from(groups)).expect("a group is one of them");
    (format!("{group}/{number}"), [&[first][..], number.to_string().as_bytes()].concat().into())
}

/// All keys.
fn keys(groups: u16) -> impl Iterator<Item = (String, Bytes)> {
    (0..u64::from(groups)).flat_map(move |group| (0..KEYS).map(move |number| key(group, number, groups)))
}

/// Starts the clients of a node that has started.
pub(super) fn spawn_all(at: usize, start: u64, node: &Node, shared: &Shared) {
    for number in 0..PER_NODE {
        let (node, shared) = (node.clone(), shared.clone());
        let label = (at as u64) << 40 | start << 8 | number;
        tokio::spawn(async move { work(&node, &shared, label).await });
    }
}

/// One client's life.
async fn work(node: &Node, shared: &Shared, label: u64) {
    let (rng, client) = {
        let clients = &mut shared.lock().clients;
        (dice(clients.seed, label), clients.client())
    };
    // What it saw last of a key: what it compares with.
    let mut seen: Option<(String, Option<Value>)> = None;
    loop {
        let pause_max = {
            let clients = &mut shared.lock().clients;
            if clients.left == 0 {
                return;
            }
            clients.left -= 1;
            clients.pause_max
        };
        let under_way = UnderWay::begin(shared);
        if rng.below(TIMESTAMP_EVERY) == 0 {
            ask_for_timestamp(node, shared, &rng).await;
        } else {
            operate(node, (shared, client), &rng, &mut seen).await;
        }
        drop(under_way);
        let pause_us = u64::try_from(pause_max.as_micros()).unwrap_or(u64::MAX).max(1);
        // Mostly hurried, sometimes slow: both bursts and calm.
        let pause_us = if rng.below(3) == 0 { rng.below(pause_us) } else { rng.below(pause_us / 50 + 1) };
        tokio::time::sleep(Duration::from_micros(pause_us)).await;
    }
}

/// Counts an operation until it ends, or its client does.
struct UnderWay(Shared);

impl UnderWay {
    fn begin(shared: &Shared) -> Self {
        shared.lock().clients.under_way += 1;
        Self(shared.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().clients.under_way -= 1;
    }
}

async fn ask_for_timestamp(node: &Node, shared: &Shared, rng: &dyn Rng) {
    let groups = shared.lock().clients.groups;
    let group = GroupId(1 + rng.below(u64::from(groups)));
    let before = shared.lock().clients.timestamps.largest(group);
    // A refusal has no effect.
    let Ok(given) = node.group(group).timestamp().await else { return };
    let world = &mut *shared.lock();
    if let Err(violation) = world.clients.timestamps.note(group, before, given) {
        world.violations.push(violation);
    }
}

async fn operate(
    node: &Node,
    (shared, client): (&Shared, ClientId),
    rng: &dyn Rng,
    seen: &mut Option<(String, Option<Value>)>,
) {
    let (op, name, bytes, action) = {
        let clients = &mut shared.lock().clients;
        let group = rng.below(u64::from(clients.groups));
        let (name, bytes) = key(group, rng.below(KEYS), clients.groups);
        let expected = seen.as_ref().filter(|(key, _)| *key == name).map(|(_, value)| value.clone());
        let action = match (rng.below(10), expected) {
            (0..4, _) => Action::Get,
            (4, _) => Action::delete(),
            (5 | 6, Some(expected)) => Action::compare_and_set(expected, Some(clients.value())),
            _ => Action::put(clients.value()),
        };
        let op = clients.history.invoke(now(), client, name.as_str(), action.clone());
        (op, name, bytes, action)
    };
    let outcome = call(node, bytes, &action).await;
    let world = &mut *shared.lock();
    match outcome {
        Ok(reply) => {
            *seen = match (reply.before(), &action) {
                (Before::Was(value), Action::Get) => Some((name, value.clone())),
                (_, Action::Change { to, .. }) if matches!(reply, Reply::Applied(_)) => {
                    Some((name, to.clone()))
                }
                _ => None,
            };
            world.clients.acknowledged += 1;
            world.clients.history.reply(now(), op, reply);
        }
        Err(error) if error.is_maybe_committed() && action != Action::Get => {
            world.clients.history.lose(now(), op);
        }
        Err(error) => {
            if !error.is_retryable() && !error.is_maybe_committed() {
                world.violations.push(format!("a correct operation ended as {error} ({error:?})"));
            }
            world.clients.history.fail(now(), op);
        }
    }
}

async fn call(node: &Node, key: Bytes, action: &Action) -> Result<Reply, quorate::Error> {
    let bytes = |value: &Value| Bytes::copy_from_slice(value.as_str().as_bytes());
    let Action::Change { only_if, to } = action else {
        let found = node.get(key, ReadLevel::Linearizable).await?;
        return Ok(Reply::found(found.map(|value| text(&value))));
    };
    let batch = match only_if {
        Guard::Is(expected) => WriteBatch::new().only_if(key.clone(), expected.as_ref().map(bytes)),
        Guard::Always | Guard::Present => WriteBatch::new(),
    };
    let batch = match to {
        Some(value) => batch.put(key, bytes(value)),
        None => batch.delete(key),
    };
    let written = node.write(batch).await?;
    Ok(if written.is_applied() { Reply::done() } else { Reply::refused() })
}

fn text(value: &Bytes) -> Value {
    Value::from(String::from_utf8_lossy(value).into_owned())
}

/// Reads every key through `node`, into the history.
///
/// # Errors
/// The first read that fails.
pub(super) async fn read_all(node: &Node, shared: &Shared) -> Result<(), quorate::Error> {
    let (client, groups) = {
        let clients = &mut shared.lock().clients;
        (clients.client(), clients.groups)
    };
    for (name, bytes) in keys(groups) {
        let op = shared.lock().clients.history.invoke(now(), client, name, Action::Get);
        let reply = call(node, bytes, &Action::Get).await?;
        shared.lock().clients.history.reply(now(), op, reply);
    }
    Ok(())
}
