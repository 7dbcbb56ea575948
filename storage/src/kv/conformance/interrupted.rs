//! A restore that stops at any of its steps.

use std::sync::Arc;

use bytes::Bytes;

use super::Make;
use super::stopping_disk::StoppingDisk;
use crate::disk::Disk;
use crate::error::Result;
use crate::kv::{KvCommand, KvStateMachine, Op};
use crate::snapshot::{SnapshotSink, SnapshotSource};
use crate::state::conformance::{GROUP_UID, record_at};
use crate::state::{AppliedIndexReader, AppliedRecord, Command, StateMachine};

pub(super) type Dump = Vec<(Bytes, Bytes)>;

/// Most steps of a restore; more means that the check never got through one.
const STEPS_MAX: u64 = 1_000;

/// Whatever step of a restore is the last before the process dies: the next start finds the old state or the
/// new one, never a mixture, and a restore then succeeds.
pub fn a_restore_interrupted_anywhere_leaves_one_whole_state(make: &mut Make<'_>) {
    let new = state_of(make, 9);
    for steps in 0..STEPS_MAX {
        let mut subject = make();
        let dir = subject.dir().join("state");
        let open = |disk: Arc<dyn Disk>, subject: &dyn super::Subject| {
            KvStateMachine::open(subject.engine(disk.clone()), disk, &dir, GROUP_UID)
        };
        let mut machine = open(subject.disk(), subject.as_ref());
        fill(&mut machine, 3);
        machine.close().expect("a close");
        drop(machine);

        let disk = StoppingDisk::new(subject.disk());
        let mut machine = open(Arc::new(disk.clone()), subject.as_ref());
        let old = dump(&machine);
        disk.stop_after(steps);
        let result = machine.restore(&mut Source(new.1.clone().into_iter()), &new.0);
        let is_whole = result.is_ok();
        drop(machine);
        let was_stopped = disk.was_stopped();
        drop(disk);
        subject.crash_process();

        let mut machine = open(subject.disk(), subject.as_ref());
        let found = dump(&machine);
        assert!(found == old || found == new, "neither state is whole after {steps} steps: {result:?}");
        assert!(!is_whole || found == new, "a restore that succeeded is gone after {steps} steps");
        let entries = subject.disk().list(&dir).expect("a list");
        assert_eq!(entries.len(), 1, "a start leaves orphans after {steps} steps: {entries:?}");
        machine.restore(&mut Source(new.1.clone().into_iter()), &new.0).expect("a restore");
        assert!(dump(&machine) == new, "the second restore after {steps} steps");
        if !was_stopped {
            return;
        }
    }
    panic!("a restore takes more than {STEPS_MAX} steps");
}

/// A restore in pieces of any size ends as one at once does; the old state can be read until its last piece, and one that
/// is given up for another snapshot, or for ever, leaves nothing.
pub fn a_restore_in_pieces_is_the_restore_at_once(make: &mut Make<'_>) {
    let (first, second) = (state_of(make, 7), state_of(make, 9));
    for bytes_max in [1, 40, u64::MAX] {
        let subject = make();
        let (disk, dir) = (subject.disk(), subject.dir().join("state"));
        let mut machine = KvStateMachine::open(subject.engine(disk.clone()), disk.clone(), &dir, GROUP_UID);
        fill(&mut machine, 3);
        let old = dump(&machine);
        let mut given_up = Source(first.1.clone().into_iter());
        assert!(!machine.restore_some(&mut given_up, &first.0, 1).expect("a piece"), "there is more");
        let mut source = Source(second.1.clone().into_iter());
        while !machine.restore_some(&mut source, &second.0, bytes_max).expect("a piece") {
            assert!(dump(&machine) == old, "the old state is gone before the new one is there");
        }
        assert!(dump(&machine) == second, "in pieces of {bytes_max} bytes");
        machine.restore_some(&mut Source(first.1.clone().into_iter()), &first.0, 1).expect("a piece");
        machine.close().expect("a close");
        drop(machine);
        let machine = KvStateMachine::open(subject.engine(disk.clone()), disk.clone(), &dir, GROUP_UID);
        assert!(dump(&machine) == second, "what was not finished counts");
        assert_eq!(disk.list(&dir).expect("a list").len(), 1, "a start leaves orphans");
    }
}

/// A view that is written in pieces of any size is written whole, and each piece has at least one record.
pub fn a_view_in_pieces_is_the_view_at_once(make: &mut Make<'_>) {
    let subject = make();
    let (disk, dir) = (subject.disk(), subject.dir().join("state"));
    let mut machine = KvStateMachine::open(subject.engine(disk.clone()), disk, &dir, GROUP_UID);
    fill(&mut machine, 9);
    let (_, all) = dump(&machine);
    for bytes_max in [0, 1, 40, u64::MAX] {
        let (mut view, mut sink) = (machine.view().expect("a view"), Sink(Vec::new()));
        loop {
            let before = sink.0.len();
            let is_done = view.write_some(&mut sink, bytes_max).expect("a readable view");
            if is_done {
                break;
            }
            assert!(sink.0.len() > before, "a piece without a record");
        }
        assert!(sink.0 == all, "in pieces of {bytes_max} bytes");
    }
}

fn state_of(make: &mut Make<'_>, entries: u64) -> (AppliedRecord, Dump) {
    let subject = make();
    let disk = subject.disk();
    let dir = subject.dir().join("state");
    let mut machine = KvStateMachine::open(subject.engine(disk.clone()), disk, &dir, GROUP_UID);
    fill(&mut machine, entries);
    dump(&machine)
}

fn fill(machine: &mut KvStateMachine, entries: u64) {
    for index in 1..=entries {
        let put =
            |key: u64| Op::Put(Bytes::from(format!("{key}")), Bytes::from(format!("{index} of {entries}")));
        let command = KvCommand { conditions: Vec::new(), ops: (0..=index).map(put).collect() };
        let body = command.encode().expect("a valid command");
        let command = Command { id: record_at(index).applied, body };
        machine.apply(&[command], &record_at(index)).expect("an apply");
    }
}

pub(super) fn dump(machine: &KvStateMachine) -> (AppliedRecord, Dump) {
    let mut view = machine.view().expect("a view");
    let mut sink = Sink(Vec::new());
    view.write_to(&mut sink).expect("a readable view");
    assert_eq!(machine.applied_record().expect("a record").as_ref(), Some(view.record()));
    (view.record().clone(), sink.0)
}

struct Sink(Dump);

impl SnapshotSink for Sink {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.0.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        Ok(())
    }
}

struct Source(std::vec::IntoIter<(Bytes, Bytes)>);

impl SnapshotSource for Source {
    fn next_record(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        Ok(self.0.next())
    }
}
