//! The seam between the commands that run nodes and the engine that has them.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use quorate::StartProgress;

use crate::backend::{Backend, BoxFuture};
use crate::config::NodeSettings;
use crate::exit::StartError;
use crate::options::DevOptions;

/// What a start gives.
pub type Started = Result<Box<dyn RunningCluster>, StartError>;

/// Starts the engine's nodes. The engine's side of the commands `dev` and `node`.
pub trait Cluster: Send + Sync {
    /// Starts every node of `options`, as far as that they listen for each other and serve. Groups may still be
    /// without a leader.
    ///
    /// # Errors
    /// Nothing runs any more.
    fn start<'a>(&'a self, options: &'a DevOptions) -> BoxFuture<'a, Started>;

    /// Starts the one node of `settings`, as far as that it listens for the others and serves. The others need not
    /// be there.
    ///
    /// # Errors
    /// Nothing runs any more.
    fn start_node<'a>(&'a self, settings: &'a NodeSettings) -> BoxFuture<'a, Started>;
}

/// The nodes of this process.
pub trait RunningCluster: fmt::Debug + Send + Sync {
    /// One per node, in order.
    fn nodes(&self) -> Vec<ClusterNode>;

    /// Ends when every group of these nodes has a leader. A node that waits for nodes of other processes waits
    /// without a limit, and says in the log what for.
    ///
    /// # Errors
    /// A group failed to start, or the settings do not fit the cluster.
    fn ready(&self) -> BoxFuture<'_, Result<(), StartError>>;

    /// How many groups of these nodes have come how far.
    fn progress(&self) -> StartProgress;

    /// Transfers leaderships, drains proposals, persists and closes. Ends when all is on disk.
    ///
    /// # Errors
    /// What could not be closed cleanly; everything has been given up.
    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<(), StartError>>;
}

/// One node of this process.
#[derive(Clone, Debug)]
pub struct ClusterNode {
    /// What its frontends talk to.
    pub backend: Arc<dyn Backend>,
    /// Where it listens for the other nodes.
    pub peer_addr: SocketAddr,
}
