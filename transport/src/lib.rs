//! Messages between nodes: one listener a node for all groups, two lanes a node pair, our own framed rkyv
//! forms (length and CRC first, then bytecheck). The fifth seam, [`net::Net`], lives here.
//!
//! Raft messages may be dropped, and that is reported; a request ends with a reply, a typed refusal or its
//! deadline, never silently.

pub mod handler;
pub mod message;
pub mod net;

pub use handler::{Handler, RequestError, Responder};
pub use message::{Lane, RaftMessage, RaftMessageKind, RequestKind};
pub use net::{Connection, Listener, Net};
