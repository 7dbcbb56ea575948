//! The engine as [`BackupSource`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate::backup::SnapshotBody;
use quorate::storage::{Error as StorageError, Index, Term};
use quorate::{EntryId, Error, GroupId, Node};

use super::EngineBackend;
use super::operate::refused;
use crate::backend::BoxFuture;
use crate::backup::{BackupMap, BackupNode, BackupSource, GroupLeader, SnapshotPieces};
use crate::operator::{OperatorCode, OperatorError, SnapshotTaken};

/// How long one group's state may take to be written: some 100 GiB on a slow disk.
const PUBLISH_MAX: Duration = Duration::from_secs(3_600);

impl BackupSource for EngineBackend {
    fn map(&self) -> BackupMap {
        let catalog = self.node.catalog();
        let nodes = catalog.nodes.values().map(|record| BackupNode {
            node: record.node.get(),
            admin: record.admin.map(|address| address.to_string()),
        });
        let groups = self.node.groups().into_iter().map(|group| GroupLeader {
            group: group.id().get(),
            leader: group.leader().map(quorate::NodeId::get),
        });
        BackupMap {
            cluster: self.node.cluster().to_string(),
            cluster_name: self.node.cluster_name().map(str::to_owned),
            node: self.node.id().get(),
            nodes: nodes.collect(),
            groups: groups.collect(),
        }
    }

    fn fresh_snapshot(&self, group: u64) -> BoxFuture<'_, Result<SnapshotTaken, OperatorError>> {
        Box::pin(async move {
            let published = self.node.fresh_snapshot(GroupId(group), PUBLISH_MAX).await;
            let token = published.map_err(|error| refused(&self.node, group, error))?.token;
            let (index, term) = (token.id.index.get(), token.id.term.get());
            Ok(SnapshotTaken { group, index, term, bytes: token.bytes, crc: token.crc })
        })
    }

    fn snapshot(
        &self,
        group: u64,
        (term, index): (u64, u64),
        offset: u64,
    ) -> BoxFuture<'_, Result<Box<dyn SnapshotPieces>, OperatorError>> {
        Box::pin(async move {
            let id = EntryId { term: Term(term), index: Index(index) };
            match self.node.snapshot_body(GroupId(group), id, offset).await {
                Ok(body) => {
                    let pieces = Pieces { node: self.node.clone(), group, body };
                    Ok(Box::new(pieces) as Box<dyn SnapshotPieces>)
                }
                Err(error @ Error::Storage(StorageError::Missing { .. })) => Err(OperatorError {
                    code: OperatorCode::NoSnapshot,
                    at_least: None,
                    source: Arc::new(error),
                }),
                Err(error) => Err(refused(&self.node, group, error)),
            }
        })
    }
}

/// A snapshot file that is being read.
#[derive(Debug)]
struct Pieces {
    node: Node,
    group: u64,
    body: SnapshotBody,
}

impl SnapshotPieces for Pieces {
    fn left(&self) -> u64 {
        self.body.left()
    }

    fn next_piece(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, OperatorError>> {
        Box::pin(async move {
            let piece = self.body.next_piece().await;
            piece.map_err(|error| refused(&self.node, self.group, error))
        })
    }
}
