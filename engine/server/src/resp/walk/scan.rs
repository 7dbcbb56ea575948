//! `SCAN`: walks all keys, a few with each request, by a cursor that the client carries from one to the next.
//!
//! Keys are walked in the order of the engine: by slot, then by key. What `SCAN` promises is that a key which is there
//! from the first request to the last is returned at least once; it may be returned twice. A cursor below [`SLOTS`]
//! means "from the beginning of this slot": it needs no memory of the server, so it holds after a restart and on
//! every node. Only a slot that is too full for one request is left in its middle; then the cursor is the slot and the
//! id of a place in a table of this listener, see [`Positions`]. A cursor whose id is not in the table (because the
//! place was pushed out, or is another listener's, or from before a restart) goes on at the beginning of its slot:
//! everything before that slot has been returned, everything from there on is returned now, some of it again. So
//! nothing is ever left out.

use bytes::Bytes;

use super::super::arguments;
use super::super::glob::Glob;
use super::super::reply::{self, Reply};
use super::super::server::Frontend;
use super::{PAGE_KEYS_MAX, Positions};
use crate::backend::{Access, BackendError};
use crate::key::{self, SLOTS};

/// How many keys are looked at if the request does not say.
const COUNT_DEFAULT: usize = 10;

/// So many keys more are looked at to get to the end of a slot, where a cursor needs no memory.
const SLOT_REST_MAX: usize = 64;

/// A request looks at so many bytes of keys and no more pages than this, whatever it asks for.
const KEY_BYTES_MAX: usize = 1024 * 1024;
const PAGES_MAX: usize = 16;

/// Bits of the slot in a cursor.
const SLOT_BITS: u32 = SLOTS.ilog2();

const _: () = assert!(1 << SLOT_BITS == SLOTS);

/// After so many steps of matching others get their turn.
const MATCH_STEPS_MAX: usize = 1024 * 1024;

/// The arguments of `SCAN`.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::resp) struct Scan {
    cursor: u64,
    /// How many keys are looked at, about.
    count: usize,
    pattern: Option<Glob>,
    /// Whether keys of the type asked for can exist.
    has_type: bool,
}

impl Scan {
    /// Reads `cursor [MATCH pattern] [COUNT count] [TYPE type]`.
    ///
    /// # Errors
    /// The reply that says what is wrong.
    pub(in crate::resp) fn parse(args: &[Bytes]) -> Result<Self, Reply> {
        let Some((cursor, options)) = args.split_first() else { return Err(reply::wrong_arity("scan")) };
        let cursor = std::str::from_utf8(cursor).ok().and_then(|cursor| cursor.parse().ok());
        let cursor = cursor.ok_or_else(|| reply::error("ERR invalid cursor"))?;
        let mut scan = Self { cursor, count: COUNT_DEFAULT, pattern: None, has_type: true };
        for option in options.chunks(2) {
            let [name, value] = option else { return Err(reply::syntax_error()) };
            match name.to_ascii_lowercase().as_slice() {
                b"match" => {
                    let pattern = Glob::new(value).map_err(|error| reply::error(&format!("ERR {error}")))?;
                    scan.pattern = Some(pattern);
                }
                b"count" => {
                    let count = usize::try_from(arguments::integer(value)?).unwrap_or(0);
                    if count == 0 {
                        return Err(reply::syntax_error());
                    }
                    scan.count = count.min(PAGE_KEYS_MAX * PAGES_MAX);
                }
                b"type" => scan.has_type = value.eq_ignore_ascii_case(b"string"),
                _ => return Err(reply::syntax_error()),
            }
        }
        Ok(scan)
    }
}

pub(super) async fn run(scan: Scan, frontend: &Frontend, access: Access) -> Result<Reply, BackendError> {
    let start = place_of(scan.cursor, &frontend.positions);
    let (mut keys, next) = gather(&start, scan.count, frontend, access).await?;
    // The cursor is stateless at the beginning of a slot: what was read beyond the first one is given up.
    let begins_slot = |at: &usize| key::slot_of(&keys[*at]) != key::slot_of(&keys[*at - 1]);
    let cut = (scan.count..keys.len()).find(begins_slot);
    let cursor = if let Some(at) = cut {
        u64::from(key::slot_of(&keys[at]))
    } else {
        let last = key::slot_of(keys.last().unwrap_or(&start));
        next.map_or(0, |next| cursor_of(last, &next, &frontend.positions))
    };
    keys.truncate(cut.unwrap_or(keys.len()));
    let found = filter(keys, &scan).await;
    Ok(Reply::Array(vec![reply::text(cursor.to_string()), Reply::Array(found)]))
}

/// The first key to look at.
fn place_of(cursor: u64, positions: &Positions) -> Bytes {
    let slot = u16::try_from(cursor % u64::from(SLOTS)).unwrap_or(0);
    let id = cursor >> SLOT_BITS;
    let place = if id == 0 { None } else { positions.get(id) };
    place.filter(|place| key::slot_of(place) == slot).unwrap_or_else(|| key::slot_start(slot))
}

/// The cursor that goes on at `next`, when everything of `last`, the slot that was looked at last, and before has been
/// returned up to there.
fn cursor_of(last: u16, next: &Bytes, positions: &Positions) -> u64 {
    let slot = key::slot_of(next);
    if slot >= SLOTS {
        return 0;
    }
    if slot > last {
        return u64::from(slot);
    }
    positions.put(next) << SLOT_BITS | u64::from(slot)
}

/// Keys from `start`: at least `count` of them unless they are too many bytes or too far apart, and perhaps some more;
/// and where the rest begins.
async fn gather(
    start: &Bytes,
    count: usize,
    frontend: &Frontend,
    access: Access,
) -> Result<(Vec<Bytes>, Option<Bytes>), BackendError> {
    let mut keys: Vec<Bytes> = Vec::new();
    let mut key_bytes = 0;
    let mut from = start.clone();
    for _ in 0..PAGES_MAX {
        let limit = PAGE_KEYS_MAX.min(count - keys.len() + SLOT_REST_MAX);
        let page = frontend.backend.keys(from, key::slot_start(SLOTS), limit, access).await?;
        key_bytes += page.keys.iter().map(Bytes::len).sum::<usize>();
        keys.extend(page.keys);
        match page.next {
            Some(next) if keys.len() < count && key_bytes < KEY_BYTES_MAX => from = next,
            next => return Ok((keys, next)),
        }
    }
    Ok((keys, Some(from)))
}

async fn filter(keys: Vec<Bytes>, scan: &Scan) -> Vec<Reply> {
    if !scan.has_type {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut steps = 0;
    for key in keys {
        let key = key::client_key(&key);
        if let Some(pattern) = &scan.pattern {
            steps += pattern.steps_max(key.len());
            if steps > MATCH_STEPS_MAX {
                steps = 0;
                tokio::task::yield_now().await;
            }
            if !pattern.matches(&key) {
                continue;
            }
        }
        found.push(Reply::Bulk(key));
    }
    found
}
