//! Whether every entry that raft will need can be read. Runs on a background worker, behind the cold-start gate.

use std::fmt;

use quorate_storage::identity::FileOwner;
use quorate_storage::log::{LogStore, SegmentedLog, UnreadableEntry};
use quorate_storage::state::AppliedRecord;
use quorate_storage::{ConfState, Error, GroupDescriptor, GroupId, Incarnation, Index, ReplicaId};

use crate::actor::StartError;

/// What a log lacks, and who may have it.
#[derive(Clone, Debug)]
pub struct Damage {
    pub(crate) replica: ReplicaId,
    pub(crate) incarnation: Incarnation,
    /// The group as of the floor.
    pub(crate) descriptor: GroupDescriptor,
    /// The membership as of the floor.
    pub(crate) conf_state: ConfState,
    pub(crate) floor: Index,
    /// Ascending; at least one.
    pub(crate) missing: Vec<UnreadableEntry>,
}

impl Damage {
    /// How far the state is after the start that found this: a restore may have put it back to its snapshot.
    pub fn floor(&self) -> Index {
        self.floor
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.missing.len();
        match self.missing.first() {
            Some(UnreadableEntry { id, file, offset, .. }) => write!(
                f,
                "{count} log entries are unreadable, the first is {} of the batch in {} at byte {offset}",
                id.index,
                file.display()
            ),
            None => write!(f, "nothing is unreadable"),
        }
    }
}

/// Reads everything above the floor once. Damage below it only raises the log's first index, for which `reopen` opens
/// the log once more. Gives the log, or what is missing.
///
/// # Errors
/// [`StartError::Unreadable`]; [`StartError::Open`] if nobody else can have what is missing, or the tables are damaged
/// as well.
pub(crate) fn check_log(
    mut log: SegmentedLog,
    reopen: impl FnOnce() -> quorate_storage::Result<SegmentedLog>,
    (group, owner): (GroupId, FileOwner),
    record: &AppliedRecord,
) -> Result<SegmentedLog, StartError> {
    let failed = |cause| StartError::Open { group, cause };
    let floor = record.applied.index;
    if log.is_damaged() {
        let skeleton = &log.recovered().skeleton;
        let lost = log.unreadable(skeleton.first(), skeleton.last.min(floor).next()).map_err(failed)?;
        if let Some(last) = lost.last() {
            let (count, through, file) = (lost.len(), last.id.index, last.file.display());
            tracing::warn!(%group, count, %through, %file, "unreadable entries that are applied are given up");
            log.compact(through).map_err(failed)?;
            drop(log);
            log = reopen().map_err(failed)?;
        }
    }
    let end = log.recovered().skeleton.last.next();
    let missing = log.unreadable(floor.next(), end).map_err(failed)?;
    let Some(first) = missing.first() else { return Ok(log) };
    let has_others = record.descriptor.replicas.iter().any(|other| other.replica != owner.replica)
        || log.recovered().skeleton.conf_changes.iter().any(|&index| index > floor);
    if !has_others {
        let UnreadableEntry { crc, file, offset, .. } = first.clone();
        return Err(failed(Error::Corrupt { what: "entry", file, offset, expected: crc.into(), found: 0 }));
    }
    let damage = Damage {
        replica: owner.replica,
        incarnation: owner.incarnation,
        descriptor: record.descriptor.clone(),
        conf_state: record.conf_state.clone(),
        floor,
        missing,
    };
    Err(StartError::Unreadable { group, damage: Box::new(damage) })
}
