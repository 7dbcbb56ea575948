//! The Redis protocol, RESP2 and RESP3, with the semantics of a node of a Redis Cluster: requests come in through
//! `splitter`, are looked up in `command`, planned in `execute` by the state of their connection (`session`), carried
//! out in the order and with the concurrency that `pipeline` allows, and answered by the `connection`.

mod arguments;
mod budget;
mod clients;
mod cluster;
mod command;
mod connection;
mod descriptors;
mod encode;
mod execute;
#[doc(hidden)]
pub mod fuzzing;
mod glob;
mod inline;
mod introspect;
mod keys;
pub mod limits;
mod pipeline;
mod reply;
pub mod server;
mod session;
pub mod settings;
pub mod splitter;
mod walk;

pub use limits::Limits;
pub use server::RespServer;
pub use settings::Settings;
pub use splitter::{ProtocolError, Request, Splitter};
