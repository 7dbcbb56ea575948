//! Commands about the server itself: `INFO`, `COMMAND`, `CONFIG GET` and the tolerated part of `CLIENT`.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::command::{self, Spec, TABLE};
use super::reply::{self, Reply};
use super::server::Frontend;
use crate::backend::{InfoSection, Routing};

/// The Redis whose commands and texts are spoken, for clients that look at it.
const REDIS_VERSION: &str = "7.0.0";

/// `INFO [section ...]`.
pub(super) fn info(args: &[Bytes], frontend: &Frontend) -> Reply {
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
    reply::text(out)
}

/// `redis_mode` as clients know it.
fn mode(routing: Routing) -> &'static str {
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
    let totals = vec![
        ("total_connections_received", stats.connections_total.load(Ordering::Relaxed).to_string()),
        ("total_commands_processed", stats.commands_total.load(Ordering::Relaxed).to_string()),
        ("rejected_connections", stats.rejected_total.load(Ordering::Relaxed).to_string()),
    ];
    vec![
        InfoSection { title: "Server", fields: server },
        InfoSection { title: "Clients", fields: clients },
        InfoSection { title: "Stats", fields: totals },
    ]
}

/// `COMMAND`, `COMMAND COUNT`, `COMMAND INFO [name ...]`, `COMMAND DOCS [name ...]`.
pub(super) fn command(args: &[Bytes]) -> Reply {
    let Some((subcommand, names)) = args.split_first() else {
        return Reply::Array(TABLE.iter().map(command_info).collect());
    };
    match subcommand.to_ascii_lowercase().as_slice() {
        b"count" if names.is_empty() => reply::integer(i64::try_from(TABLE.len()).unwrap_or(i64::MAX)),
        b"count" => reply::wrong_arity("command|count"),
        b"info" if names.is_empty() => Reply::Array(TABLE.iter().map(command_info).collect()),
        b"info" => {
            let found = names.iter().map(|name| command::find(name).map_or(Reply::Null, command_info));
            Reply::Array(found.collect())
        }
        b"docs" if names.is_empty() => Reply::Array(TABLE.iter().flat_map(command_docs).collect()),
        b"docs" => {
            let found = names.iter().filter_map(|name| command::find(name));
            Reply::Array(found.flat_map(command_docs).collect())
        }
        _ => reply::unknown_subcommand("command", subcommand),
    }
}

/// The ten fields of Redis 7, the last four (categories, tips, key specifications, subcommands) empty.
fn command_info(spec: &Spec) -> Reply {
    let flags = spec.flags.iter().map(|flag| reply::simple(flag)).collect();
    let mut fields = vec![reply::text(spec.name), reply::integer(spec.arity), Reply::Array(flags)];
    fields.extend(spec.keys.map(reply::integer));
    fields.extend((0..4).map(|_| Reply::Array(Vec::new())));
    Reply::Array(fields)
}

/// A name, and what is known of it as names and values.
fn command_docs(spec: &Spec) -> [Reply; 2] {
    let docs = [("summary", spec.summary), ("since", "1.0.0"), ("group", spec.group)];
    let docs = docs.iter().flat_map(|(name, value)| [reply::text(*name), reply::text(*value)]);
    [reply::text(spec.name), Reply::Array(docs.collect())]
}

/// `CONFIG GET pattern ...`: the few settings tools look at. Nothing can be set.
pub(super) fn config(args: &[Bytes], frontend: &Frontend) -> Reply {
    match args.split_first() {
        Some((subcommand, patterns)) if subcommand.eq_ignore_ascii_case(b"get") => {
            if patterns.is_empty() {
                return reply::wrong_arity("config|get");
            }
            let matching = settings(frontend).into_iter().filter(|(name, _)| {
                patterns.iter().any(|pattern| matches_glob(&pattern.to_ascii_lowercase(), name.as_bytes()))
            });
            Reply::Array(matching.flat_map(|(name, value)| [reply::text(name), reply::text(value)]).collect())
        }
        Some((subcommand, _)) => reply::unknown_subcommand("config", subcommand),
        None => reply::wrong_arity("config"),
    }
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

/// `CLIENT SETNAME name` and `CLIENT SETINFO name value`, which libraries send when they connect.
pub(super) fn client(args: &[Bytes]) -> Reply {
    let Some((subcommand, values)) = args.split_first() else { return reply::wrong_arity("client") };
    let (name, values_expected) = match subcommand.to_ascii_lowercase().as_slice() {
        b"setname" => ("client|setname", 1),
        b"setinfo" => ("client|setinfo", 2),
        _ => return reply::unknown_subcommand("client", subcommand),
    };
    if values.len() == values_expected { reply::ok() } else { reply::wrong_arity(name) }
}

/// Whether `text` matches a pattern of `*`, `?` and plain bytes. Linear in the product of the lengths at worst.
fn matches_glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                // The last star takes one byte more.
                let Some((star_at, star_from)) = star else { return false };
                star = Some((star_at, star_from + 1));
                (at, from) = (star_at + 1, star_from + 1);
            }
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches_glob;

    #[test]
    fn stars_and_question_marks_match_as_in_a_shell() {
        for (pattern, text) in
            [("*", ""), ("*", "save"), ("s?ve", "save"), ("*a*e", "save"), ("app*", "appendonly")]
        {
            assert!(matches_glob(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("?", ""), ("sav", "save"), ("*x", "save"), ("save?", "save")] {
            assert!(!matches_glob(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }
}
