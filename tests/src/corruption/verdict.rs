//! What a case came to: pure, from what was seen.

use quorate_storage::offline::Finding;
use quorate_telemetry::stats::ColdStartOutcome;

use super::damage::Damage;
use super::place::{FileKind, Place, ends_frame, has_last_batch_in, is_unused};
use super::world::ReplicaEnd;

/// What became of a damage, by how much it took to get over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The bytes are none that anybody reads, by the format's own words.
    Unused,
    /// The store's library keeps nothing in these bytes that counts any more: opened with them, every value, the counts and
    /// the digest are right. Only of a store whose files have no checksums of their own for us to look at.
    Unread,
    /// A file is gone as a whole, or an older one is in its place, or the last write of a log never came: nothing on
    /// this disk can tell (`docs/FORMAT.md`, "What the files cannot show"), and nothing of it was needed.
    Unseen,
    /// Verification names it. Nothing needed these bytes at this start: they are a second copy, or not used yet.
    Dormant,
    /// A state was restored or replayed, a snapshot put aside, a small file made anew.
    Rebuilt,
    /// Entries of the log were fetched from other replicas, sent again by the leader, or given up as they are applied.
    Repaired,
    /// A replica was out of service, and a new one was put in its place.
    Quarantined,
    /// The node did not open its directory.
    Refused,
}

impl Outcome {
    /// All, in order.
    pub const ALL: [Self; 8] = [
        Self::Unused,
        Self::Unread,
        Self::Unseen,
        Self::Dormant,
        Self::Rebuilt,
        Self::Repaired,
        Self::Quarantined,
        Self::Refused,
    ];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Unread => "unread",
            Self::Unseen => "unseen",
            Self::Dormant => "dormant",
            Self::Rebuilt => "rebuilt",
            Self::Repaired => "repaired",
            Self::Quarantined => "quarantined",
            Self::Refused => "refused",
        }
    }
}

/// A damaged file, and its bytes before the damage.
#[derive(Clone, Debug)]
pub(super) struct Damaged {
    pub(super) place: Place,
    pub(super) kind: FileKind,
    pub(super) damage: Damage,
    pub(super) before: Vec<u8>,
    /// First entry of the log of its replica before the damage.
    pub(super) first: Option<u64>,
    /// The log ends earlier now, as a start finds it.
    pub(super) is_shorter: bool,
}

/// What was seen of one damaged node.
#[derive(Clone, Debug)]
pub(super) struct Seen<'a> {
    pub(super) damaged: Vec<&'a Damaged>,
    /// By `offline::verify`, before the start.
    pub(super) findings: &'a [Finding],
    pub(super) refused: Option<&'a quorate::Error>,
    /// Of this node.
    pub(super) replicas: Vec<&'a ReplicaEnd>,
    /// Snapshots of this node that were put aside.
    pub(super) aside: usize,
}

impl Damaged {
    /// Whether the file is gone, or another one is in its place: its own bytes cannot tell.
    fn is_whole_file(&self) -> bool {
        self.damage.offset().is_none()
    }

    /// Whether no file of ours can tell: a log that ends a file or a batch earlier looks like one that was never longer,
    /// as does a store that ends a frame earlier, and old snapshots may go at any time. (The newest is missed, and so is
    /// a state as new as it.)
    fn cannot_tell(&self) -> bool {
        match (self.kind, self.damage) {
            (FileKind::Log | FileKind::Snapshot, Damage::Older | Damage::Delete) => true,
            (FileKind::Log, Damage::Zero(at, bytes)) => has_last_batch_in(&self.before, at, bytes),
            (FileKind::Store, Damage::Truncate(at)) => ends_frame(&self.before, at),
            _ => false,
        }
    }

    fn is_unused(&self) -> bool {
        self.damage.offset().is_some_and(|offset| is_unused(self.kind, &self.before, offset))
    }
}

impl Seen<'_> {
    /// The outcome, with words for what happened; an error if something is not as it must be.
    pub(super) fn judge(&self) -> Result<(Outcome, Vec<String>), String> {
        let mut outcomes: Vec<(Outcome, String)> = Vec::new();
        if let Some(error) = self.refused {
            self.check_names_place(&error.to_string())?;
            outcomes.push((Outcome::Refused, error.to_string()));
        }
        for end in &self.replicas {
            self.judge_replica(end, &mut outcomes)?;
        }
        let is_lost = |damaged: &&Damaged| damaged.is_shorter && damaged.cannot_tell();
        let has_lost = self.damaged.iter().any(is_lost);
        if outcomes.is_empty() && has_lost {
            // Nothing on the disk tells that there was more; the leader does.
            outcomes.push((Outcome::Repaired, "entries sent again".to_owned()));
        }
        if self.aside > 0 {
            outcomes.push((Outcome::Rebuilt, "snapshot put aside".to_owned()));
        }
        let is_small = |damaged: &&Damaged| match damaged.kind {
            FileKind::Reserve => true,
            FileKind::Peers => !self.findings.is_empty() || damaged.is_whole_file(),
            _ => false,
        };
        if outcomes.is_empty() && self.damaged.iter().all(is_small) {
            // Nothing to show for it but what `check_small` saw.
            outcomes.push((Outcome::Rebuilt, "made anew".to_owned()));
        }
        let is_store = |damaged: &&Damaged| damaged.kind == FileKind::Store;
        if outcomes.is_empty() && !self.findings.is_empty() && self.damaged.iter().all(is_store) {
            // What its file lost, the log had.
            outcomes.push((Outcome::Rebuilt, "replayed".to_owned()));
        }
        let Some(worst) = outcomes.iter().map(|(outcome, _)| *outcome).max() else {
            return self.judge_silent();
        };
        let is_excused = has_lost || self.damaged.iter().all(is_small);
        if self.findings.is_empty() && worst > Outcome::Dormant && !is_excused {
            return Err(format!("verify calls it clean, and yet: {outcomes:?}"));
        }
        Ok((worst, outcomes.into_iter().map(|(_, what)| what).collect()))
    }

    /// A node without damage sees none.
    pub(super) fn check_untouched(&self) -> Result<(), String> {
        let mut outcomes = Vec::new();
        for end in &self.replicas {
            self.judge_replica(end, &mut outcomes)?;
        }
        outcomes.retain(|(_, what)| what != "state restored");
        if self.refused.is_some() || !outcomes.is_empty() {
            return Err(format!("a node without damage: {:?} {outcomes:?}", self.refused));
        }
        Ok(())
    }

    fn judge_replica(&self, end: &ReplicaEnd, outcomes: &mut Vec<(Outcome, String)>) -> Result<(), String> {
        if let Some(why) = end.out_of_service() {
            if why.contains("panic") {
                return Err(format!("{} of node {}: {why}", end.group, end.node));
            }
            self.check_names_place(why)?;
            outcomes.push((Outcome::Quarantined, why.to_owned()));
        }
        let Some(report) = &end.report else { return Ok(()) };
        let mut add = |outcome, what: &str| outcomes.push((outcome, what.to_owned()));
        if report.repaired_entries > 0 {
            add(Outcome::Repaired, "entries fetched");
        }
        if report.snapshot_waits > 0 {
            add(Outcome::Rebuilt, "snapshot of the leader installed");
        }
        if report.dropped_entries > 0 {
            add(Outcome::Repaired, "entries dropped");
        }
        if report.log_torn_batches > 0 {
            add(Outcome::Repaired, "tail sent again");
        }
        let is_given_up = |damaged: &&&Damaged| {
            damaged.place.file.starts_with(format!("groups/{}", end.group))
                && damaged.first.is_some_and(|first| report.first > first)
        };
        if self.damaged.iter().any(|damaged| is_given_up(&damaged)) {
            add(Outcome::Repaired, "entries given up");
        }
        for start in &report.cold_starts {
            if matches!(start.outcome, ColdStartOutcome::Fallback | ColdStartOutcome::Executed) {
                add(Outcome::Rebuilt, "state restored");
            }
        }
        Ok(())
    }

    /// Nothing was to be seen.
    fn judge_silent(&self) -> Result<(Outcome, Vec<String>), String> {
        if !self.findings.is_empty() {
            let what = self.findings.iter().map(|finding| finding.problem.clone());
            return Ok((Outcome::Dormant, what.collect()));
        }
        let mut outcome = Outcome::Unused;
        for damaged in &self.damaged {
            if damaged.cannot_tell() {
                outcome = Outcome::Unseen;
            } else if !damaged.is_unused() {
                return Err("nobody notices, and these bytes have a meaning".to_owned());
            }
        }
        Ok((outcome, Vec::new()))
    }

    /// `reason` says where to look, if there is a place.
    fn check_names_place(&self, reason: &str) -> Result<(), String> {
        let is_named = |damaged: &&Damaged| reason.contains(&*damaged.place.path().to_string_lossy());
        let has_offset = reason.contains(" at byte ");
        // A log without its last batch looks whole; what is missed is told of its directory.
        let has_place =
            self.damaged.iter().all(|damaged| damaged.damage.offset().is_some() && !damaged.cannot_tell());
        if has_place && !(has_offset && self.damaged.iter().any(is_named)) {
            return Err(format!("file and offset are not named: {reason}"));
        }
        Ok(())
    }
}
