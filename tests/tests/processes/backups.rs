//! `quorate backup`, `verify` and `restore` on clusters of processes.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use quorate::backup::{Backup, Manifest};
use quorate::disk::RealDisk;
use quorate_tests::process::{ClusterSettings, Node, NodeSpec, quorate_binary};
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;

const KEYS: u32 = 3_000;
/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn settings(nodes: u16, sections: &str) -> ClusterSettings {
    let keys = "routing = \"proxy\"".to_owned();
    let (replication, sections) = (nodes.min(3), sections.to_owned());
    ClusterSettings { nodes, replication, keys, sections, ..ClusterSettings::default() }
}

/// A cluster of another name than the one of a backup.
fn renamed(directory: &Path, nodes: u16) -> Vec<NodeSpec> {
    std::fs::create_dir(directory).unwrap();
    let specs = NodeSpec::cluster(directory, &settings(nodes, ""));
    for spec in &specs {
        let config = std::fs::read_to_string(&spec.config).unwrap();
        std::fs::write(&spec.config, config.replace("cluster = \"tests\"", "cluster = \"again\"")).unwrap();
    }
    specs
}

fn quorate(args: &[&str]) -> Command {
    let mut command = Command::new(quorate_binary());
    command.args(args).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

fn backup(spec: &NodeSpec, out: &Path) -> Command {
    let mut command = quorate(&["backup", "--json", "--node", &format!("http://{}", spec.admin), "--out"]);
    command.arg(out);
    command
}

fn restore(spec: &NodeSpec, from: &Path) -> Output {
    quorate(&["restore"]).arg(from).arg("--config").arg(&spec.config).output().unwrap()
}

fn verify(dir: &Path) -> Option<i32> {
    quorate(&["verify"]).arg(dir).stdout(Stdio::null()).status().unwrap().code()
}

fn manifest(dir: &Path) -> Manifest {
    Backup::open(Arc::new(RealDisk::new()), dir).unwrap().manifest().clone()
}

/// Digest and count of every user group.
fn content(dir: &Path) -> Vec<(u64, Option<u128>, u64)> {
    let groups = manifest(dir).groups.into_iter().skip(1);
    groups.map(|group| (group.group.get(), group.digest.map(|digest| digest.0), group.records)).collect()
}

async fn connect(spec: &NodeSpec) -> MultiplexedConnection {
    let client = redis::Client::open(format!("redis://{}/", spec.resp)).unwrap();
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(20)));
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

/// Sets every key to `round`.
async fn write(connection: &mut MultiplexedConnection, round: u32) {
    for first in (0..KEYS).step_by(100) {
        let mut pipeline = redis::pipe();
        for at in first..first + 100 {
            pipeline.set(format!("key-{at}"), round).ignore();
        }
        pipeline.query_async::<()>(connection).await.expect("writes");
    }
}

/// Every key has the value of `round`, or of a later one.
async fn check(spec: &NodeSpec, round: u32) {
    let mut connection = connect(spec).await;
    for first in (0..KEYS).step_by(100) {
        let keys: Vec<String> = (first..first + 100).map(|at| format!("key-{at}")).collect();
        let values: Vec<Option<u32>> = connection.mget(&keys).await.expect("values");
        for (key, value) in keys.iter().zip(values) {
            assert!(value.is_some_and(|value| value >= round), "{key}: {value:?}, acknowledged {round}");
        }
    }
}

fn stop(nodes: Vec<Node>) {
    for node in &nodes {
        node.signal(rustix::process::Signal::TERM);
    }
    for mut node in nodes {
        assert!(node.wait().code().is_some(), "a signal ends it by its own will");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_writes_becomes_a_cluster_of_three_and_one_of_one() {
    let directory = tempfile::tempdir().unwrap();
    let old_dir = directory.path().join("old");
    std::fs::create_dir(&old_dir).unwrap();
    let specs = NodeSpec::cluster(&old_dir, &settings(3, ""));
    let nodes = Node::start_all(&specs);
    write(&mut connect(&specs[0]).await, 1).await;
    let (stopping, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(1)));
    let writer = {
        let (stopping, written, mut connection) =
            (Arc::clone(&stopping), Arc::clone(&written), connect(&specs[1]).await);
        tokio::spawn(async move {
            while !stopping.load(Ordering::Relaxed) {
                let round = written.load(Ordering::Relaxed) + 1;
                write(&mut connection, round).await;
                written.store(round, Ordering::Relaxed);
            }
        })
    };
    let (out, acknowledged) = (directory.path().join("backup"), written.load(Ordering::Relaxed));
    let taken = tokio::task::block_in_place(|| backup(&specs[2], &out).output().unwrap());
    stopping.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    assert_eq!(taken.status.code(), Some(0), "{taken:?}");
    assert!(String::from_utf8_lossy(&taken.stdout).contains("\"groups\": 9"), "{taken:?}");
    assert_eq!(verify(&out), Some(0));
    let user_records: u64 = content(&out).iter().map(|(_, _, records)| records).sum();
    assert_eq!(user_records, u64::from(KEYS));
    let same = restore(&specs[0], &out);
    assert_eq!(same.status.code(), Some(3), "the old cluster's own name: {same:?}");
    stop(nodes);

    let mut contents = Vec::new();
    for count in [3, 1] {
        let dir = directory.path().join(format!("new-{count}"));
        let specs = renamed(&dir, count);
        for spec in &specs {
            let restored = restore(spec, &out);
            assert_eq!(restored.status.code(), Some(0), "{restored:?}");
            assert_eq!(restore(spec, &out).status.code(), Some(3), "it is there already");
        }
        let nodes = Node::start_all(&specs);
        check(specs.last().unwrap(), acknowledged).await;
        let again = dir.join("backup");
        let taken = tokio::task::block_in_place(|| backup(&specs[0], &again).output().unwrap());
        assert_eq!(taken.status.code(), Some(0), "{taken:?}");
        contents.push(content(&again));
        let later = written.load(Ordering::Relaxed) + 1_000;
        write(&mut connect(&specs[0]).await, later).await;
        stop(nodes);
        let nodes = Node::start_all(&specs);
        check(&specs[0], later).await;
        stop(nodes);
    }
    assert_eq!(contents[0], contents[1], "the same groups of the same cluster name have the same digests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_killed_leaves_nothing_that_verifies_and_is_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let slow = "[snapshots]\nbytes_per_second = \"64KiB\"\n";
    let specs = NodeSpec::cluster(directory.path(), &settings(1, slow));
    let node = Node::start(&specs[0]);
    let mut connection = connect(&specs[0]).await;
    for at in 0..40 {
        connection.set::<_, _, ()>(format!("key-{at}"), vec![b'x'; 64 << 10]).await.unwrap();
    }
    let (out, part) = (directory.path().join("backup"), directory.path().join("backup.part"));
    let mut killed = backup(&specs[0], &out).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    // A user group's file is arriving.
    let is_arriving = || {
        let entries = std::fs::read_dir(&part).into_iter().flatten().flatten();
        let sizes = entries.filter(|entry| !entry.file_name().to_string_lossy().contains("group-0"));
        sizes.filter_map(|entry| entry.metadata().ok()).any(|metadata| metadata.len() > 0)
    };
    while !is_arriving() {
        assert!(begun.elapsed() < PATIENCE, "nothing arrived");
        assert!(killed.try_wait().unwrap().is_none(), "it ended by itself");
        tokio::task::yield_now().await;
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(!out.exists() && part.exists());
    assert_ne!(verify(&part), Some(0));
    let config = directory.path().join("node-1.toml");
    let restored = quorate(&["restore"]).arg(&part).arg("--config").arg(config).output().unwrap();
    assert_eq!(restored.status.code(), Some(3), "{restored:?}");
    // At the node's usual rate.
    assert!(node.terminate().success());
    let text = std::fs::read_to_string(&specs[0].config).unwrap();
    std::fs::write(&specs[0].config, text.replace("64KiB", "64MiB")).unwrap();
    let node = Node::start(&specs[0]);
    let taken = tokio::task::block_in_place(|| backup(&specs[0], &out).output().unwrap());
    assert_eq!(taken.status.code(), Some(0), "{taken:?}");
    assert_eq!(verify(&out), Some(0));
    assert!(!part.exists());
    assert!(node.terminate().success());
}

#[test]
fn a_group_without_a_leader_is_named_and_nothing_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let specs = NodeSpec::cluster(directory.path(), &settings(3, ""));
    let mut nodes = Node::start_all(&specs);
    for node in nodes.split_off(1) {
        node.kill();
    }
    let out = directory.path().join("backup");
    let failed = backup(&specs[0], &out).args(["--patience", "3s"]).output().unwrap();
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let told = String::from_utf8_lossy(&failed.stderr);
    assert!(told.contains("quorate: group 0: "), "{told}");
    assert!(!out.exists() && !directory.path().join("backup.part").exists());
}
