//! An inspection as text.

use std::fmt::{self, Display, Formatter};
use std::path::Path;

use quorate::storage::offline::inspect::{
    DivergenceReport, GateReport, GenerationReport, GroupReport, LogReport, RecordReport, SegmentReport,
    SnapshotReport,
};
use quorate::storage::offline::{Finding, InspectReport};

/// What stands for nothing.
const NONE: &str = "-";

/// Digits of a digest or an identity that are shown.
const HEX_DIGITS: usize = 12;

/// A report, for people.
pub(super) struct Text<'a>(pub(super) &'a InspectReport);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.0;
        write!(f, "{}: ", report.path.display())?;
        match &report.node {
            Some(node) => {
                let (cluster, incarnation) = (short(&node.cluster), short(&node.incarnation));
                writeln!(f, "node {} of cluster {cluster}, incarnation {incarnation}", node.node)?;
            }
            None => writeln!(f, "no node file that can be read")?,
        }
        for group in &report.groups {
            write_group(f, group)?;
        }
        if !report.findings.is_empty() {
            writeln!(f, "\nfindings")?;
        }
        report.findings.iter().try_for_each(|finding| writeln!(f, "  {}", FindingText(finding)))
    }
}

/// One finding on one line.
pub(in crate::cli) struct FindingText<'a>(pub(in crate::cli) &'a Finding);

impl Display for FindingText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let finding = self.0;
        write!(f, "{}: {}", finding.class.as_str(), finding.file.display())?;
        if let Some(offset) = finding.offset {
            write!(f, " at byte {offset}")?;
        }
        write!(f, ": {}", finding.problem)?;
        finding.entry.map_or(Ok(()), |entry| write!(f, " (entry {entry})"))
    }
}

fn write_group(f: &mut Formatter<'_>, group: &GroupReport) -> fmt::Result {
    write!(f, "\ngroup {}: ", group.group)?;
    match &group.replica {
        None => return writeln!(f, "no replica file that can be read"),
        Some(replica) => {
            let (uid, incarnation) = (short(&replica.uid), short(&replica.incarnation));
            write!(f, "replica {}, uid {uid}, incarnation {incarnation}", replica.replica)?;
            if replica.is_tombstone {
                return writeln!(f, ", removed");
            }
            writeln!(f)?;
        }
    }
    if let Some(DivergenceReport { file, index, own, majority }) = &group.diverged {
        let (file, own, majority) = (file.display(), short(own), short(majority));
        writeln!(f, "  diverged: state {own} at {index}, the majority's is {majority} ({file})")?;
    }
    match &group.log {
        Some(log) => write_log(f, log)?,
        None => writeln!(f, "  log: a start would not take it")?,
    }
    table(
        f,
        ["SEGMENT", "STATE", "BYTES", "BATCHES", "ENTRIES", "PROVEN", "RECORDS"],
        &group.segments,
        segment,
    )?;
    table(
        f,
        ["SNAPSHOT", "STATUS", "BYTES", "CRC", "VOTERS", "LEARNERS", "DIGEST"],
        &group.snapshots,
        snapshot,
    )?;
    table(
        f,
        ["STATE", "STATUS", "STORE", "BYTES", "RECORDS", "APPLIED", "DIGEST"],
        &group.generations,
        generation,
    )?;
    if group.diverged.is_some() {
        return writeln!(f, "  start: refused, state_diverged: the replica has to be replaced");
    }
    group.cold_start.as_ref().map_or(Ok(()), |gate| write_gate(f, gate))
}

fn write_log(f: &mut Formatter<'_>, log: &LogReport) -> fmt::Result {
    let (last, hard_state) = (log.last, &log.hard_state);
    if last.index < log.first {
        write!(f, "  log: no entries behind {}", log.base.index)?;
    } else {
        write!(f, "  log: entries {} to {} (term {})", log.first, last.index, last.term)?;
    }
    let vote = optional(hard_state.vote);
    write!(f, "; term {}, vote {vote}, commit {}; ", hard_state.term, hard_state.commit)?;
    match (log.is_clean, log.torn_batches) {
        (true, _) => writeln!(f, "stopped cleanly"),
        (false, 0) => writeln!(f, "not stopped cleanly"),
        (false, torn) => writeln!(f, "not stopped cleanly, torn batches {torn}"),
    }
}

fn write_gate(f: &mut Formatter<'_>, gate: &GateReport) -> fmt::Result {
    write!(f, "  start: {}", gate.outcome)?;
    if gate.reason != "none" {
        write!(f, " ({})", gate.reason)?;
    }
    if let Some(index) = gate.restore_from {
        write!(f, ", restores snapshot {index}")?;
    }
    let (held, snapshot) = (optional(gate.held), optional(gate.snapshot));
    writeln!(f, ", floor {}; held {held}, snapshot {snapshot}, commit {}", gate.floor.index, gate.commit)
}

fn segment(segment: &SegmentReport) -> [String; 7] {
    let entries = segment.first.zip(segment.last).map(|(first, last)| format!("{first}-{last}"));
    let torn = segment.torn_at.map(|at| format!("torn at {at}"));
    let proven = if segment.is_proven { "yes" } else { "but the last" };
    let counts = [
        (segment.truncations.len(), "truncate"),
        (segment.compactions.len(), "compact"),
        (segment.snapshots.len(), "snapshot"),
    ];
    let records: Vec<_> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{name} {count}"))
        .collect();
    [
        name(&segment.file),
        segment.role.to_owned(),
        segment.bytes.to_string(),
        segment.batches.to_string(),
        entries.unwrap_or_else(|| NONE.to_owned()),
        torn.unwrap_or_else(|| proven.to_owned()),
        if records.is_empty() { NONE.to_owned() } else { records.join(", ") },
    ]
}

fn snapshot(snapshot: &SnapshotReport) -> [String; 7] {
    let label = snapshot.label.as_ref();
    let ids =
        |ids: fn(&RecordReport) -> &Vec<u64>| label.map_or_else(|| NONE.to_owned(), |label| list(ids(label)));
    [
        name(&snapshot.file),
        snapshot.status.to_owned(),
        snapshot.bytes.to_string(),
        snapshot.crc.map_or_else(|| NONE.to_owned(), |crc| format!("{crc:08x}")),
        ids(|label| &label.conf_state.voters),
        ids(|label| &label.conf_state.learners),
        label.map_or(NONE, |label| short(&label.digest)).to_owned(),
    ]
}

fn generation(generation: &GenerationReport) -> [String; 7] {
    let record = generation.record.as_ref();
    let applied = match (record, &generation.not_inspected) {
        (Some(record), _) => format!("{} (term {})", record.applied.index, record.applied.term),
        (None, Some(reason)) => format!("not inspected: {reason}"),
        (None, None) => NONE.to_owned(),
    };
    [
        name(&generation.dir),
        generation.status.to_owned(),
        generation.store.unwrap_or(NONE).to_owned(),
        generation.bytes.to_string(),
        optional(generation.records),
        applied,
        record.map_or(NONE, |record| short(&record.digest)).to_owned(),
    ]
}

/// Aligned columns under a heading; nothing without rows.
fn table<T, const N: usize>(
    f: &mut Formatter<'_>,
    heading: [&str; N],
    items: &[T],
    row: fn(&T) -> [String; N],
) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    let rows: Vec<[String; N]> =
        std::iter::once(heading.map(str::to_owned)).chain(items.iter().map(row)).collect();
    let widths: [usize; N] =
        std::array::from_fn(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0));
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(f, "  {}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn short(hex: &str) -> &str {
    hex.get(..HEX_DIGITS).unwrap_or(hex)
}

fn optional(number: Option<u64>) -> String {
    number.map_or_else(|| NONE.to_owned(), |number| number.to_string())
}

fn list(ids: &[u64]) -> String {
    if ids.is_empty() {
        return NONE.to_owned();
    }
    ids.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}
