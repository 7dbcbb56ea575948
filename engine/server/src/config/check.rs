//! Contradictions: values that are fine each, but not together.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tracing_subscriber::EnvFilter;

use super::load::Loader;
use super::problem::Origin;

/// Bytes of a cluster's name.
const CLUSTER_BYTES_MAX: usize = 64;

/// Notes every contradiction; cuts the default replication to the number of nodes.
pub(super) fn check(loader: &mut Loader) {
    required(loader);
    names(loader);
    distinct_nodes(loader);
    own_node(loader);
    listeners(loader);
    bootstrap(loader);
    raft(loader);
    exposure(loader);
}

fn required(loader: &mut Loader) {
    for path in ["node", "data_dir"] {
        if !loader.is_set(path) && loader.are_sound(&[path]) {
            loader.contradict(path, "is missing");
        }
    }
    if loader.settings.nodes.is_empty() && loader.are_sound(&["nodes"]) {
        loader.contradict(
            "nodes",
            "is missing: every node of the cluster needs a [[nodes]] entry, this one too",
        );
    }
}

fn names(loader: &mut Loader) {
    let bytes = loader.settings.cluster.len();
    if loader.are_sound(&["cluster"]) && !(1..=CLUSTER_BYTES_MAX).contains(&bytes) {
        loader.contradict(
            "cluster",
            format!("has {bytes} bytes, which is not within 1 to {CLUSTER_BYTES_MAX}"),
        );
    }
    if let Err(error) = EnvFilter::try_new(&loader.settings.log.level)
        && loader.are_sound(&["log.level"])
    {
        loader.contradict("log.level", error.to_string());
    }
}

fn distinct_nodes(loader: &mut Loader) {
    let mut ids = BTreeMap::new();
    let mut addresses: BTreeMap<SocketAddr, String> = BTreeMap::new();
    for (at, node) in loader.settings.nodes.clone().into_iter().enumerate() {
        let origin = || Origin::File { line: node.line };
        let path = |name| format!("nodes[{}].{name}", at + 1);
        if let Some(line) = ids.insert(node.id, node.line) {
            loader.refuse(
                origin(),
                path("id"),
                format!("{} is the id of the entry in line {line} too", node.id),
            );
        }
        for (name, address) in [("peer", Some(node.peer)), ("resp", node.resp), ("admin", node.admin)] {
            let Some(address) = address else { continue };
            if let Some(other) = addresses.insert(address, path(name)) {
                loader.refuse(origin(), path(name), format!("{address} is {other} too"));
            }
        }
    }
}

fn own_node(loader: &mut Loader) {
    if !loader.are_sound(&["node", "nodes"]) || loader.settings.own().is_some() {
        return;
    }
    let ids: Vec<String> = loader.settings.nodes.iter().map(|entry| entry.id.to_string()).collect();
    let text = format!("{} is not in [[nodes]], which has {}", loader.settings.node, ids.join(", "));
    loader.contradict("node", text);
}

/// Clients and nodes are sent to what `[[nodes]]` says, so this node must be listening there.
fn listeners(loader: &mut Loader) {
    let Some(own) = loader.settings.own().cloned().filter(|_| loader.are_sound(&["node", "nodes"])) else {
        return;
    };
    let listen = loader.settings.listen.clone();
    let pairs = [
        ("listen.peer", listen.peer, Some(own.peer)),
        ("listen.resp", listen.resp, own.resp),
        ("listen.admin", listen.admin, own.admin),
    ];
    for (path, bound, told) in pairs {
        let Some(bound) = bound else { continue };
        let text = match told {
            None => {
                format!("the entry of node {} in [[nodes]] has no such address (line {})", own.id, own.line)
            }
            Some(told) if told.port() != bound.port() => {
                format!("port {}, but [[nodes]] says {told} (line {})", bound.port(), own.line)
            }
            Some(told) if told.is_ipv4() != bound.is_ipv4() && !bound.ip().is_unspecified() => {
                format!("{bound}, but [[nodes]] says {told} (line {})", own.line)
            }
            Some(_) => continue,
        };
        loader.contradict(path, text);
    }
}

fn bootstrap(loader: &mut Loader) {
    let nodes = loader.settings.nodes.len() as u64;
    let replication = loader.settings.bootstrap.replication;
    if !loader.are_sound(&["nodes", "bootstrap.replication"]) || replication <= nodes {
        return;
    }
    if loader.is_set("bootstrap.replication") {
        let text = format!("{replication} replicas need as many nodes; [[nodes]] has {nodes}");
        loader.contradict("bootstrap.replication", text);
    } else {
        loader.settings.bootstrap.replication = nodes;
    }
}

fn raft(loader: &mut Loader) {
    let (heartbeat, election) = (loader.settings.raft.heartbeat_ticks, loader.settings.raft.election_ticks);
    let paths = ["raft.election_ticks", "raft.heartbeat_ticks"];
    if loader.are_sound(&paths) && election <= heartbeat {
        let at_fault = if loader.is_set(paths[0]) { paths[0] } else { paths[1] };
        let text = format!("election_ticks ({election}) must be more than heartbeat_ticks ({heartbeat})");
        loader.contradict(at_fault, text);
    }
}

/// There is no TLS yet: what other machines can reach needs a secret, and consent to send it in plaintext.
fn exposure(loader: &mut Loader) {
    let settings = &loader.settings;
    let (resp, admin) = (&settings.resp, &settings.admin);
    let has_password = resp.password.is_some() || resp.password_file.is_some();
    let has_token = admin.token.is_some() || admin.token_file.is_some();
    let listeners = [
        ("peer", settings.listen_peer(), true, settings.peer.plaintext),
        ("resp", settings.listen_resp(), has_password, resp.plaintext),
        ("admin", settings.listen_admin(), has_token, admin.plaintext),
    ];
    for (section, address, has_secret, consents) in listeners {
        let (listen, secret) =
            (format!("listen.{section}"), if section == "admin" { "token" } else { "password" });
        let involved =
            [listen.as_str(), "nodes", &format!("{section}.plaintext"), &format!("{section}.{secret}")];
        let Some(address) = address.filter(|_| loader.are_sound(&involved)) else { continue };
        if address.ip().to_canonical().is_loopback() {
            continue;
        }
        let own_line = loader.settings.own().map_or(Origin::Default, |own| Origin::File { line: own.line });
        let origin = if loader.is_set(&listen) { loader.origin(&listen) } else { own_line };
        if !has_secret {
            let text = format!("other machines can reach {address}: [{section}] needs a {secret}");
            loader.refuse(origin.clone(), listen.clone(), text);
        }
        if !consents {
            let text = format!(
                "other machines can reach {address}: [{section}] needs plaintext = true, there is no TLS yet"
            );
            loader.refuse(origin, listen, text);
        }
    }
}
