//! Messages between nodes: one listener a node for all groups, two lanes a node pair, our own framed rkyv
//! forms (length and CRC first, then bytecheck). The fifth seam, [`net::Net`], lives here.
//!
//! Raft messages may be dropped, and that is reported; a request ends with a reply, a typed refusal or its
//! deadline, never silently.

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
