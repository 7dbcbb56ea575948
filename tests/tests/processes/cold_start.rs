//! What the cold-start gate makes of stopped, killed and damaged nodes: real processes, and the metrics an operator sees.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use quorate_tests::process::{ClusterSettings, Node, NodeSpec, page, quorate_binary, series};
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use serde_json::Value;

use crate::client::connect;

/// Groups beside group 0.
const GROUPS: u16 = 4;
/// Entries after which a group publishes a snapshot.
const SNAPSHOT_ENTRIES: u64 = 10;
/// Keys written in each round: about 25 entries in each group.
const KEYS: u32 = 100;
/// How long to wait for what happens by itself.
const PATIENCE: Duration = Duration::from_secs(60);

fn cluster(directory: &Path, sections: &str) -> Vec<NodeSpec> {
    let sections = format!(
        "[snapshots]\nentries = {SNAPSHOT_ENTRIES}\ntrailing_entries = 0\n\n[hlc]\nrenew = \"always\"\nwindow = \"1s\"\n\n\
         [scrub]\ninterval = \"0ms\"\n\n{sections}"
    );
    let keys = "routing = \"proxy\"".to_owned();
    NodeSpec::cluster(
        directory,
        &ClusterSettings { groups: GROUPS, keys, sections, ..ClusterSettings::default() },
    )
}

async fn write(spec: &NodeSpec, round: u32) {
    let mut connection = connect(spec).await;
    for at in 0..KEYS {
        connection.set::<_, _, ()>(format!("key-{at}"), round).await.expect("a write");
    }
}

async fn check(spec: &NodeSpec, round: u32) {
    let mut connection = connect(spec).await;
    for at in 0..KEYS {
        let found: Option<u32> = connection.get(format!("key-{at}")).await.expect("a read");
        assert_eq!(found, Some(round), "key-{at}");
    }
}

/// Writes until the connection breaks.
async fn load(mut connection: MultiplexedConnection) {
    for at in 0_u32.. {
        if connection.set::<_, _, ()>(format!("load-{}", at % 1_000), at).await.is_err() {
            return;
        }
    }
}

/// By group: outcome and reason of its one start in this process, as the metrics have them once all groups are in.
async fn starts(spec: &NodeSpec) -> BTreeMap<u16, (String, String)> {
    until("every group's start is counted", || counted_starts(spec).len() > usize::from(GROUPS)).await;
    counted_starts(spec)
}

fn counted_starts(spec: &NodeSpec) -> BTreeMap<u16, (String, String)> {
    let metrics = page(spec.admin, "/metrics");
    let mut starts = BTreeMap::new();
    for start in series(&metrics, "quorate_cold_start_restore_total") {
        assert!(start.value == 1, "a group starts once: {start:?}");
        let group = start.labels["group"].parse().expect("a group's id");
        let what = (start.labels["outcome"].clone(), start.labels["fallback_reason"].clone());
        assert!(starts.insert(group, what).is_none(), "a group starts in one way: {start:?}");
    }
    starts
}

fn start(outcome: &str, reason: &str) -> (String, String) {
    (outcome.to_owned(), reason.to_owned())
}

/// All groups, group 0 included, skipped.
fn all_skipped() -> BTreeMap<u16, (String, String)> {
    (0..=GROUPS).map(|group| (group, start("skipped", "none"))).collect()
}

fn value(spec: &NodeSpec, name: &str) -> u64 {
    series(&page(spec.admin, "/metrics"), name).iter().map(|series| series.value).sum()
}

/// A number of a group out of the status page.
fn status(spec: &NodeSpec, group: u16, field: &str) -> u64 {
    let page: Value = serde_json::from_str(&page(spec.admin, "/status")).expect("JSON");
    let groups = page["groups"].as_array().expect("groups");
    let line = groups.iter().find(|line| line["group"] == group).expect("the group");
    line[field].as_u64().unwrap_or_else(|| panic!("{field}: {line}"))
}

/// Looks again and again until `holds`.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The lines that the latest start of each group logged, by group.
fn logged_starts(spec: &NodeSpec) -> BTreeMap<String, Value> {
    let log = fs::read_to_string(&spec.log).expect("the log");
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let starts = lines.filter(|line| line["fields"]["message"] == "cold start");
    starts.map(|line| (line["fields"]["group"].to_string().trim_matches('"').to_owned(), line)).collect()
}

fn group_dir(spec: &NodeSpec, group: u16) -> PathBuf {
    spec.data.join("groups").join(group.to_string())
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
    assert!(copied.success(), "{} to {}", from.display(), to.display());
}

fn replace(from: &Path, to: &Path) {
    fs::remove_dir_all(to).expect("it is there");
    copy(from, to);
}

/// Names of a group's snapshot files that end so, oldest first.
fn snapshots(spec: &NodeSpec, group: u16, end: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(group_dir(spec, group).join("snapshots")).expect("snapshots");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(end));
    files.sort();
    files
}

/// Nothing but leases, for longer than two snapshots are apart: leases alone publish none, and the store was not told to
/// flush since. Killed, not stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_node_that_is_killed_restores_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let specs = cluster(directory.path(), "");
    let mut nodes = Node::start_all(&specs);
    write(&specs[0], 1).await;
    check_times_are_recorded(&specs).await;
    let third = &specs[2];
    for group in 1..=GROUPS {
        until("leases", || {
            status(third, group, "applied_index")
                >= status(third, group, "snapshot_index") + 2 * SNAPSHOT_ENTRIES
        })
        .await;
    }
    nodes.pop().unwrap().kill();
    let node = Node::start(third);
    assert_eq!(starts(third).await, all_skipped());
    assert_eq!(value(third, "quorate_cold_start_read_bytes_total"), 0);
    check(third, 1).await;
    assert!(node.terminate().success());
    for node in nodes {
        assert!(node.terminate().success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_killed_under_load_replay_their_tails_and_restore_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let specs = cluster(directory.path(), "");
    let nodes = Node::start_all(&specs);
    write(&specs[0], 1).await;
    let mut writers = tokio::task::JoinSet::new();
    for spec in &specs {
        writers.spawn(load(connect(spec).await));
    }
    let newest = |group| status(&specs[0], group, "snapshot_index");
    let before: Vec<u64> = (1..=GROUPS).map(newest).collect();
    for group in 1..=GROUPS {
        let first = before[usize::from(group) - 1];
        until("snapshots under load", || newest(group) >= first + 3 * SNAPSHOT_ENTRIES).await;
    }
    for node in nodes {
        node.kill();
    }
    writers.join_all().await;

    let nodes = Node::start_all(&specs);
    for spec in &specs {
        assert_eq!(starts(spec).await, all_skipped(), "node {}", spec.id);
        assert_eq!(value(spec, "quorate_cold_start_read_bytes_total"), 0);
        let logged = logged_starts(spec);
        let metrics = page(spec.admin, "/metrics");
        for applied in series(&metrics, "quorate_group_applied_entries_total") {
            let group = &applied.labels["group"];
            let snapshot = &logged[group]["fields"]["snapshot"];
            let snapshot = snapshot.as_u64().or_else(|| snapshot.as_str()?.parse().ok());
            let snapshot = snapshot.unwrap_or_else(|| panic!("{}", logged[group]));
            let last = status(spec, group.parse().expect("an id"), "commit_index");
            let tail = last - snapshot;
            assert!(applied.value <= tail, "group {group}: {} of a tail of {tail}", applied.value);
        }
    }
    check(&specs[1], 1).await;
    for node in nodes {
        assert!(node.terminate().success());
    }
}

/// By which writes take their time: what a node records whether or not it leads, and what only leaders do.
async fn check_times_are_recorded(specs: &[NodeSpec]) {
    for name in ["log_append_seconds", "log_batch_bytes", "apply_seconds", "apply_batch_entries"] {
        let count = format!("quorate_{name}_count");
        until(name, || specs.iter().all(|spec| value(spec, &count) > 0)).await;
    }
    let proposed = "quorate_propose_to_apply_seconds_count";
    until(proposed, || specs.iter().any(|spec| value(spec, proposed) > 0)).await;
}

/// One start with every kind of outcome, each counted for its group and nothing else; and the way back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_group_of_one_start_is_decided_and_counted_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let specs = cluster(directory.path(), "");
    let mut nodes = Node::start_all(&specs);
    write(&specs[0], 1).await;
    check_times_are_recorded(&specs).await;
    let third = &specs[2];
    assert!(nodes.pop().unwrap().terminate().success());
    let old = directory.path().join("old");
    copy(&third.data.join("groups"), &old);
    nodes.push(Node::start(third));
    let before: Vec<u64> = (1..=GROUPS).map(|group| status(third, group, "snapshot_index")).collect();
    write(&specs[0], 2).await;
    write(&specs[0], 3).await;
    for group in 1..=GROUPS {
        let first = before[usize::from(group) - 1];
        until("a newer snapshot", || status(third, group, "snapshot_index") > first + SNAPSHOT_ENTRIES).await;
    }
    assert!(nodes.pop().unwrap().terminate().success());

    replace(&old.join("1/state"), &group_dir(third, 1).join("state"));
    fs::remove_dir_all(group_dir(third, 2).join("state")).unwrap();
    replace(&old.join("4/wal"), &group_dir(third, 4).join("wal"));
    nodes.push(Node::start(third));
    let mut expected = all_skipped();
    expected.insert(1, start("executed", "none"));
    expected.insert(2, start("fallback", "missing_meta"));
    expected.insert(4, start("refused", "ahead_of_log"));
    assert_eq!(starts(third).await, expected);
    let metrics = page(third.admin, "/metrics");
    let mut gaps = BTreeMap::new();
    for gap in series(&metrics, "quorate_cold_start_applied_index_gap") {
        gaps.insert(gap.labels["group"].clone(), gap.labels["outcome"].clone());
    }
    let gap = |group: &str, outcome: &str| (group.to_owned(), outcome.to_owned());
    let told = [gap("0", "skipped"), gap("1", "executed"), gap("3", "skipped")];
    assert_eq!(gaps, BTreeMap::from(told), "of those that skipped or executed");
    check(third, 3).await;

    let url = format!("http://{}", third.admin);
    let repaired =
        Command::new(quorate_binary()).args(["repair", "--node", &url, "4", "--yes"]).output().unwrap();
    assert!(repaired.status.success(), "{repaired:?}");
    write(&specs[1], 4).await;
    // With one of the others gone, group 4 has a majority only if its new replica votes.
    nodes.remove(0).kill();
    check(third, 4).await;
    for node in nodes {
        assert!(node.terminate().success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_rots_unneeded_is_found_and_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let specs = cluster(directory.path(), "");
    let mut nodes = Node::start_all(&specs);
    let mut connection = connect(&specs[0]).await;
    for at in 0..KEYS {
        // So that most of a snapshot is values.
        connection.set::<_, _, ()>(format!("large-{at}"), vec![b'x'; 16 << 10]).await.expect("a write");
    }
    write(&specs[0], 1).await;
    check_times_are_recorded(&specs).await;
    let third = &specs[2];
    assert!(nodes.pop().unwrap().terminate().success());
    let rotten = snapshots(third, 1, ".snap").pop().expect("a snapshot");
    let file = fs::File::options().read(true).write(true).open(&rotten).unwrap();
    let middle = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[byte[0] ^ 1], middle).unwrap();
    let config = fs::read_to_string(&third.config).unwrap();
    assert!(config.contains("[scrub]\ninterval = \"0ms\""));
    fs::write(&third.config, config.replace("[scrub]\ninterval = \"0ms\"", "[scrub]\ninterval = \"1s\""))
        .unwrap();

    let node = Node::start(third);
    assert_eq!(starts(third).await, all_skipped());
    until("found", || !snapshots(third, 1, ".bad").is_empty()).await;
    let is_replaced = || snapshots(third, 1, ".snap").last().is_some_and(|newest| *newest > rotten);
    until("replaced", is_replaced).await;
    until("counted", || value(third, "quorate_snapshots_corrupt_total") == 1).await;
    assert!(node.terminate().success());

    // The one in its place carries a whole state.
    fs::remove_dir_all(group_dir(third, 1).join("state")).unwrap();
    let node = Node::start(third);
    assert_eq!(starts(third).await[&1], start("fallback", "missing_meta"));
    check(third, 1).await;
    assert!(node.terminate().success());
    for node in nodes {
        assert!(node.terminate().success());
    }
}
