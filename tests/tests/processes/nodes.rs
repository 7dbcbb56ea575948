//! `quorate node`: a cluster of processes starts, hands over, restarts, and says with its exit code what is wrong.

use std::fs;
use std::time::{Duration, Instant};

use quorate_tests::process::{ClusterSettings, Node, NodeSpec};
use redis::AsyncCommands as _;

use crate::client::connect;

/// What every stop may take.
const STOP_MAX: Duration = Duration::from_secs(10);
/// Keys written before each change; enough that every group has some.
const KEYS: u32 = 64;

async fn write(spec: &NodeSpec, round: u32) {
    let mut connection = connect(spec).await;
    for at in 0..KEYS {
        connection.set::<_, _, ()>(format!("key-{at}"), round).await.expect("a write");
    }
}

async fn check(spec: &NodeSpec, round: u32) {
    let mut connection = connect(spec).await;
    for at in 0..KEYS {
        assert_eq!(
            connection.get::<_, Option<u32>>(format!("key-{at}")).await.expect("a read"),
            Some(round),
            "key-{at}"
        );
    }
}

fn exit_code(spec: &NodeSpec, args: &[&str]) -> Option<i32> {
    let mut command = spec.command();
    command.args(args).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command.status().expect("the binary starts").code()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_serve_through_stops_and_kills_of_each() {
    let directory = tempfile::tempdir().unwrap();
    let settings = ClusterSettings { keys: "routing = \"proxy\"".to_owned(), ..ClusterSettings::default() };
    let specs = NodeSpec::cluster(directory.path(), &settings);
    let mut nodes = Node::start_all(&specs);
    write(&specs[0], 1).await;

    let begun = Instant::now();
    assert_eq!(nodes.pop().unwrap().terminate().code(), Some(0));
    assert!(begun.elapsed() < STOP_MAX, "the stop took {:?}", begun.elapsed());
    // Its leaderships have been handed over: nothing has to wait for an election.
    write(&specs[1], 2).await;
    nodes.push(Node::start(&specs[2]));
    check(&specs[2], 2).await;

    nodes.remove(0).kill();
    nodes.push(Node::start(&specs[0]));
    check(&specs[0], 2).await;

    assert_eq!(exit_code(&specs[1], &["--listen-peer", &specs[1].peer.to_string()]), Some(4), "locked");
    for node in nodes {
        assert_eq!(node.terminate().code(), Some(0));
    }
    assert_eq!(exit_code(&specs[0], &["--set", "bootstrap.groups=9"]), Some(3), "other groups");
    assert_eq!(exit_code(&specs[0], &["--cluster", "other"]), Some(3), "another cluster");
    fs::write(specs[0].data.join("node"), b"nonsense").unwrap();
    assert_eq!(exit_code(&specs[0], &[]), Some(5), "damaged");
}

#[test]
fn a_node_waits_for_the_others_and_stops_while_it_waits() {
    let directory = tempfile::tempdir().unwrap();
    let specs = NodeSpec::cluster(directory.path(), &ClusterSettings::default());
    let mut alone = Node::spawn(&specs[0]);
    let line = alone.wait_line("node ");
    let expected =
        format!("node 1 resp={} admin=http://{} peer={}", specs[0].resp, specs[0].admin, specs[0].peer);
    assert_eq!(line, expected);
    let begun = Instant::now();
    assert_eq!(alone.terminate().code(), Some(0));
    assert!(begun.elapsed() < STOP_MAX, "the stop took {:?}", begun.elapsed());
    // Whoever was there first makes no difference.
    let mut nodes: Vec<Node> = specs[1..].iter().map(Node::spawn).collect();
    for node in &mut nodes {
        let ready = node.wait_ready();
        assert!(ready.starts_with(&format!("ready node={} groups=8 in=", node.spec().id)), "{ready}");
    }
}

/// What a group puts into one answer is bounded; what one client asks of it at a time is not known to the client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_travel_together_get_what_each_would_get_alone() {
    let directory = tempfile::tempdir().unwrap();
    let settings = ClusterSettings { nodes: 1, groups: 2, replication: 1, ..ClusterSettings::default() };
    let specs = NodeSpec::cluster(directory.path(), &settings);
    let node = Node::start(&specs[0]);
    let client = redis::Client::open(format!("redis://{}/", specs[0].resp)).unwrap();
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(20)));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    let keys = ["{one}a", "{one}b", "{one}c"];
    let values = [b'a', b'b', b'c'].map(|byte| vec![byte; 7 << 20]);
    for (key, value) in keys.iter().zip(&values) {
        connection.set::<_, _, ()>(key, value).await.unwrap();
    }
    let mut pipeline = redis::pipe();
    for key in &keys {
        pipeline.get(key);
    }
    let answers: Vec<Vec<u8>> = pipeline.query_async(&mut connection).await.expect("values");
    assert!(answers == values, "GETs in a pipeline");
    let answers: Vec<Vec<u8>> = connection.mget(&keys).await.expect("values");
    assert!(answers == values, "MGET");
    assert_eq!(connection.exists::<_, u32>(&keys).await.expect("a count"), 3);
    assert!(node.terminate().success());
}
