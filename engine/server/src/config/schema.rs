//! Every key of the configuration: its path, its bounds, what it means, and the setting behind it.
//!
//! The file, the environment, `--set`, `config print`, the template and the table in `docs/OPERATIONS.md` are all made
//! from this one list. To add a key: a field in [`NodeSettings`] and a row here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::settings::NodeSettings;
use super::units::{ByteSize, TimeSpan};
use super::word::Word;
use crate::options::GROUPS_MAX;

/// One key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// Section and name: `raft.tick`.
    pub(crate) path: &'static str,
    /// What values it takes.
    pub(crate) bounds: Bounds,
    /// What it is for, in full sentences.
    pub(crate) meaning: &'static str,
    /// An example, for keys without a default.
    pub(crate) example: &'static str,
    /// The setting behind it.
    pub(crate) slot: for<'a> fn(&'a mut NodeSettings) -> Slot<'a>,
}

/// What values a key takes, beside what its type says. Inclusive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bounds {
    /// Nothing more.
    None,
    /// For numbers.
    Count(u64, u64),
    /// For sizes.
    Bytes(ByteSize, ByteSize),
    /// For times.
    Time(TimeSpan, TimeSpan),
}

/// A setting, by its type.
pub(crate) enum Slot<'a> {
    Text(&'a mut String),
    Path(&'a mut PathBuf),
    File(&'a mut Option<PathBuf>),
    Count(&'a mut u64),
    OptionalCount(&'a mut Option<u64>),
    Bytes(&'a mut ByteSize),
    Time(&'a mut TimeSpan),
    Address(&'a mut Option<SocketAddr>),
    Flag(&'a mut bool),
    Word(&'a mut dyn Word),
    Secret(&'a mut Option<SecretString>),
}

impl Key {
    const fn new(
        path: &'static str,
        bounds: Bounds,
        meaning: &'static str,
        slot: for<'a> fn(&'a mut NodeSettings) -> Slot<'a>,
    ) -> Self {
        Self { path, bounds, meaning, example: "", slot }
    }

    const fn example(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    /// The section, empty for keys in front of the first one; and the name in it.
    pub(crate) fn split(&self) -> (&'static str, &'static str) {
        self.path.rsplit_once('.').unwrap_or(("", self.path))
    }

    /// Its environment variable.
    pub(crate) fn variable(&self) -> String {
        format!("QUORATE_{}", self.path.to_ascii_uppercase().replace('.', "__"))
    }
}

const fn kib(count: u64) -> ByteSize {
    ByteSize(count << 10)
}

const fn mib(count: u64) -> ByteSize {
    ByteSize(count << 20)
}

const fn millis(count: u64) -> TimeSpan {
    TimeSpan(Duration::from_millis(count))
}

/// A day.
const DAY_MILLIS: u64 = 86_400_000;

const fn count(min: u64, max: u64) -> Bounds {
    Bounds::Count(min, max)
}

/// What the others say of plaintext.
const PLAINTEXT: &str = "Consent to serve other machines in plaintext: there is no TLS yet. Without it an address \
that is not loopback is refused.";

/// All keys but those of `[[nodes]]`, section by section in the order of the template.
pub(crate) const KEYS: &[Key] = &[
    Key::new(
        "cluster",
        Bounds::None,
        "Name of the cluster, 1 to 64 bytes, the same on all nodes and for ever: nodes and directories of another \
         one are refused.",
        |s| Slot::Text(&mut s.cluster),
    ),
    Key::new(
        "node",
        count(1, u32::MAX as u64),
        "Id of this node, one of [[nodes]]. Required. Never give the id of a lost node to a new one.",
        |s| Slot::Count(&mut s.node),
    )
    .example("1"),
    Key::new(
        "data_dir",
        Bounds::None,
        "Directory of this node's data, made if it is not there. Required. A relative path starts at the working \
         directory.",
        |s| Slot::Path(&mut s.data_dir),
    )
    .example("\"/var/lib/quorate\""),
    Key::new(
        "store",
        Bounds::None,
        "Store of the state machines.",
        |s| Slot::Word(&mut s.store),
    ),
    Key::new(
        "routing",
        Bounds::None,
        "What a Redis client gets for a key that another node leads: with cluster a MOVED with that node's address, \
         with proxy the answer itself.",
        |s| Slot::Word(&mut s.routing),
    ),
    Key::new(
        "listen.peer",
        Bounds::None,
        "Address to listen on for other nodes. Default: what [[nodes]] says of this node.",
        |s| Slot::Address(&mut s.listen.peer),
    )
    .example("\"127.0.0.1:7380\""),
    Key::new(
        "listen.resp",
        Bounds::None,
        "Address to serve the Redis protocol on. Default: what [[nodes]] says of this node; if it says nothing, no \
         clients are served.",
        |s| Slot::Address(&mut s.listen.resp),
    )
    .example("\"127.0.0.1:6380\""),
    Key::new(
        "listen.admin",
        Bounds::None,
        "Address to serve the admin pages on. Default: what [[nodes]] says of this node; if it says nothing, there \
         are none.",
        |s| Slot::Address(&mut s.listen.admin),
    )
    .example("\"127.0.0.1:9180\""),
    Key::new(
        "bootstrap.groups",
        count(1, GROUPS_MAX as u64),
        "Groups that share the keys. Fixed when the cluster starts for the first time; another number is refused \
         afterwards.",
        |s| Slot::Count(&mut s.bootstrap.groups),
    ),
    Key::new(
        "bootstrap.replication",
        count(1, 9),
        "Replicas of each group of a new cluster, at most one on each node. The default is the number of nodes if \
         there are fewer.",
        |s| Slot::Count(&mut s.bootstrap.replication),
    ),
    Key::new(
        "raft.tick",
        Bounds::Time(millis(1), millis(1_000)),
        "One tick of raft's clock. The same on all nodes, as the next two.",
        |s| Slot::Time(&mut s.raft.tick),
    ),
    Key::new(
        "raft.heartbeat_ticks",
        count(1, 100),
        "Ticks between a leader's heartbeats.",
        |s| Slot::Count(&mut s.raft.heartbeat_ticks),
    ),
    Key::new(
        "raft.election_ticks",
        count(2, 1_000),
        "Ticks without a leader before an election; each time the timeout is drawn between this and twice this. More \
         than heartbeat_ticks.",
        |s| Slot::Count(&mut s.raft.election_ticks),
    ),
    Key::new(
        "snapshots.log_bytes_min",
        Bounds::Bytes(kib(64), mib(1 << 20)),
        "A group publishes a snapshot when its log since the last one is longer than this, and longer than half of \
         that snapshot.",
        |s| Slot::Bytes(&mut s.snapshots.log_bytes_min),
    ),
    Key::new(
        "snapshots.age_max",
        Bounds::Time(millis(1_000), millis(DAY_MILLIS * 365)),
        "Also publish one after this time, if data has changed.",
        |s| Slot::Time(&mut s.snapshots.age_max),
    ),
    Key::new(
        "snapshots.entries",
        count(1, u32::MAX as u64),
        "Also publish one after so many entries. For tests.",
        |s| Slot::OptionalCount(&mut s.snapshots.entries),
    )
    .example("1000"),
    Key::new(
        "snapshots.trailing_entries",
        count(0, 1_000_000),
        "Entries that stay in the log behind a snapshot, so that a follower that lags a little needs none.",
        |s| Slot::Count(&mut s.snapshots.trailing_entries),
    ),
    Key::new(
        "snapshots.trailing_bytes",
        Bounds::Bytes(ByteSize(0), mib(1 << 20)),
        "Log that stays behind a snapshot for trailing_entries and for slow followers, at most.",
        |s| Slot::Bytes(&mut s.snapshots.trailing_bytes),
    ),
    Key::new(
        "snapshots.follower_grace",
        Bounds::Time(millis(0), millis(DAY_MILLIS)),
        "A follower that was not heard of for this long no longer holds the log; it gets a snapshot when it is back.",
        |s| Slot::Time(&mut s.snapshots.follower_grace),
    ),
    Key::new(
        "snapshots.kept",
        count(2, 3),
        "Snapshots kept of each group, as far as they take no more than three times the newest.",
        |s| Slot::Count(&mut s.snapshots.kept),
    ),
    Key::new(
        "snapshots.bytes_per_second",
        Bounds::Bytes(kib(1), mib(16 << 10)),
        "Bytes of snapshots that this node writes, reads back to verify them, sends or restores, \
         and of stores that it builds anew, in a second.",
        |s| Slot::Bytes(&mut s.snapshots.bytes_per_second),
    ),
    Key::new(
        "snapshots.publishing_max",
        count(1, 64),
        "Snapshots that this node writes at the same time.",
        |s| Slot::Count(&mut s.snapshots.publishing_max),
    ),
    Key::new(
        "snapshots.transfers_max",
        count(1, 64),
        "Snapshots that this node sends, and apart from them receives, at the same time.",
        |s| Slot::Count(&mut s.snapshots.transfers_max),
    ),
    Key::new(
        "cold_start.policy",
        Bounds::None,
        "When a group starts without restoring its state: with snapshot if the state is as fresh as the newest \
         snapshot, with committed_tail only if nothing that is known to be committed is left to replay.",
        |s| Slot::Word(&mut s.cold_start.policy),
    ),
    Key::new(
        "cold_start.verify",
        Bounds::None,
        "What such a start reads of the newest snapshot: with deferred nothing, with eager the whole file, to replace \
         it if it is damaged.",
        |s| Slot::Word(&mut s.cold_start.verify),
    ),
    Key::new(
        "cold_start.opening_max",
        count(1, 256),
        "Groups that are opened at the same time.",
        |s| Slot::Count(&mut s.cold_start.opening_max),
    ),
    Key::new(
        "cold_start.restoring_max",
        count(1, 64),
        "Groups whose state is restored, or whose snapshot is read whole, at the same time. Others do not wait for \
         them.",
        |s| Slot::Count(&mut s.cold_start.restoring_max),
    ),
    Key::new(
        "disk.reserve",
        Bounds::Bytes(ByteSize(0), mib(1 << 20)),
        "Size of a file that is given back to the file system when the disk is almost full, so that deletes and \
         compaction can go on. 0B for none.",
        |s| Slot::Bytes(&mut s.disk.reserve),
    ),
    Key::new(
        "disk.low",
        Bounds::Bytes(ByteSize(0), mib(1 << 20)),
        "Free space below which writes are refused; they are taken again once twice as much is free beside the \
         reserve. 0B: never refused.",
        |s| Slot::Bytes(&mut s.disk.low),
    ),
    Key::new(
        "hlc.window",
        Bounds::Time(millis(1_000), millis(60_000)),
        "How far a lease for timestamps reaches: after a change of leader they may be ahead of real time by as much.",
        |s| Slot::Time(&mut s.hlc.window),
    ),
    Key::new(
        "hlc.renew",
        Bounds::None,
        "on-demand renews a lease while timestamps were asked for within the last window; always, for tests, keeps \
         every group's.",
        |s| Slot::Word(&mut s.hlc.renew),
    ),
    Key::new(
        "scrub.interval",
        Bounds::Time(millis(0), millis(366 * DAY_MILLIS)),
        "Every replica reads all it keeps, values and snapshots, once in this time, and up to a quarter of it later. \
         0ms: never.",
        |s| Slot::Time(&mut s.scrub.interval),
    ),
    Key::new(
        "scrub.bytes_per_second",
        Bounds::Bytes(kib(1), mib(16 << 10)),
        "Bytes that this node reads for that in a second.",
        |s| Slot::Bytes(&mut s.scrub.bytes_per_second),
    ),
    Key::new(
        "consistency.interval",
        Bounds::Time(millis(0), millis(366 * DAY_MILLIS)),
        "Leaders compare the states of a group's replicas once in this time, and up to a quarter of it later. 0ms: \
         never.",
        |s| Slot::Time(&mut s.consistency.interval),
    ),
    Key::new(
        "memory.memtable",
        Bounds::Bytes(mib(1), mib(1 << 20)),
        "Memory for unflushed writes of the state stores, all groups together.",
        |s| Slot::Bytes(&mut s.memory.memtable),
    ),
    Key::new(
        "memory.cache",
        Bounds::Bytes(mib(1), mib(1 << 20)),
        "Memory for cached blocks of the state stores, all groups together.",
        |s| Slot::Bytes(&mut s.memory.cache),
    ),
    Key::new(
        "threads.log_writers",
        count(1, 64),
        "Threads that write and sync logs; the groups are spread over them.",
        |s| Slot::Count(&mut s.threads.log_writers),
    ),
    Key::new(
        "threads.appliers",
        count(1, 64),
        "Threads that apply entries; the groups are spread over them.",
        |s| Slot::Count(&mut s.threads.appliers),
    ),
    Key::new(
        "requests.deadline",
        Bounds::Time(millis(100), millis(600_000)),
        "How long an operation may take, the search for a leader included. At least two election timeouts, or \
         clients see every election.",
        |s| Slot::Time(&mut s.requests.deadline),
    ),
    Key::new("peer.plaintext", Bounds::None, PLAINTEXT, |s| Slot::Flag(&mut s.peer.plaintext)),
    Key::new(
        "resp.password",
        Bounds::None,
        "Password of the user default. Without one everybody who reaches the port is that user. Not taken from the \
         command line, where other users of the machine could read it.",
        |s| Slot::Secret(&mut s.resp.password),
    )
    .example("\"change me\""),
    Key::new(
        "resp.password_file",
        Bounds::None,
        "File that holds the password, instead of password. A line end at its end does not count.",
        |s| Slot::File(&mut s.resp.password_file),
    )
    .example("\"/etc/quorate/resp-password\""),
    Key::new("resp.plaintext", Bounds::None, PLAINTEXT, |s| Slot::Flag(&mut s.resp.plaintext)),
    Key::new(
        "resp.max_connections",
        count(1, 1_000_000),
        "Connections at the same time; one more is told so and closed.",
        |s| Slot::Count(&mut s.resp.max_connections),
    ),
    Key::new(
        "resp.max_request",
        Bounds::Bytes(kib(64), mib(1_024)),
        "Size of one request; a longer one ends its connection.",
        |s| Slot::Bytes(&mut s.resp.max_request),
    ),
    Key::new(
        "resp.max_buffered",
        Bounds::Bytes(mib(1), mib(1 << 20)),
        "Requests and replies that all connections hold together, beyond the first 16 KiB of each; the connection \
         that goes over it is closed.",
        |s| Slot::Bytes(&mut s.resp.max_buffered),
    ),
    Key::new(
        "resp.request_arrival",
        Bounds::Time(millis(100), millis(3_600_000)),
        "A request that has begun to arrive is complete after this long, or its connection is closed.",
        |s| Slot::Time(&mut s.resp.request_arrival),
    ),
    Key::new(
        "resp.write_stall",
        Bounds::Time(millis(100), millis(3_600_000)),
        "A client that takes no byte of a waiting reply for this long is disconnected.",
        |s| Slot::Time(&mut s.resp.write_stall),
    ),
    Key::new(
        "admin.token",
        Bounds::None,
        "Token that every admin page but /healthz asks for (Authorization: Bearer). Not taken from the command line.",
        |s| Slot::Secret(&mut s.admin.token),
    )
    .example("\"change me\""),
    Key::new(
        "admin.token_file",
        Bounds::None,
        "File that holds the token, instead of token. A line end at its end does not count.",
        |s| Slot::File(&mut s.admin.token_file),
    )
    .example("\"/etc/quorate/admin-token\""),
    Key::new("admin.plaintext", Bounds::None, PLAINTEXT, |s| Slot::Flag(&mut s.admin.plaintext)),
    Key::new(
        "log.level",
        Bounds::None,
        "error, warn, info, debug or trace, or directives such as \"info,quorate_shard=debug\". RUST_LOG, where it is \
         set, takes its place.",
        |s| Slot::Text(&mut s.log.level),
    ),
    Key::new(
        "log.format",
        Bounds::None,
        "Form of the log lines on standard error: auto is text on a terminal and JSON elsewhere.",
        |s| Slot::Word(&mut s.log.format),
    ),
];

/// The key of that path.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The names in a section; none if there is no such section.
pub(crate) fn names_in(section: &str) -> Vec<&'static str> {
    KEYS.iter().map(Key::split).filter(|(of, _)| *of == section).map(|(_, name)| name).collect()
}
