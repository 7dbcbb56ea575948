//! Commands about the server itself: `INFO`, `COMMAND`, `CONFIG GET`, `WAIT`.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::arguments;
use super::command::{self, Server, TABLE};
use super::glob::Glob;
use super::reply::{self, Reply};
use super::server::Frontend;
use crate::backend::{InfoSection, Routing, SlotRange, Topology};

/// The Redis whose commands and texts are spoken, for clients that look at it.
pub(super) const REDIS_VERSION: &str = "7.2.0";

/// The reply to `command`. `args` are as many as it takes.
///
/// # Errors
/// The reply to send instead.
pub(super) fn reply(command: Server, args: &[Bytes], frontend: &Frontend) -> Result<Reply, Reply> {
    Ok(match command {
        Server::Info => info(args, frontend),
        Server::Command | Server::CommandInfo => command::info(args),
        Server::CommandCount => reply::count(TABLE.len()),
        Server::CommandDocs => command::docs(args),
        Server::CommandGetkeys => command::keys_of(args),
        Server::CommandList => command::names(args),
        Server::ConfigGet => config(args, frontend)?,
        Server::Wait => wait(args, &frontend.backend.topology())?,
    })
}

/// `INFO [section ...]`.
fn info(args: &[Bytes], frontend: &Frontend) -> Reply {
    let wants = |title: &str| {
        let all: [&[u8]; 3] = [b"all", b"default", b"everything"];
        let is_wanted = |arg: &Bytes| {
            title.as_bytes().eq_ignore_ascii_case(arg) || all.iter().any(|all| all.eq_ignore_ascii_case(arg))
        };
        args.is_empty() || args.iter().any(is_wanted)
    };
    let mut sections = own_sections(frontend);
    sections.extend(frontend.backend.info());
    let mut out = String::new();
    for section in sections.iter().filter(|section| wants(section.title)) {
        if !out.is_empty() {
            out.push_str("\r\n");
        }
        let _ = write!(out, "# {}\r\n", section.title);
        for (name, value) in &section.fields {
            let _ = write!(out, "{name}:{value}\r\n");
        }
    }
    Reply::Verbatim(out)
}

/// `redis_mode` as clients know it.
pub(super) fn mode(routing: Routing) -> &'static str {
    match routing {
        Routing::Proxy => "standalone",
        Routing::Cluster => "cluster",
    }
}

fn own_sections(frontend: &Frontend) -> Vec<InfoSection> {
    let stats = &frontend.stats;
    let server = vec![
        ("redis_version", REDIS_VERSION.to_owned()),
        ("redis_mode", mode(frontend.routing).to_owned()),
        ("quorate_version", env!("CARGO_PKG_VERSION").to_owned()),
        ("process_id", std::process::id().to_string()),
        ("tcp_port", frontend.local_addr.port().to_string()),
    ];
    let clients = vec![
        ("connected_clients", stats.connections.load(Ordering::Relaxed).to_string()),
        ("maxclients", frontend.limits.connections_max.to_string()),
    ];
    let cluster = match frontend.routing {
        Routing::Proxy => "0",
        Routing::Cluster => "1",
    };
    let totals = vec![
        ("total_connections_received", stats.connections_total.load(Ordering::Relaxed).to_string()),
        ("total_commands_processed", stats.commands_total.load(Ordering::Relaxed).to_string()),
        ("total_error_replies", stats.error_replies_total.load(Ordering::Relaxed).to_string()),
        ("rejected_connections", stats.rejected_total.load(Ordering::Relaxed).to_string()),
    ];
    vec![
        InfoSection { title: "Server", fields: server },
        InfoSection { title: "Clients", fields: clients },
        // What clients wait for before they use a server.
        InfoSection { title: "Persistence", fields: vec![("loading", "0".to_owned())] },
        InfoSection { title: "Stats", fields: totals },
        InfoSection { title: "Replication", fields: vec![("role", "master".to_owned())] },
        InfoSection { title: "Cluster", fields: vec![("cluster_enabled", cluster.to_owned())] },
    ]
}

/// Patterns of one `CONFIG GET`: they are matched on the connection's task.
const PATTERNS_MAX: usize = 64;

/// `CONFIG GET pattern ...`: the few settings tools look at. Nothing can be set.
fn config(patterns: &[Bytes], frontend: &Frontend) -> Result<Reply, Reply> {
    if patterns.len() > PATTERNS_MAX {
        return Err(reply::error(&format!("ERR at most {PATTERNS_MAX} patterns in one request")));
    }
    let patterns = patterns.iter().map(|pattern| Glob::ignoring_case(pattern)).collect::<Result<Vec<_>, _>>();
    let patterns = patterns.map_err(|error| reply::error(&format!("ERR {error}")))?;
    let is_wanted = |name: &str| patterns.iter().any(|pattern| pattern.matches(name.as_bytes()));
    let matching = settings(frontend).into_iter().filter(|(name, _)| is_wanted(name));
    Ok(Reply::Map(matching.map(|(name, value)| (reply::word(name), reply::text(value))).collect()))
}

/// `WAIT replicas timeout`: every write before it has been answered, and a write is answered when a quorum has it. So
/// there is nothing to wait for, and as many replicas have it beside the leader as the smallest group needs.
fn wait(args: &[Bytes], topology: &Topology) -> Result<Reply, Reply> {
    arguments::integer(&args[0])?;
    match arguments::integer(&args[1]) {
        Ok(0..) => {}
        Ok(_) => return Err(reply::error("ERR timeout is negative")),
        Err(_) => return Err(reply::error("ERR timeout is not an integer or out of range")),
    }
    let replicas = |range: &SlotRange| usize::from(range.leader.is_some()) + range.followers.len();
    // A quorum of n replicas is n / 2 + 1, of which one leads.
    Ok(reply::count(topology.ranges.iter().map(replicas).min().unwrap_or(0) / 2))
}

fn settings(frontend: &Frontend) -> Vec<(&'static str, String)> {
    vec![
        // Every acknowledged write is on disk on a quorum: that is Redis's "yes" with "always".
        ("appendfsync", "always".to_owned()),
        ("appendonly", "yes".to_owned()),
        ("databases", "1".to_owned()),
        ("maxclients", frontend.limits.connections_max.to_string()),
        ("maxmemory", "0".to_owned()),
        ("port", frontend.local_addr.port().to_string()),
        ("proto-max-bulk-len", frontend.limits.bulk_bytes_max.to_string()),
        ("save", String::new()),
        ("timeout", "0".to_owned()),
    ]
}
