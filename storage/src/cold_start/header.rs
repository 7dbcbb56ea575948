//! The newest snapshot where a start skips its restore: verified, and its state header taken over, if either is asked
//! for.

use crate::error::Result;
use crate::snapshot::{SnapshotDir, SnapshotToken, StateHeader};
use crate::state::{AppliedRecord, StateMachine};

/// Whether `machine` must be given the state header of a snapshot that it is not restored from.
pub fn needs_header(machine: &mut dyn StateMachine) -> bool {
    machine.as_snapshot_header_applier().is_some_and(|applier| !applier.covers_header())
}

/// Has `machine` take over the state header of the snapshot of `token`, and raises `record` to it. Nothing is read if
/// it needs none, or has no use for one.
///
/// In this order, each before anything of the next is trusted: the size is possible and the token's, the footer is the
/// token's, the header parses, the checksum of everything before the footer is the footer. Only then is it applied.
///
/// # Errors
/// As [`SnapshotDir::payload`] and [`crate::snapshot::SnapshotPayload`]. Neither `machine` nor `record` has changed.
pub fn apply_header(
    dir: &SnapshotDir,
    token: SnapshotToken,
    machine: &mut dyn StateMachine,
    record: &mut AppliedRecord,
) -> Result<()> {
    let Some(applier) = machine.as_snapshot_header_applier().filter(|applier| !applier.covers_header())
    else {
        return Ok(());
    };
    let mut payload = dir.payload(token)?;
    let header = applier.parse_header(&mut payload)?;
    payload.verify()?;
    if let Some(header) = header {
        applier.apply_header(header);
        raise(record, header);
    }
    Ok(())
}

/// The record is at least as new as the snapshot: it may know a higher ceiling.
fn raise(record: &mut AppliedRecord, header: StateHeader) {
    record.hlc_ceiling = record.hlc_ceiling.max(header.hlc_ceiling);
    record.cutover = record.cutover.or(header.cutover);
}
