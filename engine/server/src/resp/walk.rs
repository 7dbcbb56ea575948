//! Requests about many keys that are not named: `DBSIZE`, `SCAN`, and the keys of a slot.
//!
//! Keys are walked in pages, so that neither their number nor their size decides what a walk holds.

mod positions;
mod scan;

use bytes::Bytes;

use super::arguments;
use super::reply::{self, Reply};
use super::server::Frontend;
use crate::backend::{Access, BackendError};
use crate::key::{self, SLOTS};

pub(super) use positions::Positions;
pub(super) use scan::Scan;

/// Most keys of a page.
const PAGE_KEYS_MAX: usize = 256;

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Walk {
    /// `DBSIZE`.
    Count,
    /// `CLUSTER COUNTKEYSINSLOT`.
    CountOfSlot(u16),
    /// `CLUSTER GETKEYSINSLOT`.
    KeysOfSlot {
        slot: u16,
        keys_max: usize,
    },
    Scan(Scan),
}

/// Carries out `walk`.
pub(super) async fn run(walk: Walk, frontend: &Frontend, access: Access) -> Reply {
    let result = match walk {
        Walk::Count => frontend
            .backend
            .key_count(access)
            .await
            .map(|count| Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX))),
        Walk::CountOfSlot(slot) => count_of_slot(slot, frontend, access).await,
        Walk::KeysOfSlot { slot, keys_max } => keys_of_slot(slot, keys_max, frontend, access).await,
        Walk::Scan(scan) => scan::run(scan, frontend, access).await,
    };
    result.unwrap_or_else(|error| reply::backend_error(&error))
}

async fn count_of_slot(slot: u16, frontend: &Frontend, access: Access) -> Result<Reply, BackendError> {
    let mut count = 0;
    let mut from = Some(key::slot_start(slot));
    while let Some(start) = from {
        let page = frontend.backend.keys(start, key::slot_start(slot + 1), PAGE_KEYS_MAX, access).await?;
        count += page.keys.len();
        from = page.next;
    }
    Ok(reply::count(count))
}

async fn keys_of_slot(
    slot: u16,
    keys_max: usize,
    frontend: &Frontend,
    access: Access,
) -> Result<Reply, BackendError> {
    let bytes_max = frontend.limits.read_batch_bytes_max;
    let mut keys = Vec::new();
    let mut bytes = 0;
    let mut from = Some(key::slot_start(slot));
    while let Some(start) = from
        && keys.len() < keys_max
    {
        let limit = PAGE_KEYS_MAX.min(keys_max - keys.len());
        let page = frontend.backend.keys(start, key::slot_start(slot + 1), limit, access).await?;
        bytes += page.keys.iter().map(Bytes::len).sum::<usize>();
        if bytes > bytes_max {
            return Err(BackendError::ReplyTooLarge { bytes_max });
        }
        keys.extend(page.keys.iter().map(|key| Reply::Bulk(key::client_key(key))));
        from = page.next;
    }
    Ok(Reply::Array(keys))
}

/// The slot named in a request.
///
/// # Errors
/// The reply that says what is wrong with it.
pub(super) fn parse_slot(text: &[u8]) -> Result<u16, Reply> {
    let number = arguments::integer(text)?;
    let slot = u16::try_from(number).ok().filter(|&slot| slot < SLOTS);
    slot.ok_or_else(|| reply::error("ERR Invalid slot"))
}
