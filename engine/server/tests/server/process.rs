//! The binary itself: exit codes, signals, and the temporary data directory.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// One node and one group, on free ports, with temporary directories below `temporary`.
fn dev(temporary: &Path) -> Command {
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
fn wait_until_ready(child: &mut Child) -> Vec<String> {
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

fn send(child: &Child, signal: Signal) {
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
