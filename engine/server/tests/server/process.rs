//! The binary itself: exit codes, signals, and the temporary data directory.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// One node and one group, on free ports, with temporary directories below `temporary`.
pub(crate) fn dev(temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args([
        "dev",
        "--nodes",
        "1",
        "--groups",
        "1",
        "--resp-port",
        "0",
        "--admin-port",
        "0",
        "--peer-port",
        "0",
    ]);
    command.env("TMPDIR", temporary).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Reads the output up to the line that begins with `ready`.
pub(crate) fn wait_until_ready(child: &mut Child) -> Vec<String> {
    let output = BufReader::new(child.stdout.as_mut().unwrap());
    let mut lines = Vec::new();
    for line in output.lines() {
        lines.push(line.unwrap());
        if lines.last().is_some_and(|line| line.starts_with("ready ")) {
            return lines;
        }
    }
    panic!("the process ended before it was ready: {lines:?}");
}

pub(crate) fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn entry_count(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

#[test]
fn a_signal_stops_the_binary_cleanly_and_its_temporary_data_goes() {
    for signal in [Signal::TERM, Signal::INT] {
        let temporary = tempfile::tempdir().unwrap();
        let mut child = dev(temporary.path()).spawn().unwrap();
        let lines = wait_until_ready(&mut child);
        assert!(lines.last().unwrap().starts_with("ready nodes=1 groups=1 in="), "{lines:?}");
        assert_eq!(entry_count(temporary.path()), 1);
        send(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert_eq!(entry_count(temporary.path()), 0);
    }
}

#[test]
fn temporary_data_stays_after_a_kill_to_be_looked_at() {
    let temporary = tempfile::tempdir().unwrap();
    let mut child = dev(temporary.path()).spawn().unwrap();
    wait_until_ready(&mut child);
    send(&child, Signal::KILL);
    assert_eq!(child.wait().unwrap().code(), None);
    assert_eq!(entry_count(temporary.path()), 1);
}

#[test]
fn wrong_usage_and_impossible_settings_have_their_own_exit_codes() {
    let temporary = tempfile::tempdir().unwrap();
    let code = |arg: &[&str]| dev(temporary.path()).args(arg).status().unwrap().code();
    assert_eq!(code(&["--no-such-option"]), Some(2));
    assert_eq!(code(&["--help"]), Some(0));
    let conflicting = ["--data", "data", "--store", "memory", "--snapshot-entries", "0"];
    assert_eq!(code(&conflicting), Some(3));
}

/// A configuration of one node that leaves nothing to complain about, and then `more`.
fn config_file(directory: &Path, more: &str) -> std::path::PathBuf {
    let file = directory.join("q.toml");
    let text = format!("node = 1\ndata_dir = \"d\"\n[[nodes]]\nid = 1\npeer = \"127.0.0.1:7380\"\n{more}");
    std::fs::write(&file, text).unwrap();
    file
}

/// Exit code, standard output, standard error.
fn config(args: &[&str], file: &Path) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(args).arg("--config").arg(file).env_remove("RUST_LOG");
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(&file.display().to_string(), "q.toml");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_configuration_is_checked_and_printed_without_a_node() {
    let directory = tempfile::tempdir().unwrap();
    let file = config_file(directory.path(), "[raft]\ntick = \"20ms\"\n");
    assert_eq!(config(&["config", "check"], &file), (Some(0), "q.toml: ok\n".to_owned(), String::new()));
    let (code, printed, _) = config(&["config", "print", "--set", "resp.max_connections=7"], &file);
    assert!(code == Some(0) && printed.contains("tick = \"20ms\"  # line 7\n"), "{printed}");
    assert!(printed.contains("max_connections = 7  # --set resp.max_connections\n"), "{printed}");
    assert_eq!(config(&["node", "--set", "raft"], &file).0, Some(2));
}

#[test]
fn a_refused_configuration_is_told_with_line_and_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = config_file(directory.path(), "[raft]\ntick = 20\ntock = 1\n");
    let problems = "q.toml:7: raft.tick: expected a time such as \"50ms\", found an integer\n\
                    q.toml:8: raft.tock: unknown key; [raft] knows tick, heartbeat_ticks, election_ticks\n";
    for command in [&["config", "check"][..], &["node"]] {
        let (code, output, error) = config(command, &file);
        assert_eq!((code, output.as_str()), (Some(3), ""));
        assert_eq!(error, format!("quorate: the configuration is refused\n{problems}"));
    }
    let (code, output, error) = config(&["config", "check", "--json"], &file);
    assert_eq!((code, error.as_str()), (Some(3), ""));
    assert!(
        output.starts_with(r#"{"ok":false,"problems":[{"file":"q.toml","key":"raft.tick","line":7,"#),
        "{output}"
    );
}
