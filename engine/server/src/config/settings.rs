//! What a node is set up with: every key of the file in its type.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;
use secrecy::SecretString;

use super::units::{ByteSize, TimeSpan};
use crate::options::{RoutingMode, Store};
use crate::resp::Limits;

/// The settings of `quorate node`. [`super::load`] makes them, and only such as fit together.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// The cluster's name; nodes of another one are refused.
    pub cluster: String,
    /// This node's id.
    pub node: u64,
    /// This node's data directory.
    pub data_dir: PathBuf,
    /// Store of the state machines.
    pub store: Store,
    /// What is done with a key that another node leads.
    pub routing: RoutingMode,
    /// Where this node listens, where that is not what `nodes` says.
    pub listen: Listen,
    /// The nodes a new cluster starts with, in the order of the file.
    pub nodes: Vec<NodeEntry>,
    /// What a new cluster looks like.
    pub bootstrap: Bootstrap,
    /// Raft's timing.
    pub raft: Raft,
    /// When a group publishes a snapshot, what is kept, and how fast snapshots travel.
    pub snapshots: Snapshots,
    /// How groups start.
    pub cold_start: ColdStart,
    /// Room on the disk.
    pub disk: Disk,
    /// The groups' clocks.
    pub hlc: Hlc,
    /// The background scan.
    pub scrub: Scrub,
    /// The comparison of the replicas.
    pub consistency: Consistency,
    /// What all groups may use together.
    pub memory: Memory,
    /// Threads.
    pub threads: Threads,
    /// Operations.
    pub requests: Requests,
    /// The listener for other nodes.
    pub peer: Peer,
    /// The Redis listener.
    pub resp: Resp,
    /// The admin listener.
    pub admin: Admin,
    /// The log.
    pub log: Log,
}

/// Addresses to bind.
#[derive(Clone, Debug, Default)]
pub struct Listen {
    /// For other nodes.
    pub peer: Option<SocketAddr>,
    /// For Redis clients.
    pub resp: Option<SocketAddr>,
    /// For operators.
    pub admin: Option<SocketAddr>,
}

/// A node, as the others and their clients reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// Its id, never 0.
    pub id: u64,
    /// Where other nodes reach it.
    pub peer: SocketAddr,
    /// Where Redis clients reach it, if they may.
    pub resp: Option<SocketAddr>,
    /// Where operators reach it, if they may.
    pub admin: Option<SocketAddr>,
    /// Where the file says so.
    pub line: usize,
}

/// What a new cluster looks like.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Groups beside group 0.
    pub groups: u64,
    /// Replicas of each group; not more than there are nodes.
    pub replication: u64,
}

/// Raft's timing.
#[derive(Clone, Debug)]
pub struct Raft {
    /// One tick.
    pub tick: TimeSpan,
    /// Ticks between heartbeats.
    pub heartbeat_ticks: u64,
    /// Fewest ticks without a leader before an election.
    pub election_ticks: u64,
}

/// How the groups' clocks are leased.
#[derive(Clone, Debug)]
pub struct Hlc {
    /// How far a lease reaches.
    pub window: TimeSpan,
    /// When it is renewed.
    pub renew: Renew,
}

/// When a lease is renewed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Renew {
    /// While timestamps are asked for.
    #[default]
    OnDemand,
    /// Always.
    Always,
}

impl Renew {
    /// The same in the engine's words.
    pub fn engine(self) -> quorate::config::Renew {
        match self {
            Self::OnDemand => quorate::config::Renew::OnDemand,
            Self::Always => quorate::config::Renew::Always,
        }
    }
}

/// When a group publishes a snapshot, what is kept, and how fast snapshots travel.
#[derive(Clone, Debug)]
pub struct Snapshots {
    /// Log since the last one, at least.
    pub log_bytes_min: ByteSize,
    /// Time since the last one.
    pub age_max: TimeSpan,
    /// Entries since the last one.
    pub entries: Option<u64>,
    /// Entries that stay behind one.
    pub trailing_entries: u64,
    /// Log that stays behind one, at most.
    pub trailing_bytes: ByteSize,
    /// How long an unheard follower holds the log.
    pub follower_grace: TimeSpan,
    /// Snapshots kept.
    pub kept: u64,
    /// Sent or verified in a second, at most.
    pub bytes_per_second: ByteSize,
    /// Written at one time, at most.
    pub publishing_max: u64,
    /// Sent, and apart from them received, at one time, at most.
    pub transfers_max: u64,
}

/// How groups start.
#[derive(Clone, Debug)]
pub struct ColdStart {
    /// When a state on disk is good enough.
    pub policy: StartPolicy,
    /// What is read of a snapshot that is not restored.
    pub verify: StartVerify,
    /// Groups opened at one time.
    pub opening_max: u64,
    /// Groups restored at one time.
    pub restoring_max: u64,
}

/// When a state on disk is not restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StartPolicy {
    /// When it is as fresh as the newest snapshot.
    #[default]
    #[value(name = "snapshot")]
    Snapshot,
    /// When nothing committed is left to replay.
    #[value(name = "committed_tail")]
    CommittedTail,
}

/// What is read of the newest snapshot where the state is not restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StartVerify {
    /// Nothing; it is scrubbed later.
    #[default]
    Deferred,
    /// The whole file.
    Eager,
}

/// Room on the disk of the data directory.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The file that is given back when the disk is almost full.
    pub reserve: ByteSize,
    /// Free space below which writes are refused.
    pub low: ByteSize,
}

/// The background scan of all that a replica keeps.
#[derive(Clone, Debug)]
pub struct Scrub {
    /// Time between two; zero for never.
    pub interval: TimeSpan,
    /// Read in a second, at most.
    pub bytes_per_second: ByteSize,
}

/// The comparison of the replicas' states.
#[derive(Clone, Debug)]
pub struct Consistency {
    /// Time between two; zero for never.
    pub interval: TimeSpan,
}

/// Memory of a node.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Unflushed writes.
    pub memtable: ByteSize,
    /// Cached blocks.
    pub cache: ByteSize,
}

/// Threads of a node.
#[derive(Clone, Debug)]
pub struct Threads {
    /// Write logs.
    pub log_writers: u64,
    /// Apply entries.
    pub appliers: u64,
}

/// Operations.
#[derive(Clone, Debug)]
pub struct Requests {
    /// How long one may take.
    pub deadline: TimeSpan,
}

/// The listener for other nodes.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Whether it may be reached from other machines without TLS.
    pub plaintext: bool,
}

/// The Redis listener.
#[derive(Clone, Debug)]
pub struct Resp {
    /// Password of the user `default`.
    pub password: Option<SecretString>,
    /// File that holds it.
    pub password_file: Option<PathBuf>,
    /// Whether it may be reached from other machines without TLS.
    pub plaintext: bool,
    /// Connections at the same time.
    pub max_connections: u64,
    /// Bytes of one request.
    pub max_request: ByteSize,
    /// Bytes buffered for all connections.
    pub max_buffered: ByteSize,
    /// How long a request may take to arrive.
    pub request_arrival: TimeSpan,
    /// How long a client may leave a reply waiting.
    pub write_stall: TimeSpan,
}

/// The admin listener.
#[derive(Clone, Debug, Default)]
pub struct Admin {
    /// Bearer token.
    pub token: Option<SecretString>,
    /// File that holds it.
    pub token_file: Option<PathBuf>,
    /// Whether it may be reached from other machines without TLS.
    pub plaintext: bool,
}

/// The log.
#[derive(Clone, Debug)]
pub struct Log {
    /// A level, or directives.
    pub level: String,
    /// Its form.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for NodeSettings {
    /// The engine's and the frontend's defaults; without a node id, a directory and nodes, which have none.
    fn default() -> Self {
        let engine = quorate::Config::new("");
        let limits = Limits::default();
        Self {
            cluster: "quorate".to_owned(),
            node: 0,
            data_dir: PathBuf::new(),
            store: Store::default(),
            routing: RoutingMode::Cluster,
            listen: Listen::default(),
            nodes: Vec::new(),
            bootstrap: Bootstrap { groups: 8, replication: engine.bootstrap.replication as u64 },
            raft: Raft {
                tick: TimeSpan(engine.raft.tick),
                heartbeat_ticks: engine.raft.heartbeat_ticks.into(),
                election_ticks: engine.raft.election_ticks.into(),
            },
            snapshots: Snapshots::of(&engine.snapshots),
            cold_start: ColdStart {
                policy: StartPolicy::default(),
                verify: StartVerify::default(),
                opening_max: engine.cold_start.opening_max as u64,
                restoring_max: engine.cold_start.restoring_max as u64,
            },
            disk: Disk { reserve: ByteSize(engine.disk.reserve_bytes), low: ByteSize(engine.disk.low_bytes) },
            hlc: Hlc { window: TimeSpan(engine.hlc.window), renew: Renew::default() },
            scrub: Scrub {
                interval: TimeSpan(engine.scrub.interval),
                bytes_per_second: ByteSize(engine.scrub.bytes_per_second),
            },
            consistency: Consistency { interval: TimeSpan(engine.consistency.interval) },
            memory: Memory { memtable: ByteSize(engine.memtable_bytes), cache: ByteSize(engine.cache_bytes) },
            threads: Threads { log_writers: engine.log_writers as u64, appliers: engine.appliers as u64 },
            requests: Requests { deadline: TimeSpan(engine.deadline) },
            peer: Peer::default(),
            resp: Resp {
                password: None,
                password_file: None,
                plaintext: false,
                max_connections: limits.connections_max as u64,
                max_request: ByteSize(limits.request_bytes_max as u64),
                max_buffered: ByteSize(limits.buffered_bytes_max as u64),
                request_arrival: TimeSpan(limits.request_arrival_max),
                write_stall: TimeSpan(limits.write_stall_max),
            },
            admin: Admin::default(),
            log: Log { level: "info".to_owned(), format: LogFormat::Auto },
        }
    }
}

impl Snapshots {
    fn of(engine: &quorate::config::SnapshotConfig) -> Self {
        Self {
            log_bytes_min: ByteSize(engine.log_bytes_min),
            age_max: TimeSpan(engine.age_max),
            entries: engine.entries,
            trailing_entries: engine.trailing_entries,
            trailing_bytes: ByteSize(engine.trailing_bytes),
            follower_grace: TimeSpan(engine.follower_grace),
            kept: engine.kept as u64,
            bytes_per_second: ByteSize(engine.bytes_per_second),
            publishing_max: engine.publishing_max as u64,
            transfers_max: engine.transfers_max as u64,
        }
    }
}

impl NodeSettings {
    /// This node among `nodes`.
    pub fn own(&self) -> Option<&NodeEntry> {
        self.nodes.iter().find(|entry| entry.id == self.node)
    }

    /// Where this node listens for the others.
    pub fn listen_peer(&self) -> Option<SocketAddr> {
        self.listen.peer.or(self.own().map(|own| own.peer))
    }

    /// Where this node serves the Redis protocol, if it does.
    pub fn listen_resp(&self) -> Option<SocketAddr> {
        self.listen.resp.or(self.own().and_then(|own| own.resp))
    }

    /// Where this node serves the admin pages, if it does.
    pub fn listen_admin(&self) -> Option<SocketAddr> {
        self.listen.admin.or(self.own().and_then(|own| own.admin))
    }
}
