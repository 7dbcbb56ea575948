//! A node's part in a backup; and the whole of it, where a node leads every group.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quorate_shard::actor::ReadLevel;
use quorate_shard::catalog::CATALOG_GROUP;
use quorate_storage::backup::Manifest;
use quorate_storage::snapshot::SnapshotToken;
use quorate_storage::{EntryId, GroupId, GroupUid};

use super::{BackupRun, SnapshotBody};
use crate::error::{Error, Result};
use crate::node::open::blocking;
use crate::node::{Core, Node};

/// How often a snapshot that was pruned before it was opened is published anew.
const ATTEMPTS_MAX: usize = 3;

/// A snapshot that was just published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshSnapshot {
    /// Whose.
    pub uid: GroupUid,
    /// Where it stands, and what file it is.
    pub token: SnapshotToken,
}

/// How far a backup is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupProgress {
    /// Groups that are there.
    pub groups: usize,
    /// Groups there will be; 1 as long as the catalog is not there.
    pub groups_total: usize,
    /// Bytes that have arrived.
    pub bytes: u64,
}

impl Node {
    /// Publishes a snapshot of `group`, which this node must lead. On `Ok` it is durable, and holds everything that was
    /// acknowledged before the call. Takes as long as the state takes to be written, `timeout` at most; what was begun
    /// goes on when the time is over.
    ///
    /// # Errors
    /// [`quorate_shard::Error::NoSuchGroup`] if there is no replica here; [`quorate_shard::Error::NotLeader`];
    /// [`quorate_shard::Error::DeadlineExceeded`]; those of a read, and [`quorate_shard::Error::Read`] if it could not be
    /// written.
    pub async fn fresh_snapshot(&self, group: GroupId, timeout: Duration) -> Result<FreshSnapshot> {
        self.core.check_running()?;
        let deadline = self.core.deadline(timeout);
        let missing = quorate_shard::Error::NoSuchGroup { group };
        let handle = self.core.registry.get(group).ok_or(missing)?;
        // What is applied here from now on is all that was acknowledged.
        drop(handle.read(ReadLevel::Linearizable, self.core.config.deadline.min(timeout)).await?);
        let token = handle.publish_snapshot(self.core.left(deadline)?).await?;
        Ok(FreshSnapshot { uid: handle.descriptor().uid, token })
    }

    /// The bytes of this node's snapshot of `group` at `id`, from `offset` on.
    ///
    /// # Errors
    /// [`quorate_storage::Error::Missing`] if it is not there (any more): the newest two stay.
    pub async fn snapshot_body(&self, group: GroupId, id: EntryId, offset: u64) -> Result<SnapshotBody> {
        self.core.check_running()?;
        SnapshotBody::open(Arc::clone(&self.core), group, id, offset).await
    }

    /// Takes a backup of the cluster to the new directory `dir`, while writes go on. This node must lead every group, as a
    /// node that is alone does. See [`crate::backup`] for what it is consistent in. `timeout` is for one group's snapshot
    /// to be published.
    ///
    /// # Errors
    /// [`Error::Backup`] naming the group that could not be had; [`quorate_storage::Error::Occupied`] if `dir` is there.
    /// Nothing is at `dir` then.
    pub async fn backup(
        &self,
        dir: impl Into<PathBuf>,
        timeout: Duration,
        mut progress: impl FnMut(&BackupProgress) + Send,
    ) -> Result<Manifest> {
        let core = &self.core;
        let (disk, dir) = (Arc::clone(&core.seams.disk), dir.into());
        let cluster = (self.cluster(), self.cluster_name().map(str::to_owned));
        let now_ms = wall_ms(core);
        let create = move || BackupRun::create(disk, &dir, cluster, now_ms);
        let mut run = blocking(core, CATALOG_GROUP, create).await??;
        let mut bytes = 0;
        let mut tell = |more, (groups, groups_total)| {
            bytes += more;
            progress(&BackupProgress { groups, groups_total, bytes });
        };
        while let Some(group) = run.next_group() {
            let mut attempts = 0;
            run = loop {
                attempts += 1;
                let (back, outcome) = self.fetch(run, group, timeout, &mut tell).await?;
                run = back;
                match outcome {
                    Ok(()) => break run,
                    Err(Error::Storage(quorate_storage::Error::Missing { .. }))
                        if attempts < ATTEMPTS_MAX => {}
                    Err(cause) => return Err(Error::Backup { group, cause: Box::new(cause) }),
                }
            };
        }
        let now_ms = wall_ms(core);
        blocking(core, CATALOG_GROUP, move || run.finish(now_ms)).await?
    }

    /// One attempt to get one group's snapshot. The run comes back, unless the node is stopped.
    async fn fetch(
        &self,
        run: BackupRun,
        group: GroupId,
        timeout: Duration,
        progress: &mut (dyn FnMut(u64, (usize, usize)) + Send),
    ) -> Result<(BackupRun, Result<()>)> {
        let opened = async {
            let fresh = self.fresh_snapshot(group, timeout).await?;
            Ok((fresh, self.snapshot_body(group, fresh.token.id, 0).await?))
        };
        let (fresh, mut body) = match opened.await {
            Ok(opened) => opened,
            Err(error) => return Ok((run, Err(error))),
        };
        let begin = move || (run.begin(fresh.token), run);
        let (begun, mut run) = blocking(&self.core, group, begin).await?;
        let mut file = match begun {
            Ok(file) => file,
            Err(error) => return Ok((run, Err(error))),
        };
        while let Some(piece) = body.next_piece().await? {
            let more = piece.len() as u64;
            let put = move || (file.put(&piece), file);
            let (outcome, back) = blocking(&self.core, group, put).await?;
            file = back;
            if let Err(error) = outcome {
                return Ok((run, Err(error.into())));
            }
            progress(more, run.counts());
        }
        let keep = move || (run.keep(file, &mut |_| {}), run);
        let (outcome, back) = blocking(&self.core, group, keep).await?;
        run = back;
        progress(0, run.counts());
        Ok((run, outcome))
    }
}

/// Milliseconds since the Unix epoch.
fn wall_ms(core: &Core) -> u64 {
    u64::try_from(core.seams.clock.wall().as_millis()).unwrap_or(u64::MAX)
}
