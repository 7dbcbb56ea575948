//! Identity files: whose directory this is. One file for the node, one for each replica; both are read before
//! anything else of theirs is touched, and a foreign or newer one is refused and left as it is.

mod data_dir;
mod divergence_file;
pub mod header;
mod node_file;
mod occupant;
mod paths;
mod peers_file;
mod repaired;
mod replica_file;
mod small_file;
#[cfg(test)]
mod tests;

pub use data_dir::DataDir;
pub(crate) use data_dir::{group_directories, lock};
pub use divergence_file::Divergence;
pub use header::{FileHeader, FileKind, FileOwner, HEADER_BYTES, KeyId};
pub use node_file::NodeIdentity;
pub(crate) use occupant::owner_of_log;
pub use paths::ReplicaPaths;
pub(crate) use peers_file::read as read_peers;
pub(crate) use repaired::{complete_switches, evidence_path, is_switching, repaired_path, switch};
pub use replica_file::ReplicaIdentity;
pub(crate) use small_file::sync_dir;
