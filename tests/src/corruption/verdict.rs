//! What a case came to: pure, from what was seen.

use quorate_storage::offline::Finding;
use quorate_telemetry::stats::ColdStartOutcome;

use super::damage::Damage;
use super::place::{FileKind, Place, is_unused};
use super::world::ReplicaEnd;

/// What became of a damage, by how much it took to get over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The bytes are none that anybody reads, by the format's own words.
    Unused,
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
    pub const ALL: [Self; 6] =
        [Self::Unused, Self::Dormant, Self::Rebuilt, Self::Repaired, Self::Quarantined, Self::Refused];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unused => "unused",
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
    /// Whether the file is gone, or another one in its place: its own bytes cannot tell.
    fn is_whole_file(&self) -> bool {
        self.damage.offset().is_none()
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
        let is_lost = |damaged: &&Damaged| damaged.is_shorter && damaged.is_whole_file();
        let has_lost = self.damaged.iter().any(|damaged| is_lost(&damaged));
        if outcomes.is_empty() && has_lost {
            // Nothing on the disk tells that there was more; the leader does.
            outcomes.push((Outcome::Repaired, "entries sent again".to_owned()));
        }
        if self.aside > 0 {
            outcomes.push((Outcome::Rebuilt, "snapshot put aside".to_owned()));
        }
        let is_small = |damaged: &&Damaged| matches!(damaged.kind, FileKind::Peers | FileKind::Reserve);
        if outcomes.is_empty() && self.damaged.iter().all(|damaged| is_small(&damaged)) {
            // Nothing to show for it but what `check_small` saw.
            outcomes.push((Outcome::Rebuilt, "made anew".to_owned()));
        }
        let is_store = |damaged: &&Damaged| damaged.kind == FileKind::Store;
        if outcomes.is_empty() && !self.findings.is_empty() && self.damaged.iter().all(|d| is_store(&d)) {
            // What its file lost, the log had.
            outcomes.push((Outcome::Rebuilt, "replayed".to_owned()));
        }
        let Some(worst) = outcomes.iter().map(|(outcome, _)| *outcome).max() else {
            return self.judge_silent();
        };
        let is_excused = has_lost || self.damaged.iter().all(|damaged| is_small(&damaged));
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
        for damaged in &self.damaged {
            let offset = damaged.damage.offset();
            if damaged.kind == FileKind::Snapshot && damaged.is_whole_file() {
                // Not the newest, or it would have been found: old snapshots may go at any time.
                continue;
            }
            if !offset.is_some_and(|offset| is_unused(damaged.kind, &damaged.before, offset)) {
                return Err("nobody notices, and these bytes have a meaning".to_owned());
            }
        }
        Ok((Outcome::Unused, Vec::new()))
    }

    /// `reason` says where to look, if there is a place.
    fn check_names_place(&self, reason: &str) -> Result<(), String> {
        let is_named = |damaged: &&Damaged| reason.contains(&*damaged.place.path().to_string_lossy());
        let has_offset = reason.contains(" at byte ");
        let has_place = self.damaged.iter().all(|damaged| damaged.damage.offset().is_some());
        if has_place && !(has_offset && self.damaged.iter().any(|damaged| is_named(&damaged))) {
            return Err(format!("file and offset are not named: {reason}"));
        }
        Ok(())
    }
}
