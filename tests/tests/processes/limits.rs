//! What the system does to a process without ending it: it stands still, may have no more files, or has to start many groups at
//! once after all of them have died.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use quorate_tests::process::{ClusterSettings, Node, NodeSpec};
use redis::AsyncCommands as _;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::client::connect;
use crate::recorded::{Recorded, assert_linearizable};

/// Groups beside group 0.
const GROUPS: u16 = 3;
/// Groups that start together.
const MANY_GROUPS: u16 = 256;
/// How soon all of them have a leader.
const READY_MAX: Duration = Duration::from_secs(10);
/// What every wait may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn cluster(directory: &std::path::Path) -> Vec<NodeSpec> {
    let keys = "routing = \"proxy\"".to_owned();
    NodeSpec::cluster(directory, &ClusterSettings { groups: GROUPS, keys, ..ClusterSettings::default() })
}

fn state_of(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    let (_, behind_name) = stat.rsplit_once(") ").expect("a name in parentheses");
    behind_name.chars().next().expect("a state")
}

/// Whoever leads some of the groups stands still until others lead them, and goes on with requests waiting that it
/// would have answered as their leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_stand_still_are_succeeded_and_serve_nothing_stale_when_they_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let specs = cluster(directory.path());
    let nodes = Node::start_all(&specs);
    let recorded = Recorded::start(&specs, 2, 22);
    let all = [1, 2, 3];
    recorded.go_on(&all, "all nodes run").await;
    for node in &nodes {
        let id = node.spec().id;
        node.pause();
        // Every key: so every group has a leader elsewhere.
        recorded
            .go_on(&all.map(|other| if other == id { id % 3 + 1 } else { other }), "one stands still")
            .await;
        assert_eq!(state_of(node.pid()), 'T', "node {id} runs");
        node.resume();
        recorded.go_on(&all, "it goes on").await;
    }
    let operations = assert_linearizable(&recorded.end().await);
    assert!(operations > 500, "{operations} operations are no test");
    for node in nodes {
        assert!(node.terminate().success(), "SIGTERM ends with exit code 0");
    }
}

/// The lowest number that is no open file of the process: the next one it would get. The limit is one on numbers.
fn next_file(pid: u32) -> u64 {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process is there");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let open: BTreeSet<u64> = open.filter_map(name).collect();
    (0..=open.len() as u64).find(|number| !open.contains(number)).expect("more numbers than open files")
}

/// From now on the process opens no file with the number `files` or a higher one; `None`: as many as this one may.
fn limit_files(pid: u32, files: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process id")).expect("a process id");
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = files.or(maximum);
    prlimit(Some(pid), Resource::Nofile, Rlimit { current, maximum }).expect("the process is ours");
}

/// Waits until a new client is answered, or is not.
async fn until_answered(spec: &NodeSpec, expected: bool, before_each: impl Fn()) {
    let begun = tokio::time::Instant::now();
    loop {
        before_each();
        if is_answered(spec).await == expected {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "after a minute a new client is still answered: {}", !expected);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Connects, and says whether somebody answers.
async fn is_answered(spec: &NodeSpec) -> bool {
    let client = redis::Client::open(format!("redis://{}/", spec.resp)).expect("an address of Redis");
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(1)))
        .set_response_timeout(Some(Duration::from_secs(1)));
    match client.get_multiplexed_async_connection_with_config(&config).await {
        Ok(mut connection) => redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok(),
        Err(_) => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_may_open_no_more_files_loses_nothing_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let specs = cluster(directory.path());
    let mut nodes = Node::start_all(&specs);
    let mut before = connect(&specs[2]).await;
    before.set::<_, _, ()>("before", "1").await.unwrap();
    let recorded = Recorded::start(&specs[..2], 2, 25);
    recorded.go_on(&[1, 2], "all nodes run").await;
    let pid = nodes[2].pid();
    // Again, because a lower one may have been closed meanwhile.
    until_answered(&specs[2], false, || limit_files(pid, Some(next_file(pid)))).await;
    // Whatever it cannot do itself, others do; who is connected is served.
    recorded.go_on(&[1, 2], "it may open no more files").await;
    assert_eq!(before.get::<_, String>("before").await.unwrap(), "1");
    let log = fs::read_to_string(&specs[2].log).unwrap();
    assert!(log.contains("Too many open files"), "nothing failed:\n{}", nodes[2].log_end());
    limit_files(pid, None);
    until_answered(&specs[2], true, || ()).await;
    let third = nodes.pop().unwrap();
    assert!(third.terminate().success(), "SIGTERM ends with exit code 0");
    nodes.push(Node::start(&specs[2]));
    recorded.go_on(&[1, 2], "it was started anew").await;
    assert_linearizable(&recorded.end().await);
    let found = connect(&specs[2]).await.get::<_, String>("before").await;
    assert_eq!(found.unwrap(), "1");
}

/// Every node waits with its ready line until all groups with a replica on it have a leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_with_256_groups_that_are_killed_together_come_back_together() {
    let directory = tempfile::tempdir().unwrap();
    let keys = "routing = \"proxy\"".to_owned();
    let settings = ClusterSettings { groups: MANY_GROUPS, keys, ..ClusterSettings::default() };
    let specs = NodeSpec::cluster(directory.path(), &settings);
    let nodes = Node::start_all(&specs);
    let pairs: Vec<(String, u16)> = (0..4 * MANY_GROUPS).map(|at| (format!("key-{at}"), at)).collect();
    connect(&specs[0]).await.mset::<_, _, ()>(&pairs).await.expect("a write of all keys");
    nodes.into_iter().for_each(Node::kill);

    let begun = Instant::now();
    let mut nodes: Vec<Node> = specs.iter().map(Node::spawn).collect();
    for node in &mut nodes {
        let line = node.wait_ready();
        assert!(line.contains(&format!(" groups={MANY_GROUPS} ")), "{line}");
    }
    assert!(begun.elapsed() < READY_MAX, "they had leaders after {:?}", begun.elapsed());
    let keys: Vec<&String> = pairs.iter().map(|(key, _)| key).collect();
    let found: Vec<u16> = connect(&specs[1]).await.mget(&keys).await.expect("a read of all keys");
    assert!(found.iter().copied().eq(0..4 * MANY_GROUPS), "{found:?}");
    for node in nodes {
        assert!(node.terminate().success(), "SIGTERM ends with exit code 0");
    }
}
