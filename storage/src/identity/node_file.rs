//! `<data>/node`: which node of which cluster this directory belongs to.

use std::path::Path;

use quorate_telemetry::Rng;

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::identity::header::foreign;
use crate::identity::{FileHeader, FileKind, FileOwner, small_file};
use crate::ids::{ClusterId, Incarnation, NodeId};

/// Cluster id, node id, incarnation.
const BODY_BYTES: usize = 40;

/// Who a data directory belongs to. Written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// This directory, drawn when it was created: a node that lost its disk is told from the one it was.
    pub incarnation: Incarnation,
}

impl NodeIdentity {
    /// Reads the node file at `path`; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::NewerFormat`], [`Error::Foreign`] (another kind of file), [`Error::Io`].
    pub fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Self>> {
        let Some((_, body)) = small_file::read::<BODY_BYTES>(disk, path, FileKind::Node)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            cluster: ClusterId(std::array::from_fn(|i| body[i])),
            node: NodeId(u64::from_le_bytes(std::array::from_fn(|i| body[16 + i]))),
            incarnation: Incarnation(std::array::from_fn(|i| body[24 + i])),
        }))
    }

    /// Writes the node file. Durable on return.
    pub(crate) fn write(&self, disk: &dyn Disk, path: &Path, rng: &dyn Rng) -> Result<()> {
        let mut body = [0; BODY_BYTES];
        body[..16].copy_from_slice(&self.cluster.0);
        body[16..24].copy_from_slice(&self.node.get().to_le_bytes());
        body[24..].copy_from_slice(&self.incarnation.0);
        let header = FileHeader::new(FileKind::Node, FileOwner::default(), rng);
        small_file::replace(disk, path, &header, &body)
    }

    /// Whether the directory belongs to this node of this cluster.
    pub(super) fn check(&self, cluster: ClusterId, node: NodeId, path: &Path) -> Result<()> {
        if self.cluster != cluster {
            return Err(foreign("cluster", path, cluster, self.cluster));
        }
        if self.node == node { Ok(()) } else { Err::<(), Error>(foreign("node", path, node, self.node)) }
    }
}
