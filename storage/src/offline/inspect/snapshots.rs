//! The files of the snapshot directory, against what the log records.

use std::path::Path;

use super::report::{RecordReport, SnapshotReport};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::snapshot::{SnapshotToken, file_name, parse_file_name, read_footer, read_label};
use crate::state::AppliedRecord;

/// The files in `dir`, by name, and those that `recorded` names and are not there. `recorded` is `None` if the log
/// does not say. Labels that cannot be read go to `found`.
///
/// # Errors
/// [`Error::Io`] if the directory cannot be listed.
pub(super) fn list(
    disk: &dyn Disk,
    dir: &Path,
    recorded: Option<&[SnapshotToken]>,
    found: &mut dyn FnMut(Error, &Path),
) -> Result<Vec<SnapshotReport>> {
    let entries = match disk.list(dir) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(cause) => return Err(Error::io("list", dir, cause)),
    };
    let mut reports = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.is_dir) {
        let file = dir.join(&entry.name);
        let bytes = disk.size(&file).map_err(|cause| Error::io("look up", &file, cause))?.unwrap_or(0);
        let mut report =
            SnapshotReport { file, bytes, status: other_status(&entry.name), crc: None, label: None };
        if let Some(id) = parse_file_name(&entry.name) {
            let token = recorded.and_then(|tokens| tokens.iter().rev().find(|token| token.id == id));
            describe(disk, &mut report, recorded.is_some(), token, found);
        }
        reports.push(report);
    }
    for token in recorded.unwrap_or_default() {
        let file = dir.join(file_name(token.id));
        if reports.iter().all(|report| report.file != file) {
            let crc = Some(token.crc);
            reports.push(SnapshotReport { file, bytes: 0, status: "missing", crc, label: None });
        }
    }
    Ok(reports)
}

fn describe(
    disk: &dyn Disk,
    report: &mut SnapshotReport,
    is_log_known: bool,
    token: Option<&SnapshotToken>,
    found: &mut dyn FnMut(Error, &Path),
) {
    report.status = match token {
        Some(token) if token.bytes == report.bytes => "usable",
        Some(_) => "wrong_size",
        None if is_log_known => "orphan",
        None => "unknown",
    };
    report.crc = token.map(|token| token.crc).or_else(|| read_footer(disk, &report.file).ok());
    match read_label(disk, &report.file) {
        Ok(label) => report.label = Some(RecordReport::from(&label.record)),
        Err(error) => found(error, &report.file),
    }
}

/// What a file is that is no complete snapshot.
fn other_status(name: &str) -> &'static str {
    let kinds = [(".tmp", "writing"), (".part", "receiving"), (".bad", "bad")];
    let is_of = |suffix: &str| name.strip_suffix(suffix).and_then(parse_file_name).is_some();
    kinds.into_iter().find(|(suffix, _)| is_of(suffix)).map_or("other", |(_, status)| status)
}

impl From<&AppliedRecord> for RecordReport {
    fn from(record: &AppliedRecord) -> Self {
        Self {
            applied: record.applied.into(),
            conf_state: (&record.conf_state).into(),
            digest: format!("{:032x}", record.digest.0),
            incarnation: record.incarnation.to_string(),
            hlc_ceiling: record.hlc_ceiling.get(),
            cutover: record.cutover.map(crate::ids::Index::get),
            range_epoch: record.descriptor.range_epoch.get(),
            conf_epoch: record.descriptor.conf_epoch.get(),
        }
    }
}
