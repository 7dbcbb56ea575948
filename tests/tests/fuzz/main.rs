//! Every decoder on its corpus and 20,000 seeded mutations of it. `tests/fuzz.sh` looks for new inputs.
//!
//! `QUORATE_FUZZ_SEED=n` takes another seed, `QUORATE_FUZZ_CASES=n` another number of mutations, and
//! `QUORATE_FUZZ_CASE=n` only that one.

use std::collections::BTreeSet;
use std::fs;

use quorate_tests::faults::source_root;
use quorate_tests::fuzz::allocator::Counting;
use quorate_tests::fuzz::replay::{Plan, replay};
use quorate_tests::fuzz::{corpus, find, targets};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Mutations of each target.
const CASES: u64 = 20_000;
/// Decides which.
const SEED: u64 = 1;
/// Of all files of the corpus together.
const CORPUS_BYTES_MAX: u64 = 300 << 10;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

fn plan() -> Plan {
    let seed = number("QUORATE_FUZZ_SEED").unwrap_or(SEED);
    match number("QUORATE_FUZZ_CASE") {
        Some(first) => Plan { seed, first, cases: 1 },
        None => Plan { seed, first: 0, cases: number("QUORATE_FUZZ_CASES").unwrap_or(CASES) },
    }
}

fn run(name: &str) {
    let target = find(name).unwrap_or_else(|| panic!("{name} is no target"));
    let plan = plan();
    if let Err(failure) = replay(&target, plan) {
        panic!("{failure}");
    }
}

/// A test of each target, so that they run side by side.
macro_rules! tests_of {
    ($($name:ident),* $(,)?) => {
        mod no_bytes_break {
            $(#[test]
            fn $name() {
                super::run(stringify!($name));
            })*
        }

        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

tests_of!(
    applied_record,
    backup_manifest,
    catalog,
    conf_change,
    config_file,
    group_descriptor,
    handshake,
    identity_file,
    kv_command,
    kv_outcome,
    log_segment,
    lsm_version,
    marker,
    memory_store,
    payload,
    raft_messages,
    raft_start,
    raft_steps,
    replica_message,
    resp_stream,
    rpc_reply,
    rpc_request,
    snapshot_chunks,
    snapshot_file,
    trust_file,
    wire_body,
    wire_stream,
);

#[test]
fn every_target_is_tested() {
    let names: Vec<&str> = targets().iter().map(|target| target.name).collect();
    assert_eq!(names, TESTED);
}

#[test]
fn the_corpus_has_every_target_is_small_and_what_is_written_now() {
    let mut bytes = 0;
    for target in targets() {
        if std::env::var_os("QUORATE_WRITE_CORPUS").is_some() {
            corpus::write(&target).unwrap();
        }
        let samples = corpus::committed(&target).unwrap_or_default();
        for seed in corpus::seeds(&target).iter().filter(|_| target.name != "lsm_version") {
            let is_there = samples.contains(seed);
            assert!(
                is_there,
                "{} of {} is not what is written now: QUORATE_WRITE_CORPUS=1",
                seed.name, target.name
            );
        }
        assert!(!samples.is_empty(), "no corpus of {}: QUORATE_WRITE_CORPUS=1", target.name);
        bytes += samples.iter().map(|sample| sample.bytes.len() as u64).sum::<u64>();
    }
    assert!(bytes <= CORPUS_BYTES_MAX, "{bytes} bytes");
    let names: BTreeSet<_> = targets().iter().map(|target| target.name.to_owned()).collect();
    let entries = fs::read_dir(source_root().join("tests/corpus")).unwrap();
    let found: BTreeSet<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(found, names, "directories of targets");
}
