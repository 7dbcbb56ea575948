//! The generations of a state, and what their markers say.

use std::path::Path;

use super::report::{GenerationReport, RecordReport};
use crate::cold_start::{AppliedMark, Reading, StoreCondition};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::kv::StoreKind;
use crate::kv::offline::{Copying, NotOpened, OfflinePlace, kind_of};

/// Directories are at most so deep; a state's are two.
pub(in crate::offline) const DEPTH_MAX: u32 = 8;

/// What the cold-start gate would learn of the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) reading: Reading,
    pub(super) store: StoreCondition,
}

/// The generations in `dir`, and what the gate would learn of the current one (`None` if that cannot be told without
/// a change to it). What does not open goes to `found`.
///
/// # Errors
/// [`Error::Io`] if the directory cannot be listed.
pub(super) fn list(
    place: &OfflinePlace,
    dir: &Path,
    found: &mut dyn FnMut(Error, &Path),
) -> Result<(Vec<GenerationReport>, Option<Held>)> {
    let disk = place.disk.as_ref();
    let entries = match disk.list(dir) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(cause) => return Err(Error::io("list", dir, cause)),
    };
    let number = |name: &str| name.parse::<u64>().ok();
    let current = entries.iter().filter(|entry| entry.is_dir).filter_map(|entry| number(&entry.name)).max();
    let nothing = Held { reading: Reading::Missing, store: StoreCondition::Trusted };
    let (mut reports, mut held) = (Vec::new(), Some(nothing));
    for entry in entries.iter().filter(|entry| entry.is_dir) {
        let path = dir.join(&entry.name);
        let status = match number(&entry.name) {
            None => "unfinished",
            number if number == current => "current",
            Some(_) => "old",
        };
        let bytes = bytes_below(disk, &path, DEPTH_MAX)?;
        let mut report = GenerationReport { status, bytes, ..GenerationReport::nothing(&path) };
        if status == "current" {
            held = describe(place, &path, &mut report, found);
        } else {
            report.not_inspected = Some("the next start removes it".to_owned());
        }
        reports.push(report);
    }
    Ok((reports, held))
}

/// Reads the marker of the generation in `dir`.
fn describe(
    place: &OfflinePlace,
    dir: &Path,
    report: &mut GenerationReport,
    found: &mut dyn FnMut(Error, &Path),
) -> Option<Held> {
    let mut failed = |report: &mut GenerationReport, error: Error| {
        report.not_inspected = Some(error.to_string());
        found(error, dir);
        Some(Held { reading: Reading::Failed, store: StoreCondition::UncleanBoot })
    };
    let kind = match kind_of(place.disk.as_ref(), dir) {
        Ok(Some(kind)) => kind,
        Ok(None) => return Some(Held { reading: Reading::Missing, store: StoreCondition::Trusted }),
        Err(error) => return failed(report, error),
    };
    report.store = Some(kind.name());
    if kind == StoreKind::Sled {
        report.is_trusted = place.would_trust_sled(dir).ok();
    }
    let store = match place.open(kind, dir, Copying::Never) {
        Ok(store) => store,
        Err(NotOpened::WouldWrite) => {
            report.not_inspected = Some(format!("{kind} writes to its files when it is opened"));
            return None;
        }
        Err(NotOpened::Scratch(error)) => {
            report.not_inspected = Some(error.to_string());
            return None;
        }
        Err(NotOpened::Failed(error)) => return failed(report, error),
    };
    report.is_trusted = Some(store.is_trusted);
    let condition = if store.is_trusted { StoreCondition::Trusted } else { StoreCondition::UncleanBoot };
    match store.marker(dir) {
        Ok(Some((counts, record))) => {
            report.records = Some(counts.records);
            report.record_bytes = Some(counts.bytes);
            report.record = Some(RecordReport::from(&record));
            Some(Held { reading: Reading::Record(AppliedMark::from(&record)), store: condition })
        }
        Ok(None) => Some(Held { reading: Reading::Missing, store: condition }),
        Err(error) => failed(report, error),
    }
}

impl GenerationReport {
    fn nothing(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
            status: "current",
            bytes: 0,
            store: None,
            record: None,
            records: None,
            record_bytes: None,
            is_trusted: None,
            not_inspected: None,
        }
    }
}

/// Bytes of all files below `dir`, `depth` directories deep.
pub(in crate::offline) fn bytes_below(disk: &dyn Disk, dir: &Path, depth: u32) -> Result<u64> {
    let entries = disk.list(dir).map_err(|cause| Error::io("list", dir, cause))?;
    let mut bytes = 0;
    for entry in entries {
        let path = dir.join(&entry.name);
        bytes += if !entry.is_dir {
            disk.size(&path).map_err(|cause| Error::io("look up", &path, cause))?.unwrap_or(0)
        } else if depth > 0 {
            bytes_below(disk, &path, depth - 1)?
        } else {
            0
        };
    }
    Ok(bytes)
}
