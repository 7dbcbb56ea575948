//! An LSM tree whose list of tables has rotten.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate_telemetry::{BootId, SeededRng, SimClock, ThreadWorkers};

use crate::disk::{Disk, RealDisk};
use crate::ids::Index;
use crate::kv::{Batch, KvEngine, StoreConfig, StoreKind, StoreShared, count_lsm_tables, record};

/// Each is flushed to a table of its own.
const BATCHES: u64 = 3;

pub(super) fn engine_on(disk: Arc<dyn Disk>) -> Arc<dyn KvEngine> {
    let workers = Arc::new(ThreadWorkers::new("flush", NonZeroUsize::MIN).unwrap());
    let clock = Arc::new(SimClock::new(Duration::ZERO, BootId([1; 16])));
    let shared = StoreShared::new(StoreConfig::default(), workers, clock);
    shared.engine(StoreKind::Lsm, disk, Arc::new(SeededRng::new(1)))
}

fn engine() -> Arc<dyn KvEngine> {
    engine_on(Arc::new(RealDisk::new()))
}

pub(super) fn write_tables(dir: &Path) {
    let mut store = engine().open(dir).unwrap();
    for index in 1..=BATCHES {
        let mut batch = Batch::new(Index(index));
        record::put(&mut batch, format!("key-{index}").as_bytes(), b"value");
        batch.set_marker(vec![1; 8]);
        store.write(&batch).unwrap();
        assert_eq!(store.checkpoint().unwrap(), Index(index));
    }
    store.close().unwrap();
}

/// The library opens such a tree without some of its tables, or asks for more memory than there is and aborts.
#[test]
fn a_tree_whose_version_or_its_name_has_a_flipped_bit_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    write_tables(dir.path());
    let mut tried = 0;
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let whole = fs::read(&path).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, flipped).unwrap();
            assert!(engine().open(dir.path()).is_err(), "bit {bit} of {} went unnoticed", path.display());
            tried += 1;
        }
        fs::write(&path, whole).unwrap();
    }
    assert!(tried > 8 * 100, "{tried} bits");
    assert_eq!(engine().open(dir.path()).unwrap().durable_index(), Index(BATCHES));
}

/// The library makes room for the sections a version claims to have before it looks at the first.
#[test]
fn a_version_that_claims_more_sections_than_it_has_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    write_tables(dir.path());
    let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let version = names.into_iter().find(|path| path.file_name().unwrap().to_string_lossy().starts_with('v'));
    let whole = fs::read(version.unwrap()).unwrap();
    assert!(count_lsm_tables(&whole).is_some());
    let table = whole.windows(4).rposition(|magic| magic == b"TOC!").unwrap();
    let mut claiming = whole.clone();
    claiming[table + 4..table + 8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(count_lsm_tables(&claiming), None);
}
