//! Where a replica's files are.

use std::path::{Path, PathBuf};

/// The layout of `<data>/groups/<group>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReplicaPaths {
    root: PathBuf,
}

impl ReplicaPaths {
    /// The layout below `root`.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The replica's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The identity file.
    pub fn replica_file(&self) -> PathBuf {
        self.root.join("replica")
    }

    /// Says that the replica's state was found to be wrong, if it was.
    pub fn divergence_file(&self) -> PathBuf {
        self.root.join("diverged")
    }

    /// The log's segments.
    pub fn wal(&self) -> PathBuf {
        self.root.join("wal")
    }

    /// The snapshots.
    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// The state machine's generations.
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }
}
