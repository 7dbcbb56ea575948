//! The real binary as a child process: [`Dev`] is a cluster in one, [`Node`] is one node of a cluster.

mod admin;
mod dev;
mod node;
mod ports;

pub use admin::{Series, page, series};
pub use dev::{Dev, DevSpec, quorate_binary};
pub use node::{ClusterSettings, Node, NodeSpec};
pub use ports::free_ports;
