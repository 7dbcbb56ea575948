//! The settings of `quorate dev`, checked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use quorate::StoreKind;

use crate::backend::Routing;
use crate::exit::StartError;

/// Most nodes of a development cluster: they share one process.
pub const NODES_MAX: u16 = 9;

/// Most groups beside group 0.
pub const GROUPS_MAX: u32 = 4096;

/// Which store the state machines use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Store {
    /// The log-structured merge tree: the default.
    #[default]
    Lsm,
    /// sled.
    Sled,
    /// In memory; a restart restores from snapshot and log.
    Memory,
}

impl Store {
    /// In the engine's words.
    pub(crate) fn kind(self) -> StoreKind {
        match self {
            Self::Lsm => StoreKind::Lsm,
            Self::Sled => StoreKind::Sled,
            Self::Memory => StoreKind::Memory,
        }
    }
}

/// What a Redis client gets for a key whose group is led by another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RoutingMode {
    /// `MOVED`, with that node's address: for clients of Redis Cluster.
    Cluster,
    /// The answer itself, forwarded: for plain clients.
    Proxy,
}

impl From<RoutingMode> for Routing {
    fn from(mode: RoutingMode) -> Self {
        match mode {
            RoutingMode::Cluster => Self::Cluster,
            RoutingMode::Proxy => Self::Proxy,
        }
    }
}

/// What `quorate dev` runs. Node *i*, from 0, takes port + *i* of each listener; port 0 takes any free ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevOptions {
    /// Nodes, 1 to [`NODES_MAX`], all in this process.
    pub nodes: u16,
    /// Groups beside group 0, 1 to [`GROUPS_MAX`].
    pub groups: u32,
    /// Directory that holds one directory per node.
    pub data: PathBuf,
    /// First port of the Redis protocol.
    pub resp_port: u16,
    /// First port of the admin pages.
    pub admin_port: u16,
    /// First port between nodes.
    pub peer_port: u16,
    /// Store of the state machines.
    pub store: Store,
    /// What a client gets for a key that another node leads.
    pub routing: RoutingMode,
    /// Entries applied between two snapshots; `None` for the engine's default.
    pub snapshot_entries: Option<u64>,
}

impl DevOptions {
    /// # Errors
    /// [`StartError::Option`] for a number out of bounds, a port over 65,535, or listeners that would share one.
    pub fn check(&self) -> Result<(), StartError> {
        let refuse = |option, problem| Err(StartError::Option { option, problem });
        if !(1..=NODES_MAX).contains(&self.nodes) {
            return refuse("--nodes", format!("{} is not within 1 to {NODES_MAX}", self.nodes));
        }
        if !(1..=GROUPS_MAX).contains(&self.groups) {
            return refuse("--groups", format!("{} is not within 1 to {GROUPS_MAX}", self.groups));
        }
        if self.snapshot_entries == Some(0) {
            return refuse("--snapshot-entries", "must not be 0".to_owned());
        }
        let ports = [
            ("--resp-port", self.resp_port),
            ("--admin-port", self.admin_port),
            ("--peer-port", self.peer_port),
        ];
        for (at, &(option, port)) in ports.iter().enumerate() {
            if port == 0 {
                continue;
            }
            if port.checked_add(self.nodes - 1).is_none() {
                return refuse(option, format!("{port} leaves no ports for {} nodes", self.nodes));
            }
            let overlapping =
                ports[..at].iter().find(|(_, other)| *other != 0 && other.abs_diff(port) < self.nodes);
            if let Some((other, _)) = overlapping {
                return refuse(option, format!("{port} overlaps the ports of {other}"));
            }
        }
        Ok(())
    }

    /// Where node `node`, from 0, serves the Redis protocol.
    pub fn resp_addr(&self, node: u16) -> SocketAddr {
        self.address(self.resp_port, node)
    }

    /// Where node `node`, from 0, serves the admin pages.
    pub fn admin_addr(&self, node: u16) -> SocketAddr {
        self.address(self.admin_port, node)
    }

    /// Where node `node`, from 0, listens for the others.
    pub fn peer_addr(&self, node: u16) -> SocketAddr {
        self.address(self.peer_port, node)
    }

    fn address(&self, first_port: u16, node: u16) -> SocketAddr {
        assert!(node < self.nodes, "node {node} of {}", self.nodes);
        let port = if first_port == 0 { 0 } else { first_port + node };
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> DevOptions {
        DevOptions {
            nodes: 3,
            groups: 8,
            data: PathBuf::from("data"),
            resp_port: 6380,
            admin_port: 9180,
            peer_port: 7380,
            store: Store::Lsm,
            routing: RoutingMode::Proxy,
            snapshot_entries: None,
        }
    }

    #[test]
    fn node_i_takes_port_plus_i() {
        assert!(options().check().is_ok());
        assert_eq!(options().resp_addr(2).to_string(), "127.0.0.1:6382");
        assert_eq!(DevOptions { peer_port: 0, ..options() }.peer_addr(2).to_string(), "127.0.0.1:0");
    }

    #[test]
    fn bounds_and_overlapping_ports_are_refused_by_option() {
        let cases = [
            (DevOptions { nodes: 0, ..options() }, "--nodes"),
            (DevOptions { nodes: 10, ..options() }, "--nodes"),
            (DevOptions { groups: 0, ..options() }, "--groups"),
            (DevOptions { resp_port: 65_534, ..options() }, "--resp-port"),
            (DevOptions { admin_port: 6382, ..options() }, "--admin-port"),
            (DevOptions { peer_port: 6378, ..options() }, "--peer-port"),
            (DevOptions { snapshot_entries: Some(0), ..options() }, "--snapshot-entries"),
        ];
        for (options, expected) in cases {
            match options.check() {
                Err(StartError::Option { option, .. }) => assert_eq!(option, expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
        let free = DevOptions { resp_port: 0, admin_port: 0, peer_port: 0, ..options() };
        assert!(free.check().is_ok());
    }
}
