//! Nodes of a cluster as child processes: `quorate node`, one process each.
//!
//! ```no_run
//! use quorate_tests::process::{ClusterSettings, Node, NodeSpec};
//!
//! let directory = tempfile::tempdir().unwrap();
//! let specs = NodeSpec::cluster(directory.path(), &ClusterSettings::default());
//! let mut nodes = Node::start_all(&specs);            // three nodes, all of them ready
//! nodes.remove(0).kill();                             // SIGKILL
//! let again = Node::start(&specs[0]);                 // same files, same ports; ready when it returns
//! assert!(again.terminate().success());               // SIGTERM
//! ```

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{free_ports, quorate_binary};

/// How long a node may take until its groups have leaders.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// Log lines that a failure shows.
const LOG_LINES_SHOWN: usize = 60;

/// What all nodes of a cluster have in common. `Default`: three nodes, eight groups, three replicas, nothing else.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// Nodes, from id 1.
    pub nodes: u16,
    /// Groups beside group 0.
    pub groups: u16,
    /// Replicas of each group.
    pub replication: u16,
    /// More of the configuration: keys outside of sections, as `routing = "proxy"`.
    pub keys: String,
    /// More of the configuration: whole sections, as `[snapshots]` with `entries = 100`.
    pub sections: String,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self { nodes: 3, groups: 8, replication: 3, keys: String::new(), sections: String::new() }
    }
}

/// One node: its files and addresses. Nothing of it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// Its id.
    pub id: u64,
    /// Its configuration file. May be edited between two starts.
    pub config: PathBuf,
    /// Its data directory.
    pub data: PathBuf,
    /// What it writes to standard error, start after start.
    pub log: PathBuf,
    /// Where it serves the Redis protocol.
    pub resp: SocketAddr,
    /// Where it serves the admin pages.
    pub admin: SocketAddr,
    /// Where it listens for the others.
    pub peer: SocketAddr,
}

impl NodeSpec {
    /// Writes the configuration files of a new cluster into `directory`, on ports that are free and stay so.
    ///
    /// # Panics
    /// If the files cannot be written.
    pub fn cluster(directory: &Path, settings: &ClusterSettings) -> Vec<Self> {
        let first_port = free_ports(3 * settings.nodes);
        let address = |at: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, first_port + at));
        let spec = |at: u16| {
            let id = u64::from(at) + 1;
            Self {
                id,
                config: directory.join(format!("node-{id}.toml")),
                data: directory.join(format!("node-{id}")),
                log: directory.join(format!("node-{id}.log")),
                resp: address(3 * at),
                admin: address(3 * at + 1),
                peer: address(3 * at + 2),
            }
        };
        let specs: Vec<Self> = (0..settings.nodes).map(spec).collect();
        for spec in &specs {
            fs::write(&spec.config, spec.toml(settings, &specs)).expect("the configuration can be written");
        }
        specs
    }

    /// The command that runs it, for a test that wants something else than [`Node`].
    pub fn command(&self) -> Command {
        let mut command = Command::new(quorate_binary());
        command.arg("node").arg("--config").arg(&self.config).stdin(Stdio::null());
        // What the tests themselves are run with is not meant for it.
        for (name, _) in std::env::vars_os() {
            if name == "RUST_LOG" || name.as_encoded_bytes().starts_with(b"QUORATE_") {
                command.env_remove(name);
            }
        }
        command
    }

    fn toml(&self, settings: &ClusterSettings, nodes: &[Self]) -> String {
        let ClusterSettings { groups, replication, keys, sections, .. } = settings;
        let data = toml_string(&self.data);
        let mut text = format!("cluster = \"tests\"\nnode = {}\ndata_dir = {data}\n{keys}\n", self.id);
        for Self { id, resp, admin, peer, .. } in nodes {
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "\n[[nodes]]\nid = {id}\npeer = \"{peer}\"\nresp = \"{resp}\"\nadmin = \"{admin}\"\n"
            );
        }
        let _ = write!(text, "\n[bootstrap]\ngroups = {groups}\nreplication = {replication}\n\n{sections}\n");
        text
    }
}

/// As a literal string of TOML, which has no escapes.
fn toml_string(path: &Path) -> String {
    let path = path.to_str().filter(|path| !path.contains('\''));
    format!("'{}'", path.expect("directories of tests have plain names"))
}

/// A running `quorate node`. Killed when dropped.
#[derive(Debug)]
pub struct Node {
    child: Child,
    output: Receiver<String>,
    spec: NodeSpec,
}

impl Node {
    /// Starts it, and returns at once. Its log goes on in the file of the start before.
    ///
    /// # Panics
    /// If there is no binary.
    pub fn spawn(spec: &NodeSpec) -> Self {
        let log =
            OpenOptions::new().create(true).append(true).open(&spec.log).expect("the log can be opened");
        let mut command = spec.command();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the binary starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (said, output) = mpsc::channel();
        // Ends with the process.
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // A line nobody waits for any more.
                drop(said.send(line));
            }
        });
        Self { child, output, spec: spec.clone() }
    }

    /// Starts it and waits until its groups have leaders: enough of the other nodes must run.
    ///
    /// # Panics
    /// As [`Node::wait_ready`].
    pub fn start(spec: &NodeSpec) -> Self {
        let mut node = Self::spawn(spec);
        node.wait_ready();
        node
    }

    /// Starts all of them, then waits for each.
    ///
    /// # Panics
    /// As [`Node::wait_ready`].
    pub fn start_all(specs: &[NodeSpec]) -> Vec<Self> {
        let mut nodes: Vec<Self> = specs.iter().map(Self::spawn).collect();
        for node in &mut nodes {
            node.wait_ready();
        }
        nodes
    }

    /// Waits for the line that says that its groups have leaders, and returns it.
    ///
    /// # Panics
    /// With the end of its log, if it ends before, or is not ready within a minute.
    pub fn wait_ready(&mut self) -> String {
        self.wait_line("ready ")
    }

    /// Waits for the next line that begins with `start`: `node ` when its listeners are open, `ready `.
    ///
    /// # Panics
    /// As [`Node::wait_ready`].
    pub fn wait_line(&mut self, start: &str) -> String {
        while let Ok(line) = self.output.recv_timeout(READY_TIMEOUT) {
            if line.starts_with(start) {
                return line;
            }
        }
        let state = self.child.try_wait();
        panic!(
            "node {} did not say {start:?}, now {state:?}; its log ends\n{}",
            self.spec.id,
            self.log_end()
        );
    }

    /// What it was started with.
    pub fn spec(&self) -> &NodeSpec {
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
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// SIGSTOP: it hangs, with its connections open.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is not gone");
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("a child can be waited for")
    }

    /// The end of what it has logged.
    pub fn log_end(&self) -> String {
        let Ok(log) = File::open(&self.spec.log) else { return String::new() };
        let lines: Vec<String> = BufReader::new(log).lines().map_while(Result::ok).collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Fails if it has ended, which is as well.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let mut err = std::io::stderr().lock();
            let _ = std::io::Write::write_fmt(
                &mut err,
                format_args!("-- the log of node {} ends\n{}\n", self.spec.id, self.log_end()),
            );
        }
    }
}
