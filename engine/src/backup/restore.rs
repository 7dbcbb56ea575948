//! The data directory of one node of a new cluster, out of a backup. Offline; run once for each node, in any order.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use quorate_shard::catalog::CATALOG_GROUP;
use quorate_storage::backup::{Backup, BackupGroup, NewReplica, RestoringDir};
use quorate_storage::disk::Disk;
use quorate_storage::snapshot::SnapshotSink;
use quorate_storage::state::{AppliedRecord, RecordHasher, StateDigest};
use quorate_storage::{
    ClusterId, ConfState, GroupDescriptor, GroupId, Incarnation, NodeId, ReplicaDescriptor,
};
use quorate_telemetry::Rng;

use super::catalog::CatalogRecords;
use super::plan::{Plan, Source, Target};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::node::open::initial_nodes;

/// What a new replica takes beside its snapshot: the first segment of its log, and room for the next.
const REPLICA_BYTES: u64 = 512 << 10;

/// How far a restore is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreProgress {
    /// Bytes of snapshots that were read: each once to be checked, once to be copied.
    pub bytes: u64,
    /// What it will be in the end.
    pub bytes_total: u64,
}

/// A data directory that is ready to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The new cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// Groups with a replica on this node, group 0 among them if it votes there.
    pub groups: Vec<GroupId>,
    /// Bytes of their snapshots in the backup.
    pub bytes: u64,
}

/// Makes the data directory of the node that `config` is for, out of `backup`: a node of a *new* cluster, with the groups,
/// ranges and records of the old one under new identities, and its clock ceilings. Every node of the new cluster is to be
/// restored, with the same backup, nodes and replication, before the first one starts; they need not be as many as there
/// were. Blocking; reads each snapshot that belongs on this node twice. Durable on return.
///
/// Crash-safe: a directory that is half made does not start, and is made anew by the same call.
///
/// # Errors
/// [`Error::SameCluster`]; [`Error::Config`]; [`quorate_storage::Error::Occupied`] if something is in the directory;
/// [`quorate_storage::Error::NoRoom`] if the snapshots, and what the node keeps free, do not fit: nothing was written;
/// [`quorate_storage::Error::Corrupt`] if the backup is not what was written.
pub fn restore(
    (disk, rng): (&Arc<dyn Disk>, &Arc<dyn Rng>),
    backup: &Backup,
    config: &Config,
    progress: &mut dyn FnMut(&RestoreProgress),
) -> Result<Restored> {
    config.check()?;
    let nodes = initial_nodes(config);
    let mut work = Work { backup, now: RestoreProgress::default(), progress };
    let (records, record) = work.read_catalog()?;
    let catalog = records.decode()?;
    let source = Source { manifest: backup.manifest(), hash: backup.hash(), catalog: &catalog };
    let replication = config.bootstrap.replication;
    let plan = Plan::new(source, Target { cluster: config.cluster, nodes: &nodes, replication })?;
    let here: Vec<(&GroupDescriptor, ReplicaDescriptor)> = plan
        .groups
        .values()
        .filter_map(|descriptor| Some((descriptor, *descriptor.replica_on(config.node)?)))
        .collect();
    let bytes = work.expect(here.iter().map(|(descriptor, _)| descriptor.group))?;
    let identity = (config.cluster, config.node);
    let files_bytes =
        REPLICA_BYTES.saturating_mul(here.len() as u64).saturating_add(config.disk.reserve_bytes);
    let needed_bytes = bytes.saturating_add(files_bytes);
    let dir =
        RestoringDir::begin(Arc::clone(disk), &config.data_dir, identity, needed_bytes, Arc::clone(rng))?;
    for (descriptor, replica) in &here {
        if descriptor.group == CATALOG_GROUP {
            // Its replicas' incarnations are bound by their first messages, as ever.
            let replica = ReplicaDescriptor { incarnation: Incarnation(rng.next_id()), ..*replica };
            let content = records.others.iter().cloned().chain(plan.catalog.clone()).collect();
            make_catalog(&dir, (descriptor, replica), record.clone(), &content)?;
        } else {
            work.make(&dir, descriptor, *replica)?;
        }
    }
    dir.finish()?;
    let groups = here.iter().map(|(descriptor, _)| descriptor.group).collect();
    Ok(Restored { cluster: config.cluster, node: config.node, groups, bytes })
}

/// A restore under way.
struct Work<'a> {
    backup: &'a Backup,
    now: RestoreProgress,
    progress: &'a mut dyn FnMut(&RestoreProgress),
}

impl<'a> Work<'a> {
    /// Group 0's records, and what its snapshot says of itself.
    fn read_catalog(&mut self) -> Result<(CatalogRecords, AppliedRecord)> {
        let group = self.group(CATALOG_GROUP)?;
        let mut records = CatalogRecords::default();
        let whole = self.backup.check(group, &mut |_| {}, &mut |key, value| {
            records.take(key, value);
            Ok(())
        })?;
        Ok((records, whole.label.record))
    }

    /// What is to come: bytes of the snapshots of `groups`.
    fn expect(&mut self, groups: impl Iterator<Item = GroupId>) -> Result<u64> {
        let (mut bytes, mut catalog_bytes) = (0, 0);
        for group in groups {
            let token = self.group(group)?.token;
            bytes += token.bytes;
            catalog_bytes += if group == CATALOG_GROUP { token.bytes } else { 0 };
        }
        self.now.bytes_total = 2 * (bytes - catalog_bytes);
        (self.progress)(&self.now);
        Ok(bytes)
    }

    fn group(&self, group: GroupId) -> Result<&'a BackupGroup> {
        self.backup.manifest().group(group).ok_or(Error::NotInBackup(group))
    }

    /// Makes a replica with the records of its group: read once to be checked and hashed under the group's new identity,
    /// once to be copied.
    fn make(
        &mut self,
        dir: &RestoringDir,
        descriptor: &GroupDescriptor,
        replica: ReplicaDescriptor,
    ) -> Result<()> {
        let group = self.group(descriptor.group)?;
        let hasher = RecordHasher::new(descriptor.uid);
        let mut digest = StateDigest::EMPTY;
        let backup = self.backup;
        let whole = backup.check(group, &mut |bytes| self.tell(bytes), &mut |key, value| {
            digest = digest.with(hasher.hash(key, value));
            Ok(())
        })?;
        // Whose state machine keeps no digest gets none.
        let digest = whole.digest().map_or(StateDigest::EMPTY, |_| digest);
        let record = born_again(whole.label.record, (descriptor, replica), digest);
        let (new, backup) = (NewReplica { replica: replica.replica, record }, self.backup);
        dir.make(&new, &mut |sink| backup.copy_records(group, sink, &mut |bytes| self.tell(bytes)))?;
        Ok(())
    }

    fn tell(&mut self, bytes: u64) {
        self.now.bytes += bytes;
        (self.progress)(&self.now);
    }
}

fn make_catalog(
    dir: &RestoringDir,
    (descriptor, replica): (&GroupDescriptor, ReplicaDescriptor),
    source: AppliedRecord,
    content: &BTreeMap<Bytes, Bytes>,
) -> Result<()> {
    let hasher = RecordHasher::new(descriptor.uid);
    let summands = content.iter().map(|(key, value)| hasher.hash(key, value));
    let digest = summands.fold(StateDigest::EMPTY, StateDigest::with);
    let record = born_again(source, (descriptor, replica), digest);
    let fill =
        &mut |sink: &mut dyn SnapshotSink| content.iter().try_for_each(|(key, value)| sink.put(key, value));
    dir.make(&NewReplica { replica: replica.replica, record }, fill)?;
    Ok(())
}

/// What a replica of the new group holds at the index of its snapshot. Index and term stay, so that a cutover keeps its
/// meaning; so does the ceiling of the clock, which must never be lower than a timestamp that was issued.
fn born_again(
    source: AppliedRecord,
    (descriptor, replica): (&GroupDescriptor, ReplicaDescriptor),
    digest: StateDigest,
) -> AppliedRecord {
    let voters = descriptor.replicas.iter().map(|replica| replica.replica).collect();
    AppliedRecord {
        conf_state: ConfState::of_voters(voters),
        descriptor: descriptor.clone(),
        incarnation: replica.incarnation,
        digest,
        ..source
    }
}
