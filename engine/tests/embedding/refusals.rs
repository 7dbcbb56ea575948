//! Directories a node must not touch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use quorate::storage::Error as StorageError;
use quorate::storage::identity::{FileHeader, FileKind, HEADER_BYTES};
use quorate::{Builder, Error, ReadLevel};

/// Every file below `dir`, with its bytes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.insert(path.clone(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

async fn written(dir: &Path) {
    let node = Builder::new(dir).cluster("ours").open().await.unwrap();
    node.put("a", "1").await.unwrap();
    node.shutdown().await.unwrap();
}

async fn refused(builder: Builder) -> StorageError {
    match builder.open().await {
        Err(Error::Storage(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let node = Builder::new(dir.path()).open().await.unwrap();
    let error = refused(Builder::new(dir.path())).await;
    assert!(matches!(&error, StorageError::Locked { path } if path.starts_with(dir.path())), "{error}");
    node.put("a", "1").await.unwrap();
    node.shutdown().await.unwrap();
    let again = Builder::new(dir.path()).open().await.unwrap();
    assert_eq!(again.get("a", ReadLevel::Linearizable).await.unwrap(), Some(Bytes::from_static(b"1")));
    again.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_another_cluster_or_node_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path()).await;
    let before = files(dir.path());
    let error = refused(Builder::new(dir.path()).cluster("theirs")).await;
    assert!(matches!(error, StorageError::Foreign { what: "cluster", .. }), "{error}");
    let error = refused(Builder::new(dir.path()).cluster("ours").node_id(2)).await;
    assert!(matches!(error, StorageError::Foreign { what: "node", .. }), "{error}");
    assert!(files(dir.path()) == before, "something was touched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_a_newer_format_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path()).await;
    let path = dir.path().join("node");
    let mut bytes = std::fs::read(&path).unwrap();
    let mut header = FileHeader::decode(&bytes, FileKind::Node, &path).unwrap();
    header.version += 1;
    bytes[..HEADER_BYTES].copy_from_slice(&header.encode());
    std::fs::write(&path, bytes).unwrap();
    let before = files(dir.path());
    let error = refused(Builder::new(dir.path()).cluster("ours")).await;
    assert!(matches!(error, StorageError::NewerFormat { found: 2, supported: 1, .. }), "{error}");
    assert!(files(dir.path()) == before, "something was touched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_that_cannot_work_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let opened = Builder::new(&data).node_id(0).open().await;
    assert!(matches!(opened, Err(Error::Config { field: "node", .. })), "{opened:?}");
    assert!(!data.exists());
}
