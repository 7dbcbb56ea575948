//! How far a verification is, and what it came to.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::ids::GroupId;
use crate::offline::finding::lossy;
use crate::offline::{FINDINGS_MAX, Finding, FindingClass};

/// Bytes between two calls of the progress callback.
const STEP_BYTES: u64 = 1 << 20;

/// How far a verification is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Bytes of files that were checked.
    pub bytes: u64,
    /// About what it will be in the end: more, where there are files that need no check.
    pub bytes_total: u64,
    /// Files that were checked.
    pub files: u64,
    /// Findings so far, torn tails included.
    pub findings: u64,
}

/// What a verification came to.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyReport {
    /// The data directory.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// Files that were checked.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// In the order they were found; [`FINDINGS_MAX`] at most.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub findings_omitted: u64,
}

impl VerifyReport {
    /// The first finding of bytes that are not what was written, or of a state that is not what was replicated.
    pub fn first_corruption(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.class.is_corruption())
    }

    /// The first thing that could not be checked.
    pub fn first_unchecked(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.class == FindingClass::Unchecked)
    }
}

/// What one group came to.
pub(super) struct Checked {
    findings: Vec<Finding>,
    omitted: u64,
}

/// Counts, while a verification goes on.
pub(super) struct Tally<'a> {
    progress: &'a mut dyn FnMut(&VerifyProgress),
    now: VerifyProgress,
    /// Bytes at the last call of the callback.
    told_bytes: u64,
    group: Option<GroupId>,
    findings: Vec<Finding>,
    /// What is wrong with one place is told once, however often it is stumbled over.
    known: HashSet<(PathBuf, Option<u64>, String)>,
    omitted: u64,
}

impl<'a> Tally<'a> {
    pub(super) fn new(progress: &'a mut dyn FnMut(&VerifyProgress)) -> Self {
        Self {
            progress,
            now: VerifyProgress::default(),
            told_bytes: 0,
            group: None,
            findings: Vec::new(),
            known: HashSet::new(),
            omitted: 0,
        }
    }

    pub(super) fn expect(&mut self, bytes_total: u64) {
        self.now.bytes_total = bytes_total;
    }

    pub(super) fn begin(&mut self, group: GroupId) {
        self.group = Some(group);
    }

    /// So many more bytes were checked.
    pub(super) fn read(&mut self, bytes: u64) {
        self.now.bytes += bytes;
        if self.now.bytes - self.told_bytes >= STEP_BYTES {
            self.told_bytes = self.now.bytes;
            (self.progress)(&self.now);
        }
    }

    /// A file whose bytes are counted by [`Self::read`] is done.
    pub(super) fn file_done(&mut self) {
        self.now.files += 1;
    }

    /// A file of so many bytes is done.
    pub(super) fn file(&mut self, bytes: u64) {
        self.read(bytes);
        self.file_done();
    }

    pub(super) fn keep(&mut self, finding: Finding) {
        let place = (finding.file.clone(), finding.offset, finding.problem.clone());
        if self.findings.len() >= FINDINGS_MAX {
            self.omitted += 1;
            return;
        }
        if self.known.insert(place) {
            self.now.findings += 1;
            let group = self.group;
            self.findings.push(match group {
                Some(group) => finding.in_group(group),
                None => finding,
            });
        }
    }

    /// A part that is counted apart has come from `told`, which is moved on, to `now`.
    pub(super) fn tell_part(&mut self, told: &mut VerifyProgress, now: &VerifyProgress) {
        self.now.files += now.files - told.files;
        self.now.findings += now.findings - told.findings;
        let bytes = now.bytes - told.bytes;
        *told = *now;
        self.read(bytes);
    }

    /// The end of what was told in parts: its findings.
    pub(super) fn take(&mut self, checked: Checked) {
        let room = FINDINGS_MAX.saturating_sub(self.findings.len());
        let surplus = checked.findings.len().saturating_sub(room) as u64;
        self.findings.extend(checked.findings.into_iter().take(room));
        self.omitted += checked.omitted + surplus;
        self.now.findings -= surplus;
    }

    /// What was counted, its last part told.
    pub(super) fn checked(self) -> Checked {
        (self.progress)(&self.now);
        Checked { findings: self.findings, omitted: self.omitted }
    }

    /// Damage found so far.
    pub(super) fn damage(&self) -> usize {
        self.findings.iter().filter(|finding| finding.class == FindingClass::Damage).count()
    }

    pub(super) fn finish(self, path: &Path) -> VerifyReport {
        (self.progress)(&self.now);
        VerifyReport {
            path: path.to_path_buf(),
            files: self.now.files,
            bytes: self.now.bytes,
            findings: self.findings,
            findings_omitted: self.omitted,
        }
    }
}
