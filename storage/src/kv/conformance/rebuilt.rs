//! A store that is built anew while it is used.

use std::sync::Arc;

use bytes::Bytes;

use super::interrupted::{Dump, dump};
use super::stopping_disk::StoppingDisk;
use super::{Make, Subject};
use crate::disk::Disk;
use crate::kv::{KvCommand, KvStateMachine, Op, ScanRange};
use crate::snapshot::SnapshotSink;
use crate::state::conformance::{GROUP_UID, record_at};
use crate::state::{AppliedRecord, Command, StateMachine, StateRebuild, StateView, Switch};

/// Entries that are applied before.
const ENTRIES: u64 = 40;

/// Most steps of a build; more means that it comes to no end.
const STEPS_MAX: u64 = 10_000;

fn open(disk: Arc<dyn Disk>, subject: &dyn Subject) -> KvStateMachine {
    let dir = subject.dir().join("state");
    KvStateMachine::open(subject.engine(disk.clone()), disk, &dir, GROUP_UID)
}

/// Applies entry `index`: overwrites, inserts and removes.
fn apply(machine: &mut KvStateMachine, index: u64) -> crate::Result<()> {
    let key = |n: u64| Bytes::from(format!("key-{:02}", n % 17));
    let value = Bytes::from(format!("{index:-<300}"));
    let ops = vec![Op::Put(key(index), value), Op::Delete(key(index * 5 + 3))];
    let body = KvCommand { conditions: Vec::new(), ops }.encode()?;
    machine.apply(&[Command { id: record_at(index).applied, body }], &record_at(index)).map(drop)
}

/// Builds in steps of `bytes_max`, and switches; `between` is done after each step.
fn rebuild(
    machine: &mut KvStateMachine,
    bytes_max: u64,
    mut between: impl FnMut(&mut KvStateMachine) -> crate::Result<()>,
) -> crate::Result<Switch> {
    let mut build = machine.begin_rebuild(0)?;
    for _ in 0..STEPS_MAX {
        let step = match build.step(bytes_max) {
            Ok(step) => step,
            Err(failure) => return Ok(Switch::Abandoned(failure)),
        };
        between(machine)?;
        if step.is_done {
            match machine.finish_rebuild(build)? {
                Switch::Behind(back) => build = back,
                ended => return Ok(ended),
            }
        }
    }
    panic!("a build takes more than {STEPS_MAX} steps");
}

fn all(machine: &KvStateMachine) -> Dump {
    let everything = ScanRange { start: b"", end: None, reverse: false };
    let reader = machine.reader();
    let kv = reader.as_kv().expect("a key-value state");
    kv.scan(everything, usize::MAX, usize::MAX).expect("a scan")
}

/// What an open view gives.
fn read(view: &mut dyn StateView) -> (AppliedRecord, Dump) {
    struct Sink(Dump);
    impl SnapshotSink for Sink {
        fn put(&mut self, key: &[u8], value: &[u8]) -> crate::Result<()> {
            self.0.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            Ok(())
        }
    }
    let mut sink = Sink(Vec::new());
    view.write_to(&mut sink).expect("a readable view");
    (view.record().clone(), sink.0)
}

/// In steps of any size, and with entries applied between them: after the switch the state is what it was, with what was
/// applied meanwhile; it is durable, goes on, and stands in one generation, the next. Whoever reads, or has a view, notices
/// nothing.
pub fn a_store_built_anew_is_the_state(make: &mut Make<'_>) {
    for bytes_max in [1, 2_000, u64::MAX] {
        let subject = make();
        let mut machine = open(subject.disk(), subject.as_ref());
        let mut index = 0;
        let mut next = |machine: &mut KvStateMachine| {
            index += 1;
            apply(machine, index)
        };
        (0..ENTRIES).for_each(|_| next(&mut machine).expect("an apply"));
        let old = dump(&machine);
        let (mut view, reader) = (machine.view().expect("a view"), machine.reader());
        let switch = rebuild(&mut machine, bytes_max, &mut next).expect("a switch");
        assert!(matches!(switch, Switch::Switched), "in steps of {bytes_max} bytes");
        let new = dump(&machine);
        assert_eq!(machine.durable_applied(), new.0.applied.index, "what was switched to is durable");
        assert_eq!(new.1, all(&machine));
        assert!(new.0.applied.index.get() > ENTRIES, "nothing was applied meanwhile");
        assert!(read(view.as_mut()) == old, "a view from before the switch changed");
        let kv = reader.as_kv().expect("a key-value state");
        let (key, value) = &new.1[0];
        assert_eq!(kv.get(key).expect("a get").as_ref(), Some(value), "a reader from before the switch");
        drop(view);

        next(&mut machine).expect("an apply");
        let last = dump(&machine);
        let unbuilt = make();
        let mut reference = open(unbuilt.disk(), unbuilt.as_ref());
        (1..=index).for_each(|index| apply(&mut reference, index).expect("an apply"));
        assert!(last == dump(&reference), "in steps of {bytes_max} bytes it is another state");
        machine.close().expect("a close");
        drop((machine, reader));
        let names = names(subject.as_ref());
        assert_eq!(names, ["2"], "the generations that are left");
        assert!(dump(&open(subject.disk(), subject.as_ref())) == last, "after a restart");
    }
}

fn names(subject: &dyn Subject) -> Vec<String> {
    let entries = subject.disk().list(&subject.dir().join("state")).expect("a list");
    entries.into_iter().map(|entry| entry.name).collect()
}

/// Whatever step of a rebuild is the last before the process dies: the next start finds the state as it was when it began,
/// or as it was at the switch, and nothing of the build; and it is trusted.
pub fn a_rebuild_interrupted_anywhere_leaves_one_whole_state(make: &mut Make<'_>) {
    for steps in 0..STEPS_MAX {
        let mut subject = make();
        let disk = StoppingDisk::new(subject.disk());
        let mut machine = open(Arc::new(disk.clone()), subject.as_ref());
        for index in 1..=ENTRIES {
            apply(&mut machine, index).expect("an apply");
        }
        machine.checkpoint().expect("a checkpoint");
        let old = dump(&machine);
        disk.stop_after(steps);
        let mut applied = vec![old.clone()];
        let ended = rebuild(&mut machine, 2_000, |machine| {
            let index = ENTRIES + applied.len() as u64;
            apply(machine, index)?;
            applied.push(dump(machine));
            Ok(())
        });
        let is_switched = matches!(ended, Ok(Switch::Switched));
        if let Ok(Switch::Abandoned(_)) = ended {
            assert!(machine.failure().is_none(), "a build that came to nothing harms the state");
        }
        drop(machine);
        let was_stopped = disk.was_stopped();
        drop(disk);
        subject.crash_process();

        let mut machine = open(subject.disk(), subject.as_ref());
        let found = dump(&machine);
        assert!(applied.contains(&found), "no whole state is left after {steps} steps");
        assert!(
            !is_switched || applied.last() == Some(&found),
            "what was switched to is gone after {steps} steps"
        );
        assert_eq!(names(subject.as_ref()).len(), 1, "a start leaves orphans after {steps} steps");
        let again = rebuild(&mut machine, u64::MAX, |_| Ok(())).expect("a switch");
        assert!(matches!(again, Switch::Switched), "the second rebuild after {steps} steps");
        assert!(dump(&machine) == found, "the second rebuild after {steps} steps");
        if !was_stopped {
            return;
        }
    }
    panic!("a rebuild takes more than {STEPS_MAX} steps");
}
