//! What there is to adopt, and whether it may be.

use std::path::PathBuf;

use super::telling::Telling;
use super::{AdoptionPlan, Consent, RepairRefusal};
use crate::cold_start::{AppliedMark, Inputs, Policy, Reading, StoreCondition, decide, usable_snapshots};
use crate::descriptor::ReplicaDescriptor;
use crate::error::{Error, Result};
use crate::identity::{Divergence, ReplicaIdentity, ReplicaPaths, evidence_path, read_peers};
use crate::ids::{GroupId, GroupUid, Index};
use crate::kv::Counts;
use crate::kv::offline::{Copying, NotOpened, OfflinePlace, OfflineStore, current_generation, kind_of};
use crate::log::UnchangedLog;
use crate::offline::{LookOptions, StoppedDir};
use crate::snapshot::SnapshotDir;
use crate::state::{AppliedRecord, RecordHasher, StateDigest};

/// Takes key and value of one record.
pub(super) type VisitRecord<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// A replica that is refused at its start, and the state it holds.
pub(super) struct Found {
    pub(super) identity: ReplicaIdentity,
    pub(super) record: AppliedRecord,
    /// As the marker says.
    counts: Counts,
    pub(super) store: OfflineStore,
    /// The store's directory.
    pub(super) state: PathBuf,
    /// `None` if it cannot be read.
    pub(super) log: Option<UnchangedLog>,
    why: String,
    others: Vec<ReplicaDescriptor>,
    evidence: PathBuf,
}

impl Found {
    /// Looks at the replica of `group`, and whether `consent` suffices for what adopting its state means.
    pub(super) fn look(
        dir: &StoppedDir,
        group: GroupId,
        (consent, options): (Consent, &LookOptions),
    ) -> Result<Self, RepairRefusal> {
        let (disk, paths) = (dir.disk(), dir.group(group));
        let identity = ReplicaIdentity::read(&**disk, &paths.replica_file())?;
        let identity = identity.ok_or(RepairRefusal::NoReplica(group))?;
        if identity.tombstone {
            return Err(RepairRefusal::Removed(group));
        }
        let divergence = read_mark(dir, &paths, consent)?;
        let log = UnchangedLog::read(disk, &paths.wal(), &identity.owner());
        let (state, store) = match open_store(dir, &paths, options) {
            Err(refusal @ RepairRefusal::NoState { .. }) => {
                // One that was repaired and not started since: a start restores its snapshot.
                if let (Ok(log), None) = (&log, divergence) {
                    refused_for(dir, &paths, &identity, (log, Reading::Missing, StoreCondition::Trusted))?;
                }
                return Err(refusal);
            }
            opened => opened?,
        };
        let marker = store.marker(&state).map_err(RepairRefusal::Unreadable)?;
        let (counts, record) = marker
            .filter(|(_, record)| record.incarnation == identity.incarnation)
            .ok_or_else(|| RepairRefusal::NoState { path: state.clone() })?;
        let (log, why) = match log {
            Ok(log) => {
                let reading = Reading::Record(AppliedMark::from(&record));
                let condition =
                    if store.is_trusted { StoreCondition::Trusted } else { StoreCondition::UncleanBoot };
                let why = match divergence {
                    Some(divergence) => divergence.to_string(),
                    None => refused_for(dir, &paths, &identity, (&log, reading, condition))?,
                };
                (Some(log), why)
            }
            Err(error) => (None, error.to_string()),
        };
        if !store.is_trusted && !consent.trusts_store {
            return Err(RepairRefusal::NotTrusted { path: state });
        }
        let replica = identity.replica;
        if record.descriptor.replica(replica).is_none() {
            return Err(RepairRefusal::NotAMember(replica));
        }
        let others: Vec<_> =
            record.descriptor.replicas.iter().filter(|other| other.replica != replica).copied().collect();
        let evidence = evidence_path(dir.path(), &identity);
        let found = Self { identity, record, counts, store, state, log, why, others, evidence };
        if !consent.abandons_others {
            found.check_alone(dir)?;
        }
        Ok(found)
    }

    /// What adopting it does. Reads all of it.
    pub(super) fn plan(
        &self,
        successor: GroupUid,
        telling: &mut Telling<'_>,
    ) -> Result<AdoptionPlan, RepairRefusal> {
        self.verify(successor, telling)?;
        let log = self.log.as_ref().map(|log| &log.state);
        Ok(AdoptionPlan {
            group: self.identity.group,
            replica: self.identity.replica,
            why: self.why.clone(),
            applied: self.record.applied,
            records: self.counts.records,
            bytes: self.counts.bytes,
            last: self.read_tail(&mut |_| Ok(()))?,
            log_last: log.map(|state| state.skeleton.last.max(state.hard_state.commit)),
            others: self.others.clone(),
            evidence: self.evidence.clone(),
        })
    }

    /// Bytes of keys and values.
    pub(super) fn bytes(&self) -> u64 {
        self.counts.bytes
    }

    /// Reads every record: whether they are what the marker says, and the digest they have in the group `successor`.
    pub(super) fn verify(
        &self,
        successor: GroupUid,
        telling: &mut Telling<'_>,
    ) -> Result<StateDigest, RepairRefusal> {
        let [old, new] = [self.identity.uid, successor].map(RecordHasher::new);
        let (mut held, mut next, mut counts) = (StateDigest::EMPTY, StateDigest::EMPTY, Counts::default());
        self.for_each(&mut |key, value| {
            held = held.with(old.hash(key, value));
            next = next.with(new.hash(key, value));
            counts.add(key, value);
            telling.read(key, value);
            Ok(())
        })
        .map_err(RepairRefusal::Unreadable)?;
        if held != self.record.digest || counts != self.counts {
            let what = "state: its records do not add up to what its applied record says";
            return Err(RepairRefusal::Unreadable(Error::Malformed { what }));
        }
        Ok(next)
    }

    /// Gives every record to `visit`, each verified.
    ///
    /// # Errors
    /// The first damage, or the first error of `visit`.
    pub(super) fn for_each(&self, visit: &mut VisitRecord<'_>) -> Result<()> {
        let (mut damaged, mut failed) = (None, None);
        self.store.for_each(
            &self.state,
            &mut |key, value| {
                if failed.is_none() {
                    failed = visit(key, value).err();
                }
            },
            &mut |error| {
                damaged.get_or_insert(error);
            },
        )?;
        damaged.or(failed).map_or(Ok(()), Err)
    }

    /// Gives the entries behind the state to `visit` that are kept; the index of the last one that is kept, which may
    /// be the state's.
    pub(super) fn read_tail(
        &self,
        visit: &mut dyn FnMut(Vec<crate::entry::Entry>) -> Result<()>,
    ) -> Result<Index> {
        let held = self.record.applied;
        let Some(log) = &self.log else { return Ok(held.index) };
        let skeleton = &log.state.skeleton;
        // Log and state are of one history only where they agree on the entry between them.
        if skeleton.term(held.index) != Some(held.term) {
            return Ok(held.index);
        }
        // Of what others have acknowledged too, only what is known to be committed.
        let end = if self.others.is_empty() {
            skeleton.last
        } else {
            skeleton.last.min(log.state.hard_state.commit)
        };
        let next_change = skeleton.conf_changes.iter().find(|index| **index > held.index);
        let end = next_change.map_or(end.next(), |change| end.next().min(*change));
        let low = held.index.next();
        if low >= end {
            return Ok(held.index);
        }
        Ok(log.read_on(low, end, visit)?.prev())
    }

    /// Refuses to give up other replicas, or some that the lost log may have named.
    fn check_alone(&self, dir: &StoppedDir) -> Result<(), RepairRefusal> {
        if !self.others.is_empty() {
            return Err(RepairRefusal::HasOthers(self.others.clone()));
        }
        let held = self.record.applied.index;
        let is_membership_known = self.log.as_ref().is_some_and(|log| {
            let skeleton = &log.state.skeleton;
            log.state.hard_state.commit <= skeleton.last.max(held)
                && skeleton.conf_changes.iter().all(|change| *change <= held)
        });
        let peers = read_peers(&**dir.disk(), &dir.path().join("peers"));
        let own = self.record.descriptor.replica(self.identity.replica).map(|own| own.node);
        let is_only_node = peers.is_ok_and(|peers| peers.keys().all(|node| Some(*node) == own));
        if is_membership_known || is_only_node {
            return Ok(());
        }
        Err(RepairRefusal::MayHaveOthers(held))
    }
}

/// What the mark of a state that was proven wrong says, if there is one.
///
/// # Errors
/// [`RepairRefusal::Diverged`], unless those who proved it are given up.
fn read_mark(
    dir: &StoppedDir,
    paths: &ReplicaPaths,
    consent: Consent,
) -> Result<Option<Divergence>, RepairRefusal> {
    let file = paths.divergence_file();
    match Divergence::read(&**dir.disk(), &file)? {
        Some(divergence) if !consent.abandons_others => Err(RepairRefusal::Diverged { file, divergence }),
        found => Ok(found),
    }
}

/// Opens the current generation of the state, without a change to it.
fn open_store(
    dir: &StoppedDir,
    paths: &ReplicaPaths,
    options: &LookOptions,
) -> Result<(PathBuf, OfflineStore), RepairRefusal> {
    let disk = dir.disk();
    let missing = || RepairRefusal::NoState { path: paths.state() };
    let state = current_generation(disk, &paths.state())?.ok_or_else(missing)?;
    let kind = kind_of(&**disk, &state).map_err(RepairRefusal::Unreadable)?.ok_or_else(missing)?;
    let place =
        OfflinePlace { disk: disk.clone(), clock: options.clock.clone(), scratch: options.scratch.clone() };
    match place.open(kind, &state, Copying::IfNeeded) {
        Ok(store) => Ok((state, store)),
        Err(NotOpened::Failed(error)) => Err(RepairRefusal::Unreadable(error)),
        Err(NotOpened::Scratch(error)) => Err(RepairRefusal::Storage(error)),
        Err(NotOpened::WouldWrite) => unreachable!("a store that writes is copied"),
    }
}

/// Why a start of the replica would be refused.
///
/// # Errors
/// [`RepairRefusal::NotNeeded`] if it would not.
fn refused_for(
    dir: &StoppedDir,
    paths: &ReplicaPaths,
    identity: &ReplicaIdentity,
    (log, reading, store): (&UnchangedLog, Reading, StoreCondition),
) -> Result<String, RepairRefusal> {
    let snapshots = SnapshotDir::new(dir.disk().clone(), paths.snapshots(), identity.owner());
    let decision = decide(&Inputs {
        snapshot: usable_snapshots(&log.state, &snapshots)?.last().copied(),
        commit: log.state.hard_state.commit,
        log: &log.state.skeleton,
        reading,
        store,
        incarnation: identity.incarnation,
        policy: Policy::default(),
    });
    if !decision.is_start() {
        let reason = decision.outcome.reason();
        return Ok(format!("its start is refused: {reason}"));
    }
    let (low, end) = (decision.floor.index.next(), log.state.skeleton.last.next());
    let readable = log.read_on(low, end, &mut |_| Ok(()))?;
    if low < end && readable < end {
        return Ok(format!("entry {readable} of its log is unreadable"));
    }
    Err(RepairRefusal::NotNeeded { group: identity.group, outcome: decision.outcome.as_str() })
}
