//! What every [`StateMachine`] must do, as a suite any implementation can run. A check panics where a claim
//! does not hold.
//!
//! ```text
//! struct Mine { … }
//! impl conformance::Subject for Mine { … }
//! conformance::check_all(&mut || Box::new(Mine::new()));
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{AppliedRecord, Command, StateDigest, StateMachine};
use crate::descriptor::{GroupDescriptor, KeyRange, ReplicaDescriptor};
use crate::entry::{ConfState, EntryId};
use crate::error::{Error, Result};
use crate::ids::{
    ConfEpoch, GroupId, GroupUid, Incarnation, Index, NodeId, RangeEpoch, ReplicaId, Term, Timestamp,
};
use crate::snapshot::{SnapshotSink, SnapshotSource};

/// The group every check works on; a state machine under test is opened for it.
pub const GROUP_UID: GroupUid = GroupUid([9; 16]);

/// A place for one state machine, from its first opening to its last.
pub trait Subject {
    /// Opens the state machine on what the last stop left. Called again only after the one before was
    /// dropped.
    fn open(&mut self) -> Box<dyn StateMachine>;

    /// The process dies; the state machine has been dropped without a close. Loses whatever the store may
    /// lose.
    fn crash(&mut self);

    /// A valid command; each `n` writes something else. Commands must overwrite and delete, too.
    fn command(&self, n: u64) -> Bytes;
}

/// Makes a place without state.
pub type Make<'a> = dyn FnMut() -> Box<dyn Subject> + 'a;

/// Runs every check.
pub fn check_all(make: &mut Make<'_>) {
    every_kind_of_entry_moves_the_record(make);
    a_crash_leaves_a_whole_prefix(make);
    what_was_persisted_survives_a_crash(make);
    a_close_keeps_everything(make);
    a_view_holds_exactly_its_label(make);
    a_restore_brings_the_same_state_durably(make);
    a_failed_restore_leaves_the_old_state(make);
    the_state_does_not_depend_on_how_entries_are_batched(make);
}

/// Records of a state in key order.
type Dump = Vec<(Bytes, Bytes)>;

/// Entries applied by a check.
const ENTRIES: u64 = 40;

/// A record of entry `index`. Its conf state and ceiling change from entry to entry.
pub fn record_at(index: u64) -> AppliedRecord {
    let replica = |id: u64| ReplicaDescriptor {
        replica: ReplicaId(id),
        node: NodeId(id),
        incarnation: Incarnation([7; 16]),
    };
    AppliedRecord {
        applied: EntryId { term: Term(1 + index / 8), index: Index(index) },
        conf_state: ConfState::of_voters((1..=1 + index % 3).map(ReplicaId).collect()),
        descriptor: GroupDescriptor {
            group: GroupId(1),
            uid: GROUP_UID,
            range: KeyRange::all(),
            range_epoch: RangeEpoch(1),
            conf_epoch: ConfEpoch(index),
            replicas: (1..=1 + index % 3).map(replica).collect(),
        },
        incarnation: Incarnation([7; 16]),
        hlc_ceiling: Timestamp(index << 16),
        cutover: index.is_multiple_of(5).then_some(Index(index)),
        wrapped_keys: Bytes::from(vec![1; (index % 4) as usize]),
        digest: StateDigest::EMPTY,
    }
}

/// Whatever an entry carries, the record moves with it and is what was handed in.
pub fn every_kind_of_entry_moves_the_record(make: &mut Make<'_>) {
    let mut subject = make();
    let mut machine = subject.open();
    assert_eq!(record_of(machine.as_ref()), None, "a new store has no record");
    for index in 1..=ENTRIES {
        apply(subject.as_ref(), machine.as_mut(), index..=index);
        let found = record_of(machine.as_ref()).expect("a record after an apply");
        let expected = AppliedRecord { digest: found.digest, ..record_at(index) };
        assert_eq!(found, expected, "the record of entry {index}");
    }
}

/// After a crash the store holds the state of one apply call, with its own record, and at least what it
/// said is durable.
pub fn a_crash_leaves_a_whole_prefix(make: &mut Make<'_>) {
    for checkpoint_at in [0, 1, ENTRIES / 2, ENTRIES] {
        let mut subject = make();
        let mut machine = subject.open();
        let mut history = BTreeMap::new();
        for index in 1..=ENTRIES {
            apply(subject.as_ref(), machine.as_mut(), index..=index);
            history.insert(index, labelled_dump(machine.as_ref()));
            if index == checkpoint_at {
                assert_eq!(machine.checkpoint().expect("a checkpoint"), Index(index));
            }
        }
        let durable = machine.durable_applied();
        assert!(durable >= Index(checkpoint_at), "a checkpoint at {checkpoint_at} left {durable} durable");
        drop(machine);
        subject.crash();
        let machine = subject.open();
        let Some(record) = record_of(machine.as_ref()) else {
            assert_eq!(durable, Index(0), "everything was lost although {durable} was durable");
            continue;
        };
        assert!(record.applied.index >= durable, "{durable} was durable, {} is there", record.applied.index);
        let expected = &history[&record.applied.index.get()];
        assert_eq!(&labelled_dump(machine.as_ref()), expected, "the state at entry {}", record.applied.index);
    }
}

/// The writer's ability, if there is one, keeps what it promised.
pub fn what_was_persisted_survives_a_crash(make: &mut Make<'_>) {
    let mut subject = make();
    let mut machine = subject.open();
    apply(subject.as_ref(), machine.as_mut(), 1..=ENTRIES);
    let Some(writer) = machine.as_applied_index_writer() else { return };
    writer.persist_applied(Index(ENTRIES)).expect("the record is persisted");
    let expected = labelled_dump(machine.as_ref());
    drop(machine);
    subject.crash();
    assert_eq!(labelled_dump(subject.open().as_ref()), expected);
}

/// A clean stop loses nothing, and what was found is trusted.
pub fn a_close_keeps_everything(make: &mut Make<'_>) {
    let mut subject = make();
    let mut machine = subject.open();
    apply(subject.as_ref(), machine.as_mut(), 1..=ENTRIES);
    let expected = labelled_dump(machine.as_ref());
    machine.close().expect("a close");
    drop(machine);
    let machine = subject.open();
    assert_eq!(labelled_dump(machine.as_ref()), expected);
    assert!(machine.as_applied_index_reader().is_none_or(super::AppliedIndexReader::is_trusted));
}

/// What is applied after a view was opened is not in it, what was before is.
pub fn a_view_holds_exactly_its_label(make: &mut Make<'_>) {
    let mut subject = make();
    let mut machine = subject.open();
    apply(subject.as_ref(), machine.as_mut(), 1..=ENTRIES / 2);
    let expected = labelled_dump(machine.as_ref());
    let mut views: Vec<_> = (0..3).map(|_| machine.view().expect("a view")).collect();
    for index in ENTRIES / 2 + 1..=ENTRIES {
        apply(subject.as_ref(), machine.as_mut(), index..=index);
        if index % 10 == 0 {
            machine.checkpoint().expect("a checkpoint beside a view");
            assert_eq!(dump_view(views.pop().expect("a view for every checkpoint").as_mut()), expected);
        }
    }
    assert_ne!(labelled_dump(machine.as_ref()), expected, "the check wrote something");
}

/// A restore ends in the state the snapshot was taken from, whatever was there before, and is durable.
pub fn a_restore_brings_the_same_state_durably(make: &mut Make<'_>) {
    let mut origin = make();
    let mut machine = origin.open();
    apply(origin.as_ref(), machine.as_mut(), 1..=ENTRIES);
    let (label, records) = labelled_dump(machine.as_ref());
    for entries_before in [0, 5] {
        let mut subject = make();
        let mut machine = subject.open();
        let reader = machine.reader();
        if entries_before > 0 {
            apply(subject.as_ref(), machine.as_mut(), 1..=entries_before);
        }
        machine.restore(&mut Records::of(&records), &label).expect("a restore");
        assert_eq!(labelled_dump(machine.as_ref()), (label.clone(), records.clone()));
        assert_eq!(machine.durable_applied(), label.applied.index, "a restore is durable");
        drop(reader);
        drop(machine);
        subject.crash();
        let mut machine = subject.open();
        assert_eq!(labelled_dump(machine.as_ref()), (label.clone(), records.clone()), "after a crash");
        apply(subject.as_ref(), machine.as_mut(), ENTRIES + 1..=ENTRIES + 5);
    }
}

/// A source that fails, or whose digest does not add up, changes nothing.
pub fn a_failed_restore_leaves_the_old_state(make: &mut Make<'_>) {
    let mut subject = make();
    let mut machine = subject.open();
    apply(subject.as_ref(), machine.as_mut(), 1..=ENTRIES);
    machine.checkpoint().expect("a checkpoint");
    let before = labelled_dump(machine.as_ref());
    let (label, records) = before.clone();
    for at in [0, records.len() / 2, records.len()] {
        let mut source = Records { fails_at: Some(at), ..Records::of(&records) };
        let label = AppliedRecord { applied: EntryId { index: Index(99), ..label.applied }, ..label.clone() };
        machine.restore(&mut source, &label).expect_err("the source failed");
        assert_eq!(labelled_dump(machine.as_ref()), before, "after a source that failed at {at}");
    }
    let wrong = AppliedRecord { digest: label.digest.with(1), ..label };
    let cause = machine.restore(&mut Records::of(&records), &wrong).expect_err("the digest is wrong");
    assert!(cause.is_corruption(), "a wrong digest is corruption, not: {cause}");
    drop(machine);
    subject.crash();
    assert_eq!(labelled_dump(subject.open().as_ref()), before, "after a crash");
}

/// The state is a function of the entries, not of how they were handed in.
pub fn the_state_does_not_depend_on_how_entries_are_batched(make: &mut Make<'_>) {
    let mut expected = None;
    for batch_entries in [1, 7, ENTRIES] {
        let mut subject = make();
        let mut machine = subject.open();
        let mut outputs = Vec::new();
        let mut next = 1;
        while next <= ENTRIES {
            let last = ENTRIES.min(next + batch_entries - 1);
            outputs.extend(apply(subject.as_ref(), machine.as_mut(), next..=last));
            next = last + 1;
        }
        let found = (labelled_dump(machine.as_ref()), outputs);
        assert_eq!(*expected.get_or_insert_with(|| found.clone()), found, "in batches of {batch_entries}");
    }
}

/// Applies entries `range` in one call. Every fourth one is no command.
fn apply(
    subject: &dyn Subject,
    machine: &mut dyn StateMachine,
    range: std::ops::RangeInclusive<u64>,
) -> Vec<Bytes> {
    let record = record_at(*range.end());
    let commands: Vec<_> = range
        .filter(|index| index % 4 != 0)
        .map(|index| Command { id: record_at(index).applied, body: subject.command(index) })
        .collect();
    for command in &commands {
        machine.check(&command.body).expect("a valid command");
    }
    let outputs = machine.apply(&commands, &record).expect("an apply");
    assert_eq!(outputs.len(), commands.len(), "one output per command");
    outputs
}

fn record_of(machine: &dyn StateMachine) -> Option<AppliedRecord> {
    match machine.as_applied_index_reader() {
        Some(reader) => reader.applied_record().expect("the applied record"),
        None => machine.view().ok().map(|view| view.record().clone()),
    }
}

/// The state, by a view, and its label, which the applied record confirms.
fn labelled_dump(machine: &dyn StateMachine) -> (AppliedRecord, Dump) {
    let found = dump_view(machine.view().expect("a view").as_mut());
    assert_eq!(Some(&found.0), record_of(machine).as_ref(), "a view's label is the applied record");
    found
}

fn dump_view(view: &mut dyn super::StateView) -> (AppliedRecord, Dump) {
    struct Sink(Dump);
    impl SnapshotSink for Sink {
        fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
            assert!(self.0.last().is_none_or(|(last, _)| &last[..] < key), "a view is in key order");
            self.0.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            Ok(())
        }
    }
    let mut sink = Sink(Vec::new());
    view.write_to(&mut sink).expect("a view is readable");
    (view.record().clone(), sink.0)
}

/// A snapshot in memory.
struct Records {
    rest: std::vec::IntoIter<(Bytes, Bytes)>,
    given: usize,
    fails_at: Option<usize>,
}

impl Records {
    fn of(records: &Dump) -> Self {
        Self { rest: records.clone().into_iter(), given: 0, fails_at: None }
    }
}

impl SnapshotSource for Records {
    fn next_record(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        if self.fails_at == Some(self.given) {
            return Err(Error::Malformed { what: "snapshot source of the conformance suite" });
        }
        self.given += 1;
        Ok(self.rest.next())
    }
}
