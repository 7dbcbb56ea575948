//! The two servers under comparison, as child processes that end with their handles.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Error;

/// For a start, until requests are served.
const START_MAX: Duration = Duration::from_secs(60);
/// For one answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What the load generator talks to.
pub(super) trait Server {
    fn name(&self) -> &'static str;
    /// Of any node.
    fn port(&self) -> u16;
    fn is_cluster(&self) -> bool;
    /// Error replies so far, of all nodes.
    fn error_replies(&self) -> Result<u64, Error>;
}

/// Killed and waited for when dropped: its data is thrown away anyway.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A `redis-server` that syncs every write before it answers.
pub(super) struct RedisServer {
    port: u16,
    _process: Process,
}

impl RedisServer {
    pub(super) fn start(dir: &Path) -> Result<Self, Error> {
        let dir = dir.join("redis");
        std::fs::create_dir(&dir).map_err(|source| Error::Io { what: "cannot make a directory", source })?;
        let port = free_ports(1)?[0];
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--no-appendfsync-on-rewrite", "no"])
            .arg("--dir")
            .arg(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|source| Error::Io { what: "redis-server (package redis-server)", source })?;
        let server = Self { port, _process: Process(child) };
        let begun = Instant::now();
        while info(port).is_err() {
            if begun.elapsed() > START_MAX {
                return Err(Error::Load("redis-server does not answer".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    pub(super) fn version(&self) -> Result<String, Error> {
        field(&info(self.port)?, "redis_version")
    }
}

impl Server for RedisServer {
    fn name(&self) -> &'static str {
        "redis-server"
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn is_cluster(&self) -> bool {
        false
    }

    fn error_replies(&self) -> Result<u64, Error> {
        error_replies(self.port)
    }
}

/// A cluster of `quorate node` processes.
pub(super) struct Quorate {
    resp_ports: Vec<u16>,
    processes: Vec<Process>,
}

impl Quorate {
    pub(super) fn start(dir: &Path, nodes: u16, groups: u16, store: &str) -> Result<Self, Error> {
        let io = |what| move |source| Error::Io { what, source };
        let ports = free_ports(usize::from(nodes) * 3)?;
        let mut started = Self { resp_ports: Vec::new(), processes: Vec::new() };
        let mut outputs = Vec::new();
        let shared = shared_config(groups, &ports);
        for (node, own) in (1..=nodes).zip(ports.chunks_exact(3)) {
            let data = dir.join(format!("node-{node}"));
            let own_part = own_config(node, store, &data, own);
            let path = dir.join(format!("node-{node}.toml"));
            std::fs::write(&path, own_part + &shared).map_err(io("cannot write a configuration"))?;
            let child = Command::new(binary()?)
                .arg("node")
                .arg("--config")
                .arg(&path)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn();
            let mut child = child.map_err(io("cannot start quorate"))?;
            outputs.extend(child.stdout.take());
            started.processes.push(Process(child));
            started.resp_ports.push(own[1]);
        }
        for output in outputs {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            if !lines.any(|line| line.starts_with("ready ")) {
                return Err(Error::Load("a quorate node ended before it was ready".to_owned()));
            }
            // A full pipe must not stop the node.
            std::thread::spawn(move || lines.for_each(drop));
        }
        Ok(started)
    }
}

impl Server for Quorate {
    fn name(&self) -> &'static str {
        "quorate"
    }

    fn port(&self) -> u16 {
        self.resp_ports[0]
    }

    fn is_cluster(&self) -> bool {
        true
    }

    fn error_replies(&self) -> Result<u64, Error> {
        self.resp_ports.iter().map(|&port| error_replies(port)).sum()
    }
}

/// What is a node's own in its configuration.
fn own_config(node: u16, store: &str, data: &Path, ports: &[u16]) -> String {
    let data = data.display();
    format!("node = {node}\ndata_dir = \"{data}\"\nstore = \"{store}\"\n\n[listen]\n{}", addresses(ports))
}

/// What all nodes have in common.
fn shared_config(groups: u16, ports: &[u16]) -> String {
    let nodes = (1..).zip(ports.chunks_exact(3));
    nodes.fold(format!("\n[bootstrap]\ngroups = {groups}\nreplication = 3\n"), |text, (id, ports)| {
        format!("{text}\n[[nodes]]\nid = {id}\n{}", addresses(ports))
    })
}

fn addresses(ports: &[u16]) -> String {
    let [peer, resp, admin] = [ports[0], ports[1], ports[2]].map(|port| format!("127.0.0.1:{port}"));
    format!("peer = \"{peer}\"\nresp = \"{resp}\"\nadmin = \"{admin}\"\n")
}

/// The `quorate` binary beside this one.
fn binary() -> Result<PathBuf, Error> {
    let own = std::env::current_exe().map_err(|source| Error::Io { what: "own path", source })?;
    let path = own.with_file_name("quorate");
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::Load(format!("{} is missing: cargo build --release --bin quorate", path.display())))
}

/// All held until all are known, so that none is given out twice.
fn free_ports(count: usize) -> Result<Vec<u16>, Error> {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let held: io::Result<Vec<TcpListener>> = (0..count).map(bind).collect();
    let ports = held.and_then(|held| {
        held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<io::Result<Vec<_>>>()
    });
    ports.map_err(|source| Error::Io { what: "no free ports", source })
}

fn error_replies(port: u16) -> Result<u64, Error> {
    let value = field(&info(port)?, "total_error_replies")?;
    value.parse().map_err(|_| Error::Load(format!("total_error_replies is {value:?}")))
}

fn field(info: &str, name: &str) -> Result<String, Error> {
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.map(str::to_owned).ok_or_else(|| Error::Load(format!("INFO has no {name}")))
}

/// The reply to `INFO`.
fn info(port: u16) -> Result<String, Error> {
    ask_info(port).map_err(|source| Error::Io { what: "INFO", source })
}

fn ask_info(port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.write_all(b"INFO\r\n")?;
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    reader.read_line(&mut head)?;
    let bytes = head.trim_end().strip_prefix('$').and_then(|length| length.parse::<usize>().ok());
    let mut text = vec![0; bytes.ok_or_else(|| io::Error::other(format!("answered {head:?}")))?];
    reader.read_exact(&mut text)?;
    String::from_utf8(text).map_err(io::Error::other)
}
