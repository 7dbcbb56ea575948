//! Carries out a call on a replica of this node.

use std::time::Duration;

use bytes::Bytes;
use quorate_storage::kv::{KvRead, ScanRange};
use quorate_storage::state::StateReader;
use quorate_storage::{GroupDescriptor, KeyRange, RangeEpoch};

use super::{Call, Reply, Scan};
use crate::actor::{GroupHandle, ReadLevel};
use crate::catalog::CATALOG_GROUP;
use crate::error::{Error, LeaderHint, Result};

/// Most keys or pairs of one read.
pub const READ_ITEMS_MAX: usize = 65_536;

/// Most bytes of keys and values in one reply (at least one item always fits): it has to fit into a frame.
pub const READ_BYTES_MAX: usize = 12 << 20;

/// Carries out `call`, with what is left of the caller's deadline.
///
/// # Errors
/// As the group's handle says; [`Error::StaleRange`] for a read that was routed by an older range, or that asks
/// for keys outside of the group's; [`Error::Invalid`] for one that is over [`READ_ITEMS_MAX`] or
/// [`READ_BYTES_MAX`], or that this kind of state cannot answer.
pub async fn serve(handle: &GroupHandle, epoch: RangeEpoch, call: Call, deadline: Duration) -> Result<Reply> {
    match call {
        Call::Propose(body) => {
            let applied = handle.propose(body, epoch, deadline).await?;
            Ok(Reply::Applied { id: applied.id, output: applied.output })
        }
        Call::Get { level, keys } => {
            check_range(&handle.descriptor(), epoch, |range| keys.iter().all(|key| range.contains(key)))?;
            read(handle, epoch, level, deadline, move |state| get(state, &keys)).await
        }
        Call::Scan { level, scan } => {
            check_range(&handle.descriptor(), epoch, |range| is_within(&scan, range))?;
            read(handle, epoch, level, deadline, move |state| scan_pairs(state, &scan)).await
        }
        Call::Keys { level, scan } => {
            check_range(&handle.descriptor(), epoch, |range| is_within(&scan, range))?;
            read(handle, epoch, level, deadline, move |state| scan_keys(state, &scan)).await
        }
        Call::Count { level } => {
            let count = |state: &dyn StateReader| {
                key_value(state)?.counts().map(|counts| Reply::Count(counts.records)).map_err(failed)
            };
            read(handle, epoch, level, deadline, count).await
        }
        Call::Query { level, body } => {
            let query = move |state: &dyn StateReader| state.query(&body).map(Reply::Answer).map_err(failed);
            read(handle, epoch, level, deadline, query).await
        }
        Call::ChangeConf(change) => handle.change_conf(change, deadline).await.map(|_| Reply::Done),
        Call::CheckConsistency => handle.check_consistency(deadline).await.map(Reply::Consistency),
        Call::Transfer(to) => handle.transfer_leader(to, deadline).await.map(|()| Reply::Done),
        Call::Timestamp => handle.timestamp(deadline).await.map(Reply::Timestamp),
        Call::Observe(remote) => handle.observe(remote, deadline).await.map(|()| Reply::Done),
    }
}

async fn read(
    handle: &GroupHandle,
    epoch: RangeEpoch,
    level: ReadLevel,
    deadline: Duration,
    run: impl FnOnce(&dyn StateReader) -> Result<Reply> + Send + 'static,
) -> Result<Reply> {
    let outcome = handle.read_with(level, deadline, run).await?;
    if let Err(Error::Read(cause)) = &outcome
        && cause.is_store_failure()
    {
        handle.store_failed(cause.clone());
    }
    let reply = outcome?;
    // Checked after the read: the state that was read is not newer than the range looked at here.
    let status = handle.status();
    if status.descriptor.range_epoch < epoch {
        // This replica has not applied the change yet that the caller knows of: the leader has.
        let hint = status.role.leader.and_then(|leader| {
            let node = status.descriptor.replica(leader)?.node;
            Some(LeaderHint { replica: leader, node })
        });
        return Err(Error::NotLeader { group: status.group, hint });
    }
    check_range(&status.descriptor, epoch, |_| true)?;
    Ok(reply)
}

/// Refuses what was routed by an older range, and keys that the group does not serve: an empty answer would
/// say that they do not exist. A range that is not applied here yet is checked after the read.
fn check_range(
    descriptor: &GroupDescriptor,
    epoch: RangeEpoch,
    is_inside: impl FnOnce(&KeyRange) -> bool,
) -> Result<()> {
    // Group 0 serves no user key: its own are outside of every range.
    let is_exempt = descriptor.group == CATALOG_GROUP || descriptor.range_epoch < epoch;
    if descriptor.range_epoch <= epoch && (is_exempt || is_inside(&descriptor.range)) {
        return Ok(());
    }
    Err(Error::StaleRange { newer: Box::new(descriptor.clone()) })
}

fn is_within(scan: &Scan, range: &KeyRange) -> bool {
    let is_empty = scan.end.as_ref().is_some_and(|end| *end <= scan.start);
    let ends_within = match (&scan.end, &range.end) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(end), Some(range_end)) => end <= range_end,
    };
    is_empty || scan.start >= range.start && ends_within
}

fn get(state: &dyn StateReader, keys: &[Bytes]) -> Result<Reply> {
    let kv = key_value(state)?;
    check_size("keys of a read", keys.len(), READ_ITEMS_MAX)?;
    let mut values = Vec::with_capacity(keys.len());
    let mut bytes = 0;
    for key in keys {
        let value = kv.get(key).map_err(failed)?;
        bytes += value.as_ref().map_or(0, Bytes::len);
        if !values.is_empty() {
            check_size("values of a read", bytes, READ_BYTES_MAX)?;
        }
        values.push(value);
    }
    Ok(Reply::Values(values))
}

fn scan_pairs(state: &dyn StateReader, scan: &Scan) -> Result<Reply> {
    let range = ScanRange { start: &scan.start, end: scan.end.as_deref(), reverse: scan.reverse };
    let (limit, bytes_max) = (scan.limit.min(READ_ITEMS_MAX), scan.bytes_max.min(READ_BYTES_MAX));
    key_value(state)?.scan(range, limit, bytes_max).map(Reply::Pairs).map_err(failed)
}

fn scan_keys(state: &dyn StateReader, scan: &Scan) -> Result<Reply> {
    let range = ScanRange { start: &scan.start, end: scan.end.as_deref(), reverse: false };
    let (limit, bytes_max) = (scan.limit.min(READ_ITEMS_MAX), scan.bytes_max.min(READ_BYTES_MAX));
    key_value(state)?.keys(range, limit, bytes_max).map(Reply::Keys).map_err(failed)
}

fn key_value(state: &dyn StateReader) -> Result<&dyn KvRead> {
    const KEYLESS: Error =
        Error::Invalid(quorate_storage::Error::Malformed { what: "request: the state machine has no keys" });
    state.as_kv().ok_or(KEYLESS)
}

fn check_size(what: &'static str, size: usize, size_max: usize) -> Result<()> {
    if size > size_max {
        let (bytes, bytes_max) = (size as u64, size_max as u64);
        return Err(Error::Invalid(quorate_storage::Error::TooLarge { what, bytes, bytes_max }));
    }
    Ok(())
}

/// Every replica refuses a malformed question alike; anything else is this replica's own trouble.
fn failed(error: quorate_storage::Error) -> Error {
    match error {
        quorate_storage::Error::Malformed { .. } | quorate_storage::Error::TooLarge { .. } => {
            Error::Invalid(error)
        }
        error => Error::Read(error),
    }
}
