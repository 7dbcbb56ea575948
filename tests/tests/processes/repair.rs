//! A replica whose log was damaged while its node was stopped: quarantined with file and offset, the others serve, and
//! `quorate repair` brings it back with every acknowledged write.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use quorate_tests::process::{ClusterSettings, Node, NodeSpec, page, quorate_binary};
use redis::AsyncCommands as _;
use serde_json::Value;

use crate::client::connect;

/// Keys written in each round; enough that every group has some.
const KEYS: u32 = 64;
/// The group that is damaged.
const GROUP: u64 = 1;
/// Within the head of a log file: a start cannot read on.
const DAMAGED_BYTE: u64 = 20;

async fn write(spec: &NodeSpec, round: u32) {
    let mut connection = connect(spec).await;
    for at in 0..KEYS {
        connection.set::<_, _, ()>(format!("{round}-key-{at}"), at).await.expect("a write");
    }
}

async fn check(spec: &NodeSpec, rounds: u32) {
    let mut connection = connect(spec).await;
    for (round, at) in (0..rounds).flat_map(|round| (0..KEYS).map(move |at| (round, at))) {
        let found = connection.get::<_, Option<u32>>(format!("{round}-key-{at}")).await.expect("a read");
        assert_eq!(found, Some(at), "{round}-key-{at}");
    }
}

fn quorate(args: &[&str]) -> Output {
    let mut command = Command::new(quorate_binary());
    command.env_remove("RUST_LOG").args(args).output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(args: &[&str]) -> Value {
    let output = quorate(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn group_page(spec: &NodeSpec, group: u64) -> Value {
    serde_json::from_str(&page(spec.admin, &format!("/groups/{group}"))).expect("JSON")
}

/// Flips a byte in the head of the newest log file of the group.
fn damage_log(spec: &NodeSpec) -> PathBuf {
    let wal = spec.data.join("groups").join(GROUP.to_string()).join("wal");
    let mut files: Vec<PathBuf> =
        fs::read_dir(&wal).expect("a log").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let path = files.pop().expect("a log file");
    let file = fs::File::options().read(true).write(true).open(&path).expect("the file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, DAMAGED_BYTE).expect("its bytes");
    file.write_all_at(&[byte[0] ^ 0xff], DAMAGED_BYTE).expect("its bytes");
    path
}

fn out_of_service(node: &str) -> Vec<Value> {
    let status = json(&["admin", "status", "--json", "--node", node]);
    status["out_of_service"].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_a_damaged_log_is_quarantined_with_its_place_and_repaired_online() {
    let directory = tempfile::tempdir().unwrap();
    let settings =
        ClusterSettings { groups: 3, keys: "routing = \"proxy\"".to_owned(), ..ClusterSettings::default() };
    let specs = NodeSpec::cluster(directory.path(), &settings);
    let mut nodes = Node::start_all(&specs);
    write(&specs[0], 0).await;
    let url = |spec: &NodeSpec| format!("http://{}", spec.admin);
    let (first, third) = (url(&specs[0]), url(&specs[2]));
    let group = GROUP.to_string();
    let taken = json(&["admin", "snapshot", &group, "--json", "--node", &third]);
    assert!(taken["index"].as_u64() > Some(1), "{taken}");

    assert_eq!(nodes.pop().unwrap().terminate().code(), Some(0));
    let damaged = damage_log(&specs[2]);
    // Ready, because the group's other replicas serve it.
    nodes.push(Node::start(&specs[2]));
    let shown = group_page(&specs[2], GROUP);
    let quarantine = &shown["quarantine"];
    assert_eq!(quarantine["file"], damaged.display().to_string().as_str(), "{shown}");
    assert!(quarantine["offset"].is_u64() && quarantine["reason"] == "corrupt", "{shown}");
    let out = out_of_service(&third);
    assert_eq!(
        (out.len(), &out[0]["group"], &out[0]["remedy"]),
        (1, &Value::from(GROUP), &Value::from("repair"))
    );
    assert_eq!(out[0]["file"], quarantine["file"]);
    write(&specs[2], 1).await;
    check(&specs[2], 2).await;

    let elsewhere = quorate(&["repair", "--node", &first, &group, "--yes"]);
    assert_eq!(elsewhere.status.code(), Some(1));
    assert!(text(&elsewhere.stderr).contains(&format!("node 3 ({third})")), "{elsewhere:?}");
    let planned = quorate(&["repair", "--node", &third, &group]);
    assert_eq!(planned.status.code(), Some(6));
    assert!(
        text(&planned.stdout).contains("its files are kept on node 3: groups/1.quarantined-"),
        "{planned:?}"
    );
    assert_eq!(out_of_service(&third), out, "nothing was done");

    let repaired = json(&["repair", "--node", &third, &group, "--yes", "--json"]);
    assert_eq!((&repaired["group"], &repaired["node"]), (&Value::from(GROUP), &Value::from(3)));
    assert_eq!(out_of_service(&third), Vec::<Value>::new());
    write(&specs[1], 2).await;
    // With one of the others gone, the group has a majority only if the new replica votes.
    nodes.remove(0).kill();
    check(&specs[2], 3).await;
    write(&specs[2], 3).await;
    check(&specs[1], 4).await;
    let kept = fs::read_dir(specs[2].data.join("groups")).unwrap();
    let kept = kept
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("1.quarantined-"));
    assert_eq!(kept.count(), 1);
    for node in nodes {
        assert_eq!(node.terminate().code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_whose_only_replica_lost_its_log_is_repaired_offline() {
    let directory = tempfile::tempdir().unwrap();
    let settings = ClusterSettings { nodes: 1, groups: 2, replication: 1, ..ClusterSettings::default() };
    let specs = NodeSpec::cluster(directory.path(), &settings);
    let spec = &specs[0];
    let node = Node::start(spec);
    write(spec, 0).await;
    let data = spec.data.display().to_string();
    let args = ["repair", data.as_str(), "--group", "1"];
    assert_eq!(quorate(&args).status.code(), Some(4), "it runs");
    assert!(node.terminate().success());
    let healthy = quorate(&args);
    assert!(
        healthy.status.code() == Some(1) && text(&healthy.stderr).contains("start the node"),
        "{healthy:?}"
    );
    damage_log(spec);

    let node = Node::start(spec);
    let url = format!("http://{}", spec.admin);
    let online = quorate(&["repair", "--node", &url, "1", "--yes"]);
    assert!(online.status.code() == Some(1) && text(&online.stderr).contains("only replica"), "{online:?}");
    assert!(node.terminate().success());

    let planned = quorate(&args);
    assert_eq!(planned.status.code(), Some(6), "{planned:?}");
    assert!(text(&planned.stdout).contains("becomes a snapshot"), "{planned:?}");
    let adopted = quorate(&[args.as_slice(), &["--yes"]].concat());
    assert_eq!(adopted.status.code(), Some(0), "{adopted:?}");
    let node = Node::start(spec);
    check(spec, 1).await;
    write(spec, 1).await;
    check(spec, 2).await;
    assert!(node.terminate().success());
}
