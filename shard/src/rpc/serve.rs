//! Carries out a call on a replica of this node.

use std::time::Duration;

use quorate_storage::RangeEpoch;
use quorate_storage::kv::{KvRead, ScanRange};
use quorate_storage::state::StateReader;

use super::{Call, Reply, Scan};
use crate::actor::{GroupHandle, ReadLevel};
use crate::error::{Error, Result};

/// Most keys or pairs of one read.
pub const READ_ITEMS_MAX: usize = 65_536;

/// Carries out `call`, with what is left of the caller's deadline.
///
/// # Errors
/// As the group's handle says; [`Error::StaleRange`] for a read that was routed by an older range.
pub async fn serve(handle: &GroupHandle, epoch: RangeEpoch, call: Call, deadline: Duration) -> Result<Reply> {
    match call {
        Call::Propose(body) => {
            let applied = handle.propose(body, epoch, deadline).await?;
            Ok(Reply::Applied { id: applied.id, output: applied.output })
        }
        Call::Get { level, keys } => {
            read(handle, epoch, level, deadline, move |state| get(state, &keys)).await
        }
        Call::Scan { level, scan } => {
            read(handle, epoch, level, deadline, move |state| scan_pairs(state, &scan)).await
        }
        Call::Query { level, body } => {
            read(handle, epoch, level, deadline, move |state| state.query(&body).map(Reply::Answer)).await
        }
        Call::ChangeConf(change) => handle.change_conf(change, deadline).await.map(|_| Reply::Done),
        Call::Transfer(to) => handle.transfer_leader(to, deadline).await.map(|()| Reply::Done),
    }
}

async fn read(
    handle: &GroupHandle,
    epoch: RangeEpoch,
    level: ReadLevel,
    deadline: Duration,
    run: impl FnOnce(&dyn StateReader) -> quorate_storage::Result<Reply> + Send + 'static,
) -> Result<Reply> {
    let reply = handle.read_with(level, deadline, run).await?.map_err(Error::Read)?;
    // Checked after the read: the range that was in force when the state was read is at most this old.
    let descriptor = handle.descriptor();
    if descriptor.range_epoch == epoch {
        Ok(reply)
    } else {
        Err(Error::StaleRange { newer: Box::new(descriptor.as_ref().clone()) })
    }
}

fn get(state: &dyn StateReader, keys: &[bytes::Bytes]) -> quorate_storage::Result<Reply> {
    let kv = key_value(state)?;
    check_items(keys.len())?;
    keys.iter().map(|key| kv.get(key)).collect::<Result<_, _>>().map(Reply::Values)
}

fn scan_pairs(state: &dyn StateReader, scan: &Scan) -> quorate_storage::Result<Reply> {
    let range = ScanRange { start: &scan.start, end: scan.end.as_deref(), reverse: scan.reverse };
    let limit = scan.limit.min(READ_ITEMS_MAX);
    key_value(state)?.scan(range, limit, scan.bytes_max).map(Reply::Pairs)
}

fn key_value(state: &dyn StateReader) -> quorate_storage::Result<&dyn KvRead> {
    state.as_kv().ok_or(quorate_storage::Error::Malformed { what: "request: the state machine has no keys" })
}

fn check_items(items: usize) -> quorate_storage::Result<()> {
    if items > READ_ITEMS_MAX {
        return Err(quorate_storage::Error::TooLarge {
            what: "read",
            bytes: items as u64,
            bytes_max: READ_ITEMS_MAX as u64,
        });
    }
    Ok(())
}
