//! What is in a data directory: identities, logs, snapshots, states, and what a start would do with them.

mod log;
mod report;
mod snapshots;
pub(super) mod state;

pub use report::{
    ConfStateReport, DivergenceReport, GateReport, GenerationReport, GroupReport, HardStateReport,
    InspectReport, LogReport, NodeReport, PositionReport, RecordReport, ReplicaReport, SegmentReport,
    SnapshotRecordReport, SnapshotReport, TokenReport,
};

use std::path::Path;

use self::state::Held;
use super::{FINDINGS_MAX, Finding, LookOptions, StoppedDir};
use crate::cold_start::{Inputs, Policy, Reading, decide, usable_snapshots};
use crate::error::Error;
use crate::identity::{Divergence, NodeIdentity, ReplicaIdentity, ReplicaPaths};
use crate::ids::GroupId;
use crate::kv::offline::OfflinePlace;
use crate::log::survey::{Depth, Event, SurveyPlace, survey};
use crate::log::{LogState, read_state};
use crate::snapshot::SnapshotDir;

/// Looks at everything in `dir` and changes nothing. Reads of each log the newest segment, and one page of each
/// batch of the others; of snapshots and stores a few KiB each.
pub fn inspect(dir: &StoppedDir, options: &LookOptions) -> InspectReport {
    let mut look = Look { dir, options, findings: Vec::new(), group: None };
    let node = look.node();
    let groups = match dir.groups(options.group) {
        Ok(groups) => groups,
        Err(error) => {
            look.found(&error, dir.path());
            Vec::new()
        }
    };
    let groups = groups.into_iter().map(|group| look.group(group)).collect();
    InspectReport { path: dir.path().to_path_buf(), node, groups, findings: look.findings }
}

struct Look<'a> {
    dir: &'a StoppedDir,
    options: &'a LookOptions,
    findings: Vec<Finding>,
    /// The group that is looked at.
    group: Option<GroupId>,
}

impl Look<'_> {
    fn node(&mut self) -> Option<NodeReport> {
        let path = self.dir.node_file();
        let identity = match NodeIdentity::read(&**self.dir.disk(), &path) {
            Ok(Some(identity)) => identity,
            Ok(None) => {
                self.found(&Error::Missing { path: path.clone() }, &path);
                return None;
            }
            Err(error) => {
                self.found(&error, &path);
                return None;
            }
        };
        let NodeIdentity { cluster, node, incarnation } = identity;
        let (cluster, incarnation) = (cluster.to_string(), incarnation.to_string());
        Some(NodeReport { node: node.get(), cluster, incarnation })
    }

    fn group(&mut self, group: GroupId) -> GroupReport {
        self.group = Some(group);
        let paths = self.dir.group(group);
        let mut report = GroupReport {
            group: group.get(),
            replica: None,
            diverged: None,
            log: None,
            segments: Vec::new(),
            snapshots: Vec::new(),
            generations: Vec::new(),
            cold_start: None,
        };
        match ReplicaIdentity::read(&**self.dir.disk(), &paths.replica_file()) {
            Ok(Some(identity)) => {
                report.replica = Some(replica_report(&identity));
                if !identity.tombstone {
                    self.contents(&identity, &paths, &mut report);
                }
            }
            // A creation that a crash interrupted: the next one begins anew.
            Ok(None) => {}
            Err(error) => self.found(&error, &paths.replica_file()),
        }
        self.group = None;
        report
    }

    fn contents(&mut self, identity: &ReplicaIdentity, paths: &ReplicaPaths, report: &mut GroupReport) {
        report.diverged = self.mark(paths);
        let log = self.log(identity, paths, report);
        let recorded = log.as_ref().map(|state| state.snapshots.as_slice());
        let disk = self.dir.disk();
        let listed = snapshots::list(&**disk, &paths.snapshots(), recorded, &mut |error, path| {
            self.found(&error, path);
        });
        match listed {
            Ok(snapshots) => report.snapshots = snapshots,
            Err(error) => self.found(&error, &paths.snapshots()),
        }
        let place = OfflinePlace {
            disk: disk.clone(),
            clock: self.options.clock.clone(),
            scratch: self.options.scratch.clone(),
        };
        let listed = state::list(&place, &paths.state(), &mut |error, path| self.found(&error, path));
        let held = match listed {
            Ok((generations, held)) => {
                report.generations = generations;
                held
            }
            Err(error) => {
                self.found(&error, &paths.state());
                None
            }
        };
        // A start that finds the mark does not ask the gate.
        if let (Some(log), Some(held), None) = (log, held, &report.diverged) {
            report.cold_start = self.gate(identity, paths, (&log, held));
        }
    }

    /// Whether the replica was found to hold another state than its group.
    fn mark(&mut self, paths: &ReplicaPaths) -> Option<DivergenceReport> {
        let file = paths.divergence_file();
        match Divergence::read(&**self.dir.disk(), &file) {
            Ok(divergence) => divergence.map(|divergence| DivergenceReport::of(file, &divergence)),
            Err(error) => {
                self.found(&error, &file);
                None
            }
        }
    }

    fn log(
        &mut self,
        identity: &ReplicaIdentity,
        paths: &ReplicaPaths,
        report: &mut GroupReport,
    ) -> Option<LogState> {
        let (disk, dir, owner) = (self.dir.disk(), paths.wal(), identity.owner());
        let place = SurveyPlace { disk: &**disk, dir: &dir, owner };
        let surveyed = survey(place, Depth::Tables, &mut |event| {
            if let Event::Found(found) = event {
                let finding = Finding::of(&found.error, &dir).about(found.entry);
                self.keep(if found.is_redundant { finding.redundant() } else { finding });
            }
        });
        match surveyed {
            Ok(segments) => report.segments = segments.into_iter().map(Into::into).collect(),
            Err(error) => self.found(&error, &dir),
        }
        match read_state(&**disk, &dir, &owner) {
            Ok(state) => {
                report.log = Some((&state).into());
                Some(state)
            }
            Err(error) => {
                self.found(&error, &dir);
                None
            }
        }
    }

    /// Asks the gate what it would decide.
    fn gate(
        &mut self,
        identity: &ReplicaIdentity,
        paths: &ReplicaPaths,
        (log, held): (&LogState, Held),
    ) -> Option<GateReport> {
        let dir = SnapshotDir::new(self.dir.disk().clone(), paths.snapshots(), identity.owner());
        let snapshot = match usable_snapshots(log, &dir) {
            Ok(usable) => usable.last().copied(),
            Err(error) => {
                self.found(&error, dir.path());
                return None;
            }
        };
        let decision = decide(&Inputs {
            snapshot,
            commit: log.hard_state.commit,
            log: &log.skeleton,
            reading: held.reading,
            store: held.store,
            incarnation: identity.incarnation,
            policy: Policy::default(),
        });
        let held = match held.reading {
            Reading::Record(mark) => Some(mark.applied.index.get()),
            _ => None,
        };
        Some(GateReport {
            outcome: decision.outcome.as_str(),
            reason: decision.outcome.reason(),
            floor: decision.floor.into(),
            restore_from: decision.restore_from.map(|token| token.id.index.get()),
            held,
            snapshot: snapshot.map(|token| token.id.index.get()),
            commit: log.hard_state.commit.get(),
        })
    }

    fn found(&mut self, error: &Error, place: &Path) {
        self.keep(Finding::of(error, place));
    }

    /// Keeps a finding that is not known yet: a start stumbles over what the survey has told.
    fn keep(&mut self, finding: Finding) {
        let finding = match self.group {
            Some(group) => finding.in_group(group),
            None => finding,
        };
        if self.findings.len() < FINDINGS_MAX && !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}

fn replica_report(identity: &ReplicaIdentity) -> ReplicaReport {
    ReplicaReport {
        uid: identity.uid.to_string(),
        replica: identity.replica.get(),
        incarnation: identity.incarnation.to_string(),
        is_tombstone: identity.tombstone,
    }
}
