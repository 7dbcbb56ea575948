//! What the key-value state machine itself decides.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use quorate_telemetry::rng::SeededRng;

use crate::disk::{CrashMode, Disk, OpenMode, SimDisk};
use crate::error::Error;
use crate::ids::Index;
use crate::kv::{
    Condition, Counts, KvCommand, KvOutcome, KvStateMachine, MemoryEngine, MemoryLoss, Op, OpResult,
    ScanRange,
};
use crate::snapshot::SnapshotSource;
use crate::state::conformance::{GROUP_UID, record_at};
use crate::state::{AppliedIndexReader, AppliedRecord, Command, StateDigest, StateMachine};

const DIR: &str = "/state";

fn open(disk: &SimDisk) -> KvStateMachine {
    let disk = Arc::new(disk.clone());
    let rng = Arc::new(SeededRng::new(1));
    let engine = Arc::new(MemoryEngine::new(disk.clone(), rng, Some(MemoryLoss::Tail)));
    KvStateMachine::open(engine, disk, Path::new(DIR), GROUP_UID)
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, value: &str) -> Op {
    Op::Put(bytes(key), bytes(value))
}

/// Applies `commands` as entries from `first` on, in one call.
fn apply(machine: &mut KvStateMachine, first: u64, commands: &[KvCommand]) -> Vec<KvOutcome> {
    let commands: Vec<_> = (first..)
        .zip(commands)
        .map(|(index, command)| Command { id: record_at(index).applied, body: command.encode().unwrap() })
        .collect();
    let record = record_at(first + commands.len() as u64 - 1);
    let outputs = machine.apply(&commands, &record).unwrap();
    outputs.iter().map(|output| KvOutcome::decode(output).unwrap()).collect()
}

fn write(ops: Vec<Op>) -> KvCommand {
    KvCommand { conditions: Vec::new(), ops }
}

fn applied(existed: &[bool]) -> KvOutcome {
    KvOutcome::Applied { results: existed.iter().map(|&existed| OpResult::done(existed)).collect() }
}

#[test]
fn commands_of_one_call_see_what_the_ones_before_them_did() {
    let mut machine = open(&SimDisk::new());
    let guarded = |condition, op| KvCommand { conditions: vec![condition], ops: vec![op] };
    let outcomes = apply(
        &mut machine,
        1,
        &[
            guarded(Condition::Absent(bytes("k")), put("k", "1")),
            guarded(Condition::Absent(bytes("k")), put("k", "2")),
            guarded(Condition::Equals(bytes("k"), bytes("1")), put("k", "3")),
            guarded(Condition::Equals(bytes("k"), bytes("1")), put("k", "4")),
            guarded(Condition::Present(bytes("k")), Op::Delete(bytes("k"))),
            guarded(Condition::Present(bytes("k")), put("k", "5")),
        ],
    );
    let refused = |actual: Option<&str>| KvOutcome::Refused { condition: 0, actual: actual.map(bytes) };
    assert_eq!(
        outcomes,
        [
            applied(&[false]),
            refused(Some("1")),
            applied(&[true]),
            refused(Some("3")),
            applied(&[true]),
            refused(None)
        ]
    );
    assert_eq!(machine.reader().as_kv().unwrap().get(b"k").unwrap(), None);
}

#[test]
fn operations_run_in_order_and_each_says_whether_its_key_was_there() {
    let mut machine = open(&SimDisk::new());
    let ops =
        vec![put("a", "1"), put("a", "2"), Op::Delete(bytes("a")), Op::Delete(bytes("a")), put("b", "")];
    assert_eq!(apply(&mut machine, 1, &[write(ops)]), [applied(&[false, true, true, false, false])]);
    let reader = machine.reader();
    let kv = reader.as_kv().unwrap();
    assert_eq!(kv.get(b"a").unwrap(), None);
    assert_eq!(kv.get(b"b").unwrap(), Some(Bytes::new()), "an empty value is a value");
}

#[test]
fn a_refused_command_changes_nothing_but_the_record() {
    let mut machine = open(&SimDisk::new());
    apply(&mut machine, 1, &[write(vec![put("a", "1")])]);
    let (digest, counts) = (machine.applied_record().unwrap().unwrap().digest, machine.counts());
    let conditions = vec![Condition::Present(bytes("a")), Condition::Absent(bytes("a"))];
    let outcome = apply(&mut machine, 2, &[KvCommand { conditions, ops: vec![put("b", "2")] }]);
    assert_eq!(outcome, [KvOutcome::Refused { condition: 1, actual: Some(bytes("1")) }]);
    let record = machine.applied_record().unwrap().unwrap();
    assert_eq!((record.applied.index, record.digest, machine.counts()), (Index(2), digest, counts));
}

#[test]
fn counts_and_digest_return_to_nothing_with_the_last_record() {
    let mut machine = open(&SimDisk::new());
    apply(&mut machine, 1, &[write(vec![put("a", "1"), put("bb", "22")])]);
    assert_eq!((machine.counts().records, machine.counts().bytes), (2, 6));
    apply(&mut machine, 2, &[write(vec![put("a", "333"), Op::Delete(bytes("bb"))])]);
    assert_eq!((machine.counts().records, machine.counts().bytes), (1, 4));
    apply(&mut machine, 3, &[write(vec![Op::Delete(bytes("a"))])]);
    assert_eq!(machine.counts(), Counts::default());
    assert_eq!(machine.applied_record().unwrap().unwrap().digest, StateDigest::EMPTY);
}

#[test]
fn a_reader_tells_the_counts_of_what_it_reads_also_after_a_reopening() {
    let disk = SimDisk::new();
    let mut machine = open(&disk);
    let reader = machine.reader();
    let counts = |reader: &dyn crate::state::StateReader| reader.as_kv().unwrap().counts().unwrap();
    apply(&mut machine, 1, &[write(vec![put("a", "1"), put("bb", "22")])]);
    assert_eq!(counts(reader.as_ref()), Counts { records: 2, bytes: 6 });
    apply(&mut machine, 2, &[write(vec![Op::Delete(bytes("bb"))])]);
    assert_eq!(counts(reader.as_ref()), machine.counts());
    machine.close().unwrap();
    drop((machine, reader));
    let machine = open(&disk);
    assert_eq!(counts(machine.reader().as_ref()), Counts { records: 1, bytes: 2 });
}

#[test]
fn pages_of_keys_go_on_where_they_were_cut() {
    let mut machine = open(&SimDisk::new());
    apply(&mut machine, 1, &[write((0..9).map(|n| put(&format!("k{n}"), "12345678")).collect())]);
    let reader = machine.reader();
    let kv = reader.as_kv().unwrap();
    let page = |start: &str, limit, bytes_max| {
        let range = ScanRange { start: start.as_bytes(), end: Some(b"k7"), reverse: false };
        let page = kv.keys(range, limit, bytes_max).unwrap();
        let text = |key: Bytes| String::from_utf8(key.to_vec()).unwrap();
        (page.keys.into_iter().map(text).collect::<Vec<_>>(), page.next.map(text))
    };
    let some = |key: &str| Some(key.to_owned());
    assert_eq!(page("k3", 99, 999), (["k3", "k4", "k5", "k6"].map(str::to_owned).to_vec(), None));
    assert_eq!(page("k3", 4, 999).1, None, "a full page that is the last says so");
    assert_eq!(page("k3", 2, 999), (vec!["k3".to_owned(), "k4".to_owned()], some("k5")));
    assert_eq!(page("k3", 99, 4).1, some("k5"));
    assert_eq!(page("k3", 99, 0), (vec!["k3".to_owned()], some("k4")), "at least one");
    assert_eq!(page("k3", 0, 99), (Vec::new(), some("k3")));
    assert_eq!(page("k7", 9, 99), (Vec::new(), None));
}

#[test]
fn a_scan_is_cut_by_count_and_by_bytes_but_gives_at_least_one() {
    let mut machine = open(&SimDisk::new());
    apply(&mut machine, 1, &[write((0..9).map(|n| put(&format!("k{n}"), "12345678")).collect())]);
    let reader = machine.reader();
    let kv = reader.as_kv().unwrap();
    let keys = |reverse, limit, bytes_max| {
        let range = ScanRange { start: b"k2", end: Some(b"k7"), reverse };
        let pairs = kv.scan(range, limit, bytes_max).unwrap();
        pairs.into_iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(keys(false, 99, 999), ["k2", "k3", "k4", "k5", "k6"]);
    assert_eq!(keys(true, 2, 999), ["k6", "k5"]);
    assert_eq!(keys(false, 99, 29), ["k2", "k3"]);
    assert_eq!(keys(false, 99, 0), ["k2"]);
    assert_eq!(keys(false, 0, 999), Vec::<String>::new());
    assert_eq!(kv.scan(ScanRange { start: b"", end: None, reverse: true }, 1, 99).unwrap()[0].0, "k8");
}

#[test]
fn what_apply_would_halt_on_is_refused_by_check_and_leaves_the_state() {
    let mut machine = open(&SimDisk::new());
    apply(&mut machine, 1, &[write(vec![put("a", "1")])]);
    let body = Bytes::from_static(b"\x07no command");
    assert!(machine.check(&body).is_err());
    let command = Command { id: record_at(2).applied, body };
    machine.apply(&[command], &record_at(2)).unwrap_err();
    assert_eq!(machine.applied_record().unwrap().unwrap().applied.index, Index(1));
    apply(&mut machine, 2, &[write(vec![put("a", "2")])]);
}

#[test]
fn a_store_that_does_not_open_is_reported_and_rebuilt() {
    let disk = SimDisk::new();
    let mut machine = open(&disk);
    apply(&mut machine, 1, &[write(vec![put("a", "1")])]);
    let label = machine.applied_record().unwrap().unwrap();
    machine.close().unwrap();
    drop(machine);
    // Written over by a marker whose record is damaged: the frames are whole, what they say is not.
    let file = disk.open(&Path::new(DIR).join("1/batches"), OpenMode::Write).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes[40] ^= 1;
    let crc = {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&0_u32.to_le_bytes());
        hasher.update(&bytes[8..]);
        hasher.finalize()
    };
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    file.write_all_at(&bytes, 0).unwrap();

    let mut machine = open(&disk);
    assert!(machine.failure().is_some_and(Error::is_corruption), "{:?}", machine.failure());
    assert!(machine.applied_record().is_err(), "the gate has to see it");
    assert!(!machine.is_trusted());
    let reader = machine.reader();
    assert!(reader.as_kv().unwrap().get(b"a").is_err());
    machine.restore(&mut One(Some((Bytes::from("a"), Bytes::from("1")))), &label).unwrap();
    assert_eq!(machine.applied_record().unwrap().unwrap(), label);
    assert_eq!(reader.as_kv().unwrap().get(b"a").unwrap().unwrap(), "1", "a reader outlives a restore");
    assert_eq!(disk.list(Path::new(DIR)).unwrap().len(), 1, "the broken generation is gone");
}

#[test]
fn an_unfinished_generation_is_dropped_at_the_next_start() {
    let disk = SimDisk::new();
    let mut machine = open(&disk);
    apply(&mut machine, 1, &[write(Vec::new())]);
    machine.close().unwrap();
    drop(machine);
    disk.create_dir_all(&Path::new(DIR).join("2.part")).unwrap();
    disk.create_dir_all(&Path::new(DIR).join("0")).unwrap();
    let disk = disk.crash(CrashMode::KeepAll);
    assert!(open(&disk).failure().is_none());
    let names: Vec<_> = disk.list(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["1"]);
}

#[test]
fn a_view_of_a_generation_that_was_replaced_stays_readable() {
    let disk = SimDisk::new();
    let mut machine = open(&disk);
    apply(&mut machine, 1, &[write(vec![put("a", "1")])]);
    let view = machine.view().unwrap();
    let label = AppliedRecord { digest: StateDigest::EMPTY, ..record_at(9) };
    machine.restore(&mut One(None), &label).unwrap();
    assert_eq!(view.record().applied.index, Index(1));
    assert_eq!(disk.list(Path::new(DIR)).unwrap().len(), 2, "its files are still there");
    drop(view);
    assert_eq!(disk.list(Path::new(DIR)).unwrap().len(), 1, "and go with it");
}

#[test]
#[should_panic(expected = "entry 1 is applied after 1")]
fn an_entry_is_never_applied_twice() {
    let mut machine = open(&SimDisk::new());
    for _ in 0..2 {
        apply(&mut machine, 1, &[write(Vec::new())]);
    }
}

/// A snapshot with at most one record.
struct One(Option<(Bytes, Bytes)>);

impl SnapshotSource for One {
    fn next_record(&mut self) -> crate::Result<Option<(Bytes, Bytes)>> {
        Ok(self.0.take())
    }
}

#[test]
fn what_a_store_finds_when_it_opens_survives_the_next_power_cut() {
    let disk = SimDisk::new();
    apply(&mut open(&disk), 2, &[write(vec![put("key", "value")])]);
    let disk = disk.crash(CrashMode::KeepAll);
    let durable = open(&disk).durable_applied();
    assert_eq!(durable, Index(2), "the process died, its writes did not");
    let disk = disk.crash(CrashMode::LoseUnsynced);
    let record = open(&disk).applied_record().unwrap();
    assert_eq!(record.map(|record| record.applied.index), Some(durable));
}
