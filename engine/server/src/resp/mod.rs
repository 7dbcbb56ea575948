//! The Redis protocol (RESP2): requests come in through [`splitter`], are looked up in [`command`], carried out
//! in the order and with the concurrency that [`pipeline`] allows, and answered by the connection.

mod budget;
pub mod command;
mod connection;
mod execute;
mod inline;
mod introspect;
pub mod limits;
pub mod pipeline;
pub mod reply;
pub mod server;
pub mod settings;
pub mod splitter;

pub use limits::Limits;
pub use server::RespServer;
pub use settings::Settings;
pub use splitter::{ProtocolError, Request, Splitter};
