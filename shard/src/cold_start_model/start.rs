//! A start: what is on the disk becomes the inputs of the real gate, and what the real gate decides is done to the model.

use std::panic::{AssertUnwindSafe, catch_unwind};

use quorate_storage::cold_start::{
    self, AppliedMark, Decision, Inputs, Outcome, Policy, Reading, RefusalReason, StoreCondition,
    VolatileWalk, WalkEnd, decide,
};
use quorate_storage::payload::InClear;
use quorate_storage::snapshot::SnapshotToken;
use quorate_storage::state::AppliedRecord;
use quorate_storage::{ConfState, Entry, EntryId, HardState, Index, Term};

use super::machine::{Ability, CEILING, Counting, Entries, Second, entry, incarnation, replica_id};
use super::seen::Seen;
use super::state::{Disk, Fate, Image, Kind, Memory, Snapshot, State, byte, id};
use crate::actor::gate::kept;
use crate::core::{CoreConfig, Group, Start};

/// How a start goes about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) ability: Ability,
    pub(super) policy: Policy,
    pub(super) second: Second,
}

/// The gate was passed.
struct Passed {
    image: Image,
    record: AppliedRecord,
}

/// Starts `replica` with what is on its disk.
pub(super) fn start(state: &mut State, replica: usize, manner: Manner, seen: &Seen) {
    state.replicas[replica].memory = Memory::default();
    state.replicas[replica].disk.sweep();
    let passed = pass(state, replica, manner, seen);
    let fate = match passed {
        Err(reason) => {
            seen.refused(reason);
            Fate::Refused
        }
        Ok(passed) if !opens(state, replica, &passed.record, seen) => Fate::Failed,
        Ok(Passed { image, record }) => {
            let applied = byte(record.applied.index);
            let has_ceiling = record.hlc_ceiling >= CEILING;
            let lacks_members =
                record.conf_state == ConfState::default() && state.replicas[replica].disk.last > 0;
            state.replicas[replica].memory =
                Memory { image, applied, shown: applied, has_ceiling, lacks_members, ..Memory::default() };
            Fate::Runs
        }
    };
    state.replicas[replica].fate = fate;
}

/// What [`Gate::pass`](crate::actor::gate::Gate::pass) does, with every decision made by the code that makes it there.
fn pass(state: &mut State, replica: usize, manner: Manner, seen: &Seen) -> Result<Passed, RefusalReason> {
    let skeleton = state.replicas[replica].disk.skeleton(state.index_of(Kind::Conf));
    let disk = &state.replicas[replica].disk;
    let held = disk.store.map(|image| manner.second.record(image, replica));
    let newest = disk.files.newest();
    let inputs = Inputs {
        snapshot: newest.map(|file| SnapshotToken { id: id(file.index), bytes: 1, crc: 0 }),
        commit: Index(disk.commit.into()),
        log: &skeleton,
        reading: held.as_ref().map_or(Reading::Missing, |held| Reading::Record(AppliedMark::from(held))),
        store: StoreCondition::Trusted,
        incarnation: incarnation(replica),
        policy: manner.policy,
    };
    let decision = decide(&inputs);
    seen.decided(&decision, &inputs);
    let decision = match decision.outcome {
        Outcome::Skipped => match keep(state, replica, manner, (&decision, held.as_ref(), newest), seen) {
            Some(passed) => return Ok(passed),
            None => Decision::after_volatile_gap(&inputs),
        },
        _ => decision,
    };
    if let Outcome::Refused(reason) = decision.outcome {
        return Err(reason);
    }
    let disk = &mut state.replicas[replica].disk;
    let Some(token) = decision.restore_from else {
        return Ok(Passed { image: Image::default(), record: manner.second.nothing(replica) });
    };
    let is_it = |file: &Snapshot| id(file.index) == token.id;
    let file = disk.files.usable().find(is_it).expect("a restore is from a usable snapshot");
    disk.store = Some(manner.stored(file.image()));
    Ok(Passed { image: file.image(), record: manner.second.record(file.image(), replica) })
}

/// Skips; `None` if the log cannot tell what is volatile.
fn keep(
    state: &State,
    replica: usize,
    manner: Manner,
    (decision, held, newest): (&Decision, Option<&AppliedRecord>, Option<Snapshot>),
    seen: &Seen,
) -> Option<Passed> {
    let disk = &state.replicas[replica].disk;
    let mut image = disk.store.unwrap_or_default();
    let mut record = kept(held, decision).unwrap_or_else(|| manner.second.nothing(replica));
    if manner.ability == Ability::Classifies {
        image.has_ceiling |= newest.is_some_and(|file| file.has_ceiling);
        let mut machine = manner.machine(image);
        let log = Entries(disk.entries(state));
        let walk = VolatileWalk {
            log: &log,
            first: Index(u64::from(disk.base) + 1),
            after: Index(newest.map_or(0, |file| file.index.into())),
            through: record.applied.index,
            opening: cold_start::Opening { cutover: None, unsealer: &InClear },
        };
        let walked = match walk.run(&mut machine) {
            Ok(walked) => walked,
            Err(WalkEnd::Gap(_)) => return None,
            Err(end @ WalkEnd::Halt(..)) => panic!("the model's entries can be read: {end:?}"),
        };
        seen.walked(&walked);
        image = machine.image;
        record.hlc_ceiling = record.hlc_ceiling.max(walked.hlc_ceiling);
        if newest.is_some_and(|file| file.has_ceiling) {
            record.hlc_ceiling = record.hlc_ceiling.max(CEILING);
        }
    }
    Some(Passed { image, record })
}

/// Everything that decides whether the core takes a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Opening {
    replica: usize,
    /// Base, last index and commit.
    log: [u8; 3],
    conf_change: Option<u8>,
    floor: EntryId,
    members: usize,
}

/// Whether the real core takes it. Asked once for each start that differs.
fn opens(state: &State, replica: usize, record: &AppliedRecord, seen: &Seen) -> bool {
    let disk = &state.replicas[replica].disk;
    let opening = Opening {
        replica,
        log: [disk.base, disk.last, disk.commit],
        conf_change: state.index_of(Kind::Conf).filter(|at| *at <= disk.last),
        floor: record.applied,
        members: record.descriptor.replicas.len(),
    };
    seen.opened(opening, || open(state, replica, record))
}

fn open(state: &State, replica: usize, record: &AppliedRecord) -> bool {
    let disk = &state.replicas[replica].disk;
    let term = Term(if disk.last == 0 { 0 } else { 2 });
    let start = Start {
        descriptor: record.descriptor.clone(),
        replica: replica_id(replica),
        incarnation: incarnation(replica),
        conf_state: record.conf_state.clone(),
        hard_state: HardState { term, vote: None, commit: Index(disk.commit.into()) },
        skeleton: disk.skeleton(state.index_of(Kind::Conf)),
        floor: record.applied,
        is_waiting: false,
        tail: Vec::new(),
        snapshot: None,
        seed: replica as u64 + 1,
        config: CoreConfig::default(),
    };
    catch_unwind(AssertUnwindSafe(|| Group::open(start).is_ok())).unwrap_or(false)
}

impl Manner {
    /// The state machine that holds `image`.
    pub(super) fn machine(self, image: Image) -> Counting {
        Counting { ability: self.ability, second: self.second, image }
    }

    /// What a store makes durable of `image`.
    pub(super) fn stored(self, image: Image) -> Image {
        Image { has_ceiling: image.has_ceiling && self.ability == Ability::Covers, ..image }
    }
}

impl Disk {
    /// Removes files that the log never recorded.
    fn sweep(&mut self) {
        self.files.retain(|file| file.is_recorded);
    }

    fn entries(&self, state: &State) -> Vec<Entry> {
        (self.base + 1..=self.last).map(|index| entry(index, state.kind(index))).collect()
    }
}
