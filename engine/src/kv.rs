//! Key-value operations, routed by key.

mod batch;
mod plan;
mod write_each;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use quorate_shard::actor::ReadLevel;
use quorate_shard::catalog::{CATALOG_GROUP, Catalog};
use quorate_shard::router::{Limits, Router, Target};
use quorate_shard::rpc::{Call, Reply, Scan};
use quorate_storage::GroupId;
use quorate_storage::kv::{KeyValue, KvCommand, KvOutcome};
use quorate_telemetry::Clock;

pub use self::batch::{WriteBatch, Written};
use crate::error::{Error, Result};

/// Most bytes of one page of a scan.
const SCAN_PAGE_BYTES_MAX: usize = 1 << 20;

/// What to scan.
#[derive(Clone, Debug, Default)]
pub struct ScanOptions {
    /// First key.
    pub start: Bytes,
    /// First key behind the range; `None` for no end.
    pub end: Option<Bytes>,
    /// From the end towards the start.
    pub reverse: bool,
}

/// Routed key-value access.
#[derive(Clone, Debug)]
pub(crate) struct Kv {
    pub(crate) router: Router,
    pub(crate) clock: Arc<dyn Clock>,
    /// How long a call looks for a leader; `None`: until its own end.
    pub(crate) leader_wait: Option<Duration>,
}

impl Kv {
    async fn call(&self, target: Target, call: Call, timeout: Duration) -> quorate_shard::Result<Reply> {
        let limits = Limits { timeout, leaderless_max: self.leader_wait };
        self.router.call_within(target, call, limits).await
    }

    pub(crate) async fn get(&self, key: Bytes, level: ReadLevel, timeout: Duration) -> Result<Option<Bytes>> {
        let call = Call::Get { level, keys: vec![key.clone()] };
        match self.call(Target::Key(key), call, timeout).await? {
            Reply::Values(mut values) if values.len() == 1 => Ok(values.remove(0)),
            _ => Err(unexpected_reply()),
        }
    }

    /// The newest version of the catalog; `None` before the first.
    pub(crate) async fn catalog_version(&self, timeout: Duration) -> Result<Option<u64>> {
        let call = Call::Get { level: ReadLevel::Linearizable, keys: vec![Catalog::version_key()] };
        match self.call(Target::Group(CATALOG_GROUP), call, timeout).await? {
            Reply::Values(values) => match values.as_slice() {
                [Some(version)] => Ok(Some(Catalog::decode_version(version)?)),
                [None] => Ok(None),
                _ => Err(unexpected_reply()),
            },
            _ => Err(unexpected_reply()),
        }
    }

    /// One result for each key, in their order; groups are asked in parallel.
    pub(crate) async fn get_each(
        &self,
        keys: &[Bytes],
        level: ReadLevel,
        timeout: Duration,
    ) -> Vec<Result<Option<Bytes>>> {
        self.fan_out(keys.iter(), |places| async move {
            let wanted: Vec<Bytes> = places.iter().map(|&at| keys[at].clone()).collect();
            let target = Target::Keys(wanted.clone().into());
            match self.call(target, Call::Get { level, keys: wanted }, timeout).await? {
                Reply::Values(values) => Ok(values),
                _ => Err(unexpected_reply()),
            }
        })
        .await
    }

    pub(crate) async fn write(&self, batch: WriteBatch, timeout: Duration) -> Result<Written> {
        let keys: Arc<[Bytes]> = batch.keys().cloned().collect();
        let Some(first) = keys.first() else {
            let empty = quorate_storage::Error::Malformed { what: "empty batch" };
            return Err(quorate_shard::Error::Invalid(empty).into());
        };
        let group = self.router.group_of(first);
        if keys.iter().any(|key| self.router.group_of(key) != group) {
            return Err(Error::CrossesGroups);
        }
        self.command(Target::Keys(keys), &batch.command, timeout).await
    }

    /// Runs `part` once for each group with the positions of its keys, in parallel, and puts the results
    /// where the keys stand. One group's failure is the failure of its own keys only.
    async fn fan_out<'a, T, F>(
        &self,
        keys: impl Iterator<Item = &'a Bytes>,
        part: impl Fn(Vec<usize>) -> F,
    ) -> Vec<Result<T>>
    where
        F: Future<Output = Result<Vec<T>>>,
    {
        let (parts, count) = self.by_group(keys);
        let mut results: Vec<Result<T>> = (0..count).map(|_| Err(Error::NoRoute)).collect();
        let asked = parts.into_values().map(|places| {
            let answer = part(places.clone());
            async move { (places, answer.await) }
        });
        for (places, outcome) in join_all(asked).await {
            match outcome {
                Ok(values) if values.len() == places.len() => {
                    for (at, value) in places.into_iter().zip(values) {
                        results[at] = Ok(value);
                    }
                }
                Ok(_) => places.into_iter().for_each(|at| results[at] = Err(unexpected_reply())),
                Err(error) => places.into_iter().for_each(|at| results[at] = Err(error.clone())),
            }
        }
        results
    }

    pub(crate) async fn command(
        &self,
        target: Target,
        command: &KvCommand,
        timeout: Duration,
    ) -> Result<Written> {
        let body = command.encode().map_err(quorate_shard::Error::Invalid)?;
        match self.call(target, Call::Propose(body), timeout).await? {
            Reply::Applied { id, output } => {
                let outcome = KvOutcome::decode(&output).map_err(Error::UnreadableOutcome)?;
                Ok(Written { id, outcome })
            }
            _ => Err(unexpected_reply()),
        }
    }

    /// Up to `limit` pairs, group after group in key order. Each group's part is consistent in itself.
    pub(crate) async fn scan(
        &self,
        options: &ScanOptions,
        limit: usize,
        level: ReadLevel,
        timeout: Duration,
    ) -> Result<Vec<KeyValue>> {
        let catalog = self.router.catalog();
        let touched = catalog.route_range(&options.start, options.end.as_deref());
        let mut groups: Vec<_> = touched.map(|record| record.descriptor.clone()).collect();
        if options.reverse {
            groups.reverse();
        }
        let mut pairs = Vec::new();
        for descriptor in groups {
            let start = options.start.clone().max(descriptor.range.start.clone());
            let end = match (&options.end, &descriptor.range.end) {
                (Some(a), Some(b)) => Some(a.min(b).clone()),
                (a, b) => a.as_ref().or(b.as_ref()).cloned(),
            };
            let range = ScanOptions { start, end, reverse: options.reverse };
            self.scan_group(descriptor.group, range, limit, level, timeout, &mut pairs).await?;
            if pairs.len() >= limit {
                break;
            }
        }
        Ok(pairs)
    }

    #[expect(clippy::too_many_arguments, reason = "one page loop of scan, split out for length")]
    async fn scan_group(
        &self,
        group: GroupId,
        mut range: ScanOptions,
        limit: usize,
        level: ReadLevel,
        timeout: Duration,
        pairs: &mut Vec<KeyValue>,
    ) -> Result<()> {
        let mut is_bounded = false;
        while pairs.len() < limit {
            let scan = Scan {
                start: range.start.clone(),
                end: range.end.clone(),
                reverse: range.reverse,
                limit: limit - pairs.len(),
                bytes_max: SCAN_PAGE_BYTES_MAX,
            };
            let reply = self.call(Target::Group(group), Call::Scan { level, scan }, timeout).await?;
            let Reply::Pairs(page) = reply else { return Err(unexpected_reply()) };
            // However short a page is: the pair behind it may just have been too long for it. Only an empty one is
            // the end.
            let Some((last, _)) = page.last() else { return Ok(()) };
            if range.reverse {
                range.end = Some(last.clone());
            } else {
                range.start = successor(last);
            }
            pairs.extend(page);
            // What is there now has an end. Without it a writer that goes on behind the scan would keep it for ever.
            if !is_bounded && pairs.len() < limit {
                is_bounded = true;
                if !self.bound_scan(group, &mut range, level, timeout).await? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Cuts `range` behind the last pair that is in it now, as its direction goes. Whether there is one.
    async fn bound_scan(
        &self,
        group: GroupId,
        range: &mut ScanOptions,
        level: ReadLevel,
        timeout: Duration,
    ) -> Result<bool> {
        let scan = Scan {
            start: range.start.clone(),
            end: range.end.clone(),
            reverse: !range.reverse,
            limit: 1,
            bytes_max: SCAN_PAGE_BYTES_MAX,
        };
        let reply = self.call(Target::Group(group), Call::Scan { level, scan }, timeout).await?;
        let Reply::Pairs(page) = reply else { return Err(unexpected_reply()) };
        let Some((last, _)) = page.first() else { return Ok(false) };
        if range.reverse {
            range.start = last.clone();
        } else {
            range.end = Some(successor(last));
        }
        Ok(true)
    }

    /// Positions of `keys` by the group that serves them
    /// (those of keys nobody serves left out), and how many keys there are.
    fn by_group<'a>(&self, keys: impl Iterator<Item = &'a Bytes>) -> (BTreeMap<GroupId, Vec<usize>>, usize) {
        let catalog = self.router.catalog();
        let mut parts: BTreeMap<GroupId, Vec<usize>> = BTreeMap::new();
        let mut count = 0;
        for (at, key) in keys.enumerate() {
            count = at + 1;
            if let Some(record) = catalog.route(key) {
                parts.entry(record.descriptor.group).or_default().push(at);
            }
        }
        (parts, count)
    }
}

/// The first key behind `key`.
fn successor(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}

fn unexpected_reply() -> Error {
    Error::Storage(quorate_storage::Error::Malformed { what: "reply: another kind than was asked for" })
}
