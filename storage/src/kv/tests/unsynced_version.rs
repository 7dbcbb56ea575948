//! An LSM tree whose process died between the renaming of its `current` and the sync of the directory.

use std::sync::Arc;

use super::rotten_version::{engine_on, write_tables};
use crate::disk::RealDisk;
use crate::error::Error;
use crate::kv::conformance::StoppingDisk;

/// Whoever opens a tree is told that what it holds is durable.
#[test]
fn a_tree_is_not_opened_before_the_name_of_its_version_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    write_tables(dir.path());
    let disk = StoppingDisk::new(Arc::new(RealDisk::new()));
    disk.stop_after(0);
    let error = engine_on(Arc::new(disk.clone())).open(dir.path()).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path == dir.path()), "{error}");
    disk.stop_after(1);
    engine_on(Arc::new(disk)).open(dir.path()).unwrap();
}
