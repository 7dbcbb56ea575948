//! `quorate inspect`, `quorate verify` and `quorate repair` on what a node of `quorate dev` left behind.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use quorate::disk::RealDisk;
use quorate::storage::Index;
use quorate::storage::identity::{Divergence, ReplicaIdentity};
use quorate::storage::state::StateDigest;
use quorate_telemetry::rng::SystemRng;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn quorate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(args).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// One node and two groups that keep their data in `dir`, once they have leaders.
fn start(dir: &Path) -> Child {
    let args = "dev --nodes 1 --groups 1 --resp-port 0 --admin-port 0 --peer-port 0 --data";
    let mut command = quorate(&args.split(' ').collect::<Vec<_>>());
    let mut child = command.arg(dir).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let ready = BufReader::new(child.stdout.as_mut().unwrap())
        .lines()
        .any(|line| line.is_ok_and(|line| line.starts_with("ready ")));
    assert!(ready, "the node ended before it was ready");
    child
}

fn stop(mut child: Child) {
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

fn run(command: &str, dir: &Path, options: &[&str]) -> Output {
    quorate(&[command]).arg(dir).args(options).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The newest segment of group 1's log.
fn segment(node: &Path) -> PathBuf {
    let wal = node.join("groups/1/wal");
    std::fs::read_dir(wal).unwrap().map(|entry| entry.unwrap().path()).max().unwrap()
}

#[test]
fn a_stopped_node_is_inspected_and_verified_and_a_running_one_is_not() {
    let data = tempfile::tempdir().unwrap();
    let node = data.path().join("node-1");
    let child = start(data.path());
    for command in ["inspect", "verify"] {
        let output = run(command, &node, &[]);
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("in use by another process"), "{output:?}");
    }
    stop(child);

    let inspected = run("inspect", &node, &["--json"]);
    assert_eq!(inspected.status.code(), Some(0), "{inspected:?}");
    let report = json(&inspected);
    let groups = report["groups"].as_array().unwrap();
    assert_eq!(groups.iter().map(|group| group["group"].as_u64()).collect::<Vec<_>>(), [Some(0), Some(1)]);
    for group in groups {
        assert_eq!(group["cold_start"]["outcome"], "skipped", "{group:#}");
        assert_eq!(group["generations"][0]["store"], "lsm");
        assert_eq!(group["generations"][0]["record"]["applied"], group["log"]["last"]);
    }
    let shown = text(&run("inspect", &node, &["--group", "1"]));
    assert!(shown.contains("group 1: replica") && !shown.contains("group 0: "), "{shown}");
    for part in ["stopped cleanly", "SEGMENT", "SNAPSHOT", "STATE", "start: skipped, floor"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    let verified = run("verify", &node, &[]);
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    assert!(text(&verified).ends_with("bytes checked: clean\n"), "{verified:?}");
    let report = json(&run("verify", &node, &["--json", "--group", "1"]));
    assert_eq!(report["findings"], Value::Array(Vec::new()));
    assert!(report["files"].as_u64() > Some(3) && report["bytes"].as_u64() > Some(0), "{report:#}");
}

#[test]
fn damage_is_exit_code_five_with_file_and_offset() {
    let data = tempfile::tempdir().unwrap();
    let node = data.path().join("node-1");
    stop(start(data.path()));
    let path = segment(&node);
    let mut bytes = std::fs::read(&path).unwrap();
    // In the table of the first batch: the second table still has it, so nothing is lost.
    bytes[4096 + 70] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let output = run("verify", &node, &[]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let expected = format!("redundant: {} at byte 4096: corrupt first batch table", path.display());
    assert!(text(&output).starts_with(&expected), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("quorate: "), "a finding is said once");
    let report = json(&run("verify", &node, &["--json"]));
    assert_eq!(report["findings"][0]["file"], path.to_str().unwrap());
    assert_eq!(
        (&report["findings"][0]["offset"], &report["findings"][0]["group"]),
        (&4096.into(), &1.into())
    );
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(run("verify", &node, &["--group", "0"]).status.code(), Some(0));
}

#[test]
fn a_replica_whose_state_was_proven_wrong_is_shown_is_not_clean_and_is_not_adopted() {
    let data = tempfile::tempdir().unwrap();
    let node = data.path().join("node-1");
    stop(start(data.path()));
    let mark = node.join("groups/1/diverged");
    let owner =
        ReplicaIdentity::read(&RealDisk::new(), &node.join("groups/1/replica")).unwrap().unwrap().owner();
    let found =
        Divergence { index: Index(2), own: StateDigest(0xa << 124), majority: StateDigest(0xb << 124) };
    found.write(&RealDisk::new(), &mark, owner, &SystemRng::new()).unwrap();

    let shown = text(&run("inspect", &node, &["--group", "1"]));
    let line =
        format!("diverged: state a00000000000 at 2, the majority's is b00000000000 ({})", mark.display());
    assert!(shown.contains(&line) && shown.contains("start: refused, state_diverged"), "{shown}");
    let report = json(&run("inspect", &node, &["--json", "--group", "1"]));
    assert_eq!(report["groups"][0]["diverged"]["file"], mark.to_str().unwrap());
    let verified = run("verify", &node, &[]);
    assert_eq!(verified.status.code(), Some(5), "{verified:?}");
    assert!(
        text(&verified).starts_with(&format!("diverged: {}: its state at 2", mark.display())),
        "{verified:?}"
    );
    assert!(text(&verified).ends_with("bytes checked: diverged 1\n"), "{verified:?}");
    let refused = run("repair", &node, &["--group", "1"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("--abandon-others"), "{refused:?}");
    let planned = run("repair", &node, &["--group", "1", "--abandon-others"]);
    assert_eq!(planned.status.code(), Some(6), "{planned:?}");
    assert!(text(&planned).contains("does not start: its state at 2"), "{planned:?}");
}

#[test]
fn a_path_that_is_no_text_is_shown_as_well_as_it_can_be() {
    let data = tempfile::tempdir().unwrap();
    let odd = data.path().join(OsStr::from_bytes(b"odd-\xff"));
    stop(start(&odd));
    for command in ["inspect", "verify"] {
        let output = run(command, &odd.join("node-1"), &["--json"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(json(&output)["path"].as_str().unwrap().ends_with("/odd-\u{fffd}/node-1"), "{output:?}");
    }
}

#[test]
fn what_is_no_data_directory_or_no_group_is_said() {
    let data = tempfile::tempdir().unwrap();
    stop(start(data.path()));
    for command in ["inspect", "verify"] {
        let output = run(command, data.path(), &[]);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("node-1"), "{output:?}");
        let output = run(command, &data.path().join("node-1"), &["--group", "9"]);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("no group 9"), "{output:?}");
    }
    assert!(!data.path().join("node.lock").exists(), "a directory of something else is not touched");
}
