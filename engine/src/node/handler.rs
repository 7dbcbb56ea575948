//! What arrives from other nodes, and where it goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_shard::Error;
use quorate_shard::actor::{self, GroupHandle, ReadLevel};
use quorate_shard::catalog::CATALOG_GROUP;
use quorate_shard::disk_space::DiskSpace;
use quorate_shard::registry::Registry;
use quorate_shard::router::LeaderTable;
use quorate_shard::rpc::{self, Announcement, Answering, Led, Reply, Request};
use quorate_storage::{GroupId, NodeId};
use quorate_transport::{Handler, RaftMessage, RequestKind, Responder};

use super::catalog::scan_catalog;
use super::{CatalogCopy, disk_space};

/// Hands messages to groups and requests to tasks of their own.
#[derive(Debug)]
pub(super) struct NodeHandler {
    pub(super) registry: Arc<Registry>,
    pub(super) copy: CatalogCopy,
    pub(super) space: Arc<DiskSpace>,
    pub(super) leaders: Arc<LeaderTable>,
}

impl NodeHandler {
    /// Takes what another node says it leads. Groups that this node does not know (yet) are not remembered, and the
    /// sender is told so: it says it again.
    fn hear(&self, from: NodeId, announcement: &Announcement) -> Reply {
        let catalog = self.copy.load();
        if !catalog.nodes.contains_key(&from) {
            return Reply::Done;
        }
        let is_known = |led: &Led| {
            let record = catalog.groups.get(&led.group);
            record.is_some_and(|record| !record.dropped && record.descriptor.uid == led.uid)
        };
        match self.leaders.hear(from, announcement, is_known) {
            None => Reply::Done,
            Some(group) => {
                self.copy.stale.notify_one();
                Reply::Failed(Error::NoSuchGroup { group })
            }
        }
    }
}

impl Handler for NodeHandler {
    fn raft(&self, from: NodeId, messages: Vec<RaftMessage>) {
        let mut by_group: BTreeMap<GroupId, Vec<RaftMessage>> = BTreeMap::new();
        for message in messages {
            by_group.entry(message.group).or_default().push(message);
        }
        for (group, messages) in by_group {
            if let Some(handle) = self.registry.get(group) {
                handle.step(from, messages);
            }
        }
    }

    fn request(
        &self,
        from: NodeId,
        kind: RequestKind,
        body: Bytes,
        deadline: Duration,
        reply: Box<dyn Responder>,
    ) {
        match kind {
            rpc::KIND => {
                let request = match Request::decode(&body) {
                    Ok(request) => request,
                    Err(malformed) => return reply.reply(Reply::Failed(Error::Invalid(malformed)).encode()),
                };
                if let Request::Leaders(announcement) = &request {
                    // Here and not in a task: announcements of one node are taken in their order.
                    return reply.reply(self.hear(from, announcement).encode());
                }
                let (registry, copy) = (Arc::clone(&self.registry), self.copy.clone());
                let answering = Answering::new(&request, reply);
                tokio::spawn(async move {
                    answering.reply(answer(&registry, &copy, request, deadline).await);
                });
            }
            disk_space::ROOM => reply.reply(disk_space::answer(&self.space)),
            // A kind of a newer release, or a group that is not here: dropping the responder answers busy.
            kind => {
                let group = actor::group_of_request(kind, &body);
                let Some(handle) = group.and_then(|group| self.registry.get(group)) else { return };
                tokio::spawn(async move { reply.reply(handle.serve_group(from, kind, body).await) });
            }
        }
    }

    fn unreachable(&self, _node: NodeId, dropped: &[RaftMessage]) {
        for message in dropped {
            if let Some(handle) = self.registry.get(message.group) {
                handle.unreachable(message.to);
            }
        }
    }
}

async fn answer(registry: &Registry, copy: &CatalogCopy, request: Request, deadline: Duration) -> Reply {
    match request {
        Request::Group { group, epoch, call } => match registry.get(group) {
            Some(handle) => rpc::serve(&handle, epoch, call, deadline).await.unwrap_or_else(Reply::Failed),
            None => Reply::Failed(Error::NoSuchGroup { group }),
        },
        Request::Catalog { have } => catalog(registry, copy, have, deadline).await,
        Request::Leaders(_) => unreachable!("announcements are answered where they arrive"),
    }
}

async fn catalog(registry: &Registry, copy: &CatalogCopy, have: Option<u64>, deadline: Duration) -> Reply {
    if copy.load().version <= have {
        return Reply::Catalog(Vec::new());
    }
    let read = |handle: GroupHandle| async move {
        handle.read_with(ReadLevel::Local, deadline, scan_catalog).await?.map_err(Error::Read)
    };
    match registry.get(CATALOG_GROUP) {
        Some(handle) => read(handle).await.map_or_else(Reply::Failed, Reply::Catalog),
        None => Reply::Failed(Error::NoSuchGroup { group: CATALOG_GROUP }),
    }
}
