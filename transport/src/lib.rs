//! Messages between nodes: one listener a node for all groups, two lanes a node pair, our own framed rkyv
//! forms (length and CRC first, then bytecheck). The fifth seam, [`net::Net`], lives here.
//!
//! Raft messages may be dropped, and that is reported; a request ends with a reply, a typed refusal or its
//! deadline, never silently.
//!
//! # Example: one node asks another
//!
//! ```
//! # use std::sync::Arc;
//! # use std::time::Duration;
//! # use bytes::Bytes;
//! # use quorate_storage::{ClusterId, Incarnation, NodeId};
//! # use quorate_telemetry::{SystemClock, SystemRng};
//! use quorate_transport::{
//!     Config, Handler, Identity, Lane, MemoryNetwork, Parts, PeerTable, RaftMessage, RequestKind, Responder,
//!     Transport,
//! };
//!
//! #[derive(Debug)]
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn raft(&self, _from: NodeId, _messages: Vec<RaftMessage>) {}
//!     fn request(
//!         &self,
//!         _from: NodeId,
//!         _kind: RequestKind,
//!         body: Bytes,
//!         _deadline: Duration,
//!         reply: Box<dyn Responder>,
//!     ) {
//!         reply.reply(body);
//!     }
//!     fn unreachable(&self, _node: NodeId, _dropped: &[RaftMessage]) {}
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let network = MemoryNetwork::new();
//! let peers = Arc::new(PeerTable::new([
//!     (NodeId(1), "10.0.0.1:7380".parse()?),
//!     (NodeId(2), "10.0.0.2:7380".parse()?),
//! ]));
//! let mut nodes = Vec::new();
//! for number in [1, 2] {
//!     let node = NodeId(number.into());
//!     let identity = Identity { cluster: ClusterId([1; 16]), node, incarnation: Incarnation([number; 16]) };
//!     let config = Config {
//!         listen: Some(format!("10.0.0.{number}:7380").parse()?),
//!         ..Config::default()
//!     };
//!     let parts = Parts {
//!         identity,
//!         net: Arc::new(network.numbered(number)),
//!         handler: Arc::new(Echo),
//!         peers: peers.clone(),
//!         rng: Arc::new(SystemRng::new()),
//!         clock: Arc::new(SystemClock::new()),
//!     };
//!     nodes.push(Transport::start(config, parts).await?);
//! }
//! let body = Bytes::from_static(b"hello");
//! let deadline = Duration::from_secs(1);
//! let reply = nodes[0].request(NodeId(2), RequestKind(1), body.clone(), Lane::Control, deadline).await?;
//! assert_eq!(reply, body);
//! # Ok(())
//! # }
//! ```

pub mod config;
pub mod conformance;
pub mod error;
pub mod handler;
pub mod handshake;
mod link;
pub mod message;
pub mod net;
pub mod peers;
mod server;
mod shared;
pub mod stats;
mod transport;
pub mod wire;

pub use config::Config;
pub use error::{Error, Refusal, Result};
pub use handler::{Handler, RequestError, Responder};
pub use handshake::Identity;
pub use message::{Lane, RaftMessage, RaftMessageKind, RequestKind};
pub use net::{Connection, Listener, MemoryNet, MemoryNetwork, Net, TcpNet};
pub use peers::{PeerTable, Peers};
pub use stats::{Counts, Stats};
pub use transport::{Parts, Transport};
pub use wire::WireError;
