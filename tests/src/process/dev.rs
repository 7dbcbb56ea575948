//! `quorate dev` as a child process.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::free_ports;

/// How long a start may take until every group has a leader.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// What to start.
#[derive(Clone, Debug)]
pub struct DevSpec {
    /// Nodes in the process.
    pub nodes: u16,
    /// Groups beside group 0.
    pub groups: u16,
    /// The data directory.
    pub data: PathBuf,
    /// `lsm`, `sled` or `memory`.
    pub store: &'static str,
    /// First port; RESP, admin and peer ports follow each other.
    pub first_port: u16,
}

impl DevSpec {
    /// Three nodes, eight groups, the default store, on free ports.
    pub fn new(data: &Path) -> Self {
        let nodes = 3;
        Self { nodes, groups: 8, data: data.to_path_buf(), store: "lsm", first_port: free_ports(3 * nodes) }
    }

    /// The RESP port of a node, counted from 0.
    pub fn resp_port(&self, node: u16) -> u16 {
        self.first_port + node
    }

    /// The admin port of a node, counted from 0.
    pub fn admin_port(&self, node: u16) -> u16 {
        self.first_port + self.nodes + node
    }
}

/// A running `quorate dev`. Killed when dropped.
#[derive(Debug)]
pub struct Dev {
    child: Child,
    /// The line that said it is ready.
    pub ready_line: String,
    spec: DevSpec,
}

impl Dev {
    /// Starts it and waits for its ready line.
    ///
    /// # Panics
    /// If it exits, or is not ready within a minute.
    pub fn start(spec: &DevSpec) -> Self {
        let mut child = Command::new(quorate_binary())
            .arg("dev")
            .args(["--nodes", &spec.nodes.to_string(), "--groups", &spec.groups.to_string()])
            .args(["--resp-port", &spec.resp_port(0).to_string()])
            .args(["--admin-port", &spec.admin_port(0).to_string()])
            .args(["--peer-port", &(spec.first_port + 2 * spec.nodes).to_string()])
            .args(["--store", spec.store])
            .arg("--data")
            .arg(&spec.data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut stderr = child.stderr.take().expect("stderr is piped");
        let (found, ready) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if line.starts_with("ready ") {
                    // Nobody waits any more if the start was given up.
                    drop(found.send(line));
                }
            }
        });
        let (said, complaints) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            drop(stderr.read_to_string(&mut text));
            drop(said.send(text));
        });
        let Ok(ready_line) = ready.recv_timeout(READY_TIMEOUT) else {
            drop(child.kill());
            let status = child.wait();
            let text = complaints.recv_timeout(Duration::from_secs(5)).unwrap_or_default();
            panic!("quorate dev did not get ready: {status:?}\n{text}");
        };
        Self { child, ready_line, spec: spec.clone() }
    }

    /// What it was started with.
    pub fn spec(&self) -> &DevSpec {
        &self.spec
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and wait until it is gone.
    pub fn kill(mut self) {
        self.child.kill().expect("the process was ours to kill");
        self.child.wait().expect("a killed process ends");
    }

    /// SIGTERM, and wait for its end.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn terminate(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the process runs");
        self.child.wait().expect("a terminated process ends")
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The `quorate` binary beside the running test: cargo builds it for a run of the whole workspace.
///
/// # Panics
/// If it is not there.
pub fn quorate_binary() -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a path");
    // Tests lie in target/<profile>/deps, programs beside it.
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join("quorate")).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        let own = own.display();
        panic!(
            "no `quorate` beside {own}: run `cargo build --bin quorate`, or the tests of the whole workspace"
        )
    })
}
