//! The configuration of `quorate node`: read, checked, printed.
//!
//! Values come from the file, then from the environment, then from the command line; the last one wins. The file is
//! parsed by hand against one list of keys (`schema`) instead of being deserialized, so that *all* problems are told
//! at once, each with its line and key, and so that the environment, the flags, the template and the manual know
//! exactly the keys the file knows. What is unknown, of the wrong type, out of bounds or contradictory is refused: a
//! node that starts does what its file says.

mod assign;
mod check;
mod engine;
mod file;
mod load;
mod print;
mod problem;
mod schema;
mod secrets;
mod settings;
mod template;
mod units;
mod word;

#[cfg(test)]
mod tests;

#[doc(hidden)]
pub use load::load_text;
pub use load::{FlagValue, LoadedConfig, Sources, VARIABLE_PREFIX, load};
pub use print::Printed;
pub use problem::{ConfigError, Origin, Problem};
pub(crate) use secrets::read as read_secret;
pub use settings::{
    Admin, Bootstrap, Listen, Log, LogFormat, Memory, NodeEntry, NodeSettings, Peer, Raft, Requests, Resp,
    Snapshots, Threads,
};
pub use template::{key_table, template};
pub use units::{ByteSize, TimeSpan, UnitError};
