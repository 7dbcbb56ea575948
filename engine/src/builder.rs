//! Opening a node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use quorate_shard::actor::StateMachineFactory;
use quorate_storage::kv::StoreKind;
use quorate_storage::{KeyRange, NodeId};

use crate::config::{Config, NodeAddress, cluster_id};
use crate::error::Result;
use crate::node::{Node, open};
use crate::seams::Seams;

/// Sets up a node and opens it. What is not named keeps the default of [`Config`].
#[derive(Debug)]
pub struct Builder {
    config: Config,
    machines: Option<Arc<dyn StateMachineFactory>>,
}

impl Builder {
    /// A node that keeps its data in `data_dir`, which is created if it is not there.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self::from_config(Config::new(data_dir))
    }

    /// A node set up by `config`.
    pub fn from_config(config: Config) -> Self {
        Self { config, machines: None }
    }

    /// Its id; default 1.
    #[must_use]
    pub fn node_id(mut self, node: u64) -> Self {
        self.config.node = NodeId(node);
        self
    }

    /// The cluster it belongs to, by name.
    #[must_use]
    pub fn cluster(mut self, name: &str) -> Self {
        self.config.cluster = cluster_id(name);
        self.config.cluster_name = Some(name.to_owned());
        self
    }

    /// Where it listens for other nodes. Default: nowhere.
    #[must_use]
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.config.listen = Some(addr);
        self
    }

    /// The nodes a new cluster starts with, this one included.
    #[must_use]
    pub fn nodes(mut self, nodes: Vec<NodeAddress>) -> Self {
        self.config.bootstrap.nodes = nodes;
        self
    }

    /// The key ranges a new cluster starts with, one group each.
    #[must_use]
    pub fn ranges(mut self, ranges: Vec<KeyRange>) -> Self {
        self.config.bootstrap.ranges = ranges;
        self
    }

    /// Replicas of each group.
    #[must_use]
    pub fn replication(mut self, replicas: usize) -> Self {
        self.config.bootstrap.replication = replicas;
        self
    }

    /// Which store the built-in key-value state machine uses.
    #[must_use]
    pub fn store(mut self, store: StoreKind) -> Self {
        self.config.store = store;
        self
    }

    /// A state machine of your own for all user groups, in the place of the built-in key-value one.
    #[must_use]
    pub fn state_machines(mut self, machines: Arc<dyn StateMachineFactory>) -> Self {
        self.machines = Some(machines);
        self
    }

    /// Opens the node: locks its directory, recovers what is there, joins its cluster, and waits until every
    /// group on it knows a leader.
    ///
    /// # Errors
    /// [`crate::Error::Config`] before anything is touched; [`crate::Error::Storage`] for a directory that is
    /// locked, of another cluster or of a newer format (it is left as it was); a deadline if no quorum came
    /// together (the node is stopped then).
    pub async fn open(self) -> Result<Node> {
        let timeout = self.config.ready_timeout;
        let node = self.start().await?;
        match node.ready(timeout).await {
            Ok(()) => Ok(node),
            Err(error) => {
                node.shutdown().await?;
                Err(error)
            }
        }
    }

    /// Like [`Builder::open`], but returns as soon as the node runs: its groups may still be without a
    /// leader. For nodes of a cluster that are started one after the other.
    pub async fn start(self) -> Result<Node> {
        self.config.check()?;
        let seams = Seams::production(&self.config)?;
        open::open(self.config, seams, self.machines).await
    }
}

/// Opens a node on seams of the caller's choice, as simulations do. Like [`Builder::start`] it does not wait
/// for leaders.
///
/// # Errors
/// As [`Builder::start`].
pub async fn open_with_seams(config: Config, seams: Seams) -> Result<Node> {
    config.check()?;
    open::open(config, seams, None).await
}
