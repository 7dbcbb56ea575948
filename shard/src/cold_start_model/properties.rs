//! What holds in every state.

use stateright::Property;

use super::rules::ColdStart;
use super::state::{BIRTH, Fate, Image, Kind, Replica, State};

pub(super) fn all() -> Vec<Property<ColdStart>> {
    vec![
        Property::always("no entry is lost or applied twice", |_, state: &State| {
            state.replicas.iter().all(|replica| is_whole(state, replica))
        }),
        Property::always("the ceiling is not below a timestamp", |_, state: &State| {
            state.replicas.iter().all(|replica| has_ceiling(state, replica))
        }),
        Property::always("a label is its content", |_, state: &State| {
            let mut files = state.replicas.iter().flat_map(|replica| replica.disk.files.all());
            files.all(|file| is_of(state, file.image()))
        }),
        Property::always("a start ends", |_, state: &State| state.replicas.iter().all(has_started)),
        Property::always("the log's snapshot is at or below the marker", |_, state: &State| {
            state.replicas.iter().all(points_back)
        }),
        Property::always("what is shown is held", |_, state: &State| {
            let mut running = state.replicas.iter().filter(|replica| replica.runs());
            running.all(|replica| replica.memory.shown <= replica.memory.image.marker)
        }),
        Property::always("a replica that lost its log does not run", |_, state: &State| {
            !state.replicas.iter().any(|replica| replica.has_lost_log && replica.runs())
        }),
        Property::always("a log without members is not started", |_, state: &State| {
            !state.replicas.iter().any(|replica| replica.runs() && replica.memory.lacks_members)
        }),
    ]
}

/// A state is that of its index: its data, and its membership.
fn is_of(state: &State, image: Image) -> bool {
    let expected = state.expected(image.marker);
    (image.content, image.has_changed) == (expected.content, expected.has_changed)
}

fn is_whole(state: &State, replica: &Replica) -> bool {
    let is_held = !replica.runs()
        || (is_of(state, replica.memory.image) && replica.memory.applied <= state.committed());
    let is_durable = replica.disk.store.is_none_or(|store| is_of(state, store));
    // What is above the state stands in the log.
    let reaches = !replica.runs() || replica.disk.base <= replica.memory.applied.max(replica.disk.last);
    is_held && is_durable && reaches
}

/// Whoever has applied a lease may be asked for a timestamp at once, and issue any below the lease's ceiling.
fn has_ceiling(state: &State, replica: &Replica) -> bool {
    let memory = &replica.memory;
    let lease = state.index_of(Kind::Lease).filter(|at| *at <= memory.applied && replica.runs());
    lease.is_none() || (memory.has_ceiling && memory.image.has_ceiling)
}

/// None fails, and none is refused without a fault.
fn has_started(replica: &Replica) -> bool {
    match replica.fate {
        Fate::Unborn | Fate::Runs => true,
        Fate::Refused => replica.has_lost_log,
        Fate::Failed => replica.is_misfed,
    }
}

/// An installed snapshot is recorded before it is restored, and its log begins at it. Whose start is refused after a fault
/// may have no store left.
fn points_back(replica: &Replica) -> bool {
    if replica.fate == Fate::Refused {
        return true;
    }
    let newest = replica.disk.files.newest().map_or(0, |file| file.index);
    let marker = replica.disk.store.map_or(0, |store| store.marker);
    newest <= marker.max(replica.disk.base).max(BIRTH)
}
