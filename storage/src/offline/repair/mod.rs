//! Brings a group back whose only voter is refused at its start: its state, which is whole, becomes a fresh snapshot,
//! and with that the group begins anew under another uid (DESIGN section 6: a refusal is repaired on purpose).
//!
//! # Why another uid
//! The log has lost what this replica once acknowledged. Under its old identity it must never vote again. A group of a
//! new uid, with this replica as its only member, has no past that could contradict it: whoever still holds the old
//! uid is not heard, and joins again as a new replica. The replica id stays: it is bound to the uid in every file and
//! message, and so it is not the same voter.
//!
//! # What the catalog says meanwhile
//! Nothing of it has to be edited. It knows the replica by its id, which stays, so the node starts what it finds. The
//! group's leader publishes its descriptor when its conf epoch is the higher one, and it is: it is raised by more than
//! all changes that may have been lost with the log ([`EPOCHS_SKIPPED`]). Group 0 publishes its own likewise.
//!
//! # What is kept
//! The state as of its applied record, which is verified: every value's checksum, the count and the digest. Then the
//! entries behind it, as far as log and state agree, none is unreadable, and none changes the membership. The old
//! directory stays as `groups/<group>.quarantined-<incarnation>`. Nothing in it is changed, and the new one is made
//! beside it, whole and durable, before two renames put it in place: a crash at any point leaves either the old
//! directory, or what the next start (or the next repair) completes.
//!
//! # A state that was proven wrong
//! A replica with the mark `diverged` does not start, and a repair through its group replaces it: its state is known to be
//! wrong, and its group holds the right one. So it is refused here, too, also where it is the only voter by now. Only who
//! gives up the others, because they are gone for good, may adopt what there is; the new directory has no mark, for the new
//! group has no other state.

mod adopt;
mod look;
mod telling;

use std::path::PathBuf;
use std::sync::Arc;

use quorate_telemetry::Rng;

use self::look::Found;
use self::telling::Telling;
use super::{LookOptions, StoppedDir};
use crate::descriptor::ReplicaDescriptor;
use crate::entry::EntryId;
use crate::error::Error;
use crate::identity::{Divergence, ReplicaIdentity, complete_switches, is_switching};
use crate::ids::{GroupId, GroupUid, Index, ReplicaId};

/// By how much the conf epoch is raised: more than there ever were membership changes.
pub const EPOCHS_SKIPPED: u64 = 1 << 32;

/// What an operator takes upon himself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    /// Other replicas are given up: what only they acknowledged is lost, and they have to join again. So is what they
    /// held where they proved this one's state wrong.
    pub abandons_others: bool,
    /// A store that may have lost what a power cut took is believed, if its digest agrees.
    pub trusts_store: bool,
}

/// How far a repair is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepairProgress {
    /// Bytes of keys and values that were read: to be checked, and then once more to be written.
    pub bytes: u64,
    /// What it will be in the end.
    pub bytes_total: u64,
}

/// Hears how far a repair is, about once a MiB.
pub type Progress<'a> = dyn FnMut(&RepairProgress) + 'a;

/// What a repair would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairPlan {
    /// The state becomes the group's snapshot.
    Adopt(Box<AdoptionPlan>),
    /// A repair was interrupted when all but its last step was done: that is done.
    Complete(GroupId),
}

/// What is adopted, what is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptionPlan {
    /// The group.
    pub group: GroupId,
    /// The replica, which keeps its id.
    pub replica: ReplicaId,
    /// Why it does not start, for people.
    pub why: String,
    /// The last entry that the state holds.
    pub applied: EntryId,
    /// Live records of the state.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// The last entry that is kept: of the log, behind the state.
    pub last: Index,
    /// The last entry that the log has or knows to be committed; `None` if it cannot be read. What lies between
    /// [`AdoptionPlan::last`] and it is lost.
    pub log_last: Option<Index>,
    /// Replicas that are given up.
    pub others: Vec<ReplicaDescriptor>,
    /// Where the old directory will be.
    pub evidence: PathBuf,
}

/// A group that begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The group.
    pub group: GroupId,
    /// Its new identity.
    pub uid: GroupUid,
    /// Its only replica.
    pub replica: ReplicaId,
}

/// Why nothing was done. The directory is as it was.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairRefusal {
    /// There is no such replica in the directory.
    #[error("group {0} has no replica here")]
    NoReplica(GroupId),
    /// It was removed for ever.
    #[error("the replica of group {0} that was here is removed for ever")]
    Removed(GroupId),
    /// The group would start.
    #[error("group {group} is not refused at its start (it would be: {outcome}): start the node")]
    NotNeeded {
        /// The group.
        group: GroupId,
        /// What the cold-start gate would decide.
        outcome: &'static str,
    },
    /// There is no state to adopt.
    #[error("there is no state to adopt in {path}: it has no applied record", path = path.display())]
    NoState {
        /// Where it should be.
        path: PathBuf,
    },
    /// The state cannot be read, or is not what was written.
    #[error("the state cannot be adopted: {0}")]
    Unreadable(#[source] Error),
    /// A power cut may have taken a part of it.
    #[error("the store in {path} does not survive a power cut, and there may have been one", path = path.display())]
    NotTrusted {
        /// Its directory.
        path: PathBuf,
    },
    /// The state does not name this replica as a member.
    #[error("replica {0} is no member of the group whose state it holds")]
    NotAMember(ReplicaId),
    /// A majority of the group proved the state wrong: it must not become everybody's.
    #[error("{file} says that {divergence}", file = file.display())]
    Diverged {
        /// The mark.
        file: PathBuf,
        /// What it says.
        divergence: Divergence,
    },
    /// There are others, which may hold more.
    #[error("the group has other replicas: {}", names(.0))]
    HasOthers(Vec<ReplicaDescriptor>),
    /// The log lost, or has behind the state, what may have changed the membership, and there are other nodes.
    #[error("the group may have got other replicas after entry {0}")]
    MayHaveOthers(Index),
    /// The disk said no.
    #[error(transparent)]
    Storage(#[from] Error),
}

fn names(others: &[ReplicaDescriptor]) -> String {
    let name = |other: &ReplicaDescriptor| format!("{} on node {}", other.replica, other.node);
    others.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// What [`repair()`] would do with `group`. Reads the whole state and the log behind it; changes nothing. `progress` hears how
/// far it is.
///
/// # Errors
/// [`RepairRefusal`].
pub fn plan_repair(
    dir: &StoppedDir,
    group: GroupId,
    (consent, options): (Consent, &LookOptions),
    progress: &mut Progress<'_>,
) -> Result<RepairPlan, RepairRefusal> {
    if is_switching(&**dir.disk(), dir.path(), group)? {
        return Ok(RepairPlan::Complete(group));
    }
    let found = Found::look(dir, group, (consent, options))?;
    let plan = found.plan(GroupUid::ZERO, &mut Telling::new(found.bytes(), progress))?;
    Ok(RepairPlan::Adopt(Box::new(plan)))
}

/// Makes the state of `group` its snapshot, under a new uid drawn from `rng`. Durable on return. Writes the state once;
/// needs the room for that. `progress` hears how far it is. After a crash, or any other failure, call it again.
///
/// # Errors
/// [`RepairRefusal`]. After a run that crashed behind its last step it is [`RepairRefusal::NotNeeded`].
pub fn repair(
    dir: &StoppedDir,
    group: GroupId,
    (consent, options): (Consent, &LookOptions),
    rng: &Arc<dyn Rng>,
    progress: &mut Progress<'_>,
) -> Result<Adopted, RepairRefusal> {
    if is_switching(&**dir.disk(), dir.path(), group)? {
        complete_switches(&**dir.disk(), dir.path())?;
        let path = dir.group(group).replica_file();
        let found = ReplicaIdentity::read(&**dir.disk(), &path)?.ok_or(RepairRefusal::NoReplica(group))?;
        return Ok(Adopted { group, uid: found.uid, replica: found.replica });
    }
    let found = Found::look(dir, group, (consent, options))?;
    adopt::adopt(dir, &found, rng, &mut Telling::new(found.bytes().saturating_mul(2), progress))
}
