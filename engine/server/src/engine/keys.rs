//! Keys counted and listed, over all groups or over those led here.

use bytes::Bytes;
use futures_util::future::try_join_all;
use quorate::storage::KeyRange;
use quorate::{GroupId, Node, ReadLevel};

use super::errors;
use crate::backend::{Access, BackendError, KeyPage, Routing};

/// How many keys the groups hold. They are asked side by side.
pub(super) async fn count(node: &Node, access: Access) -> Result<u64, BackendError> {
    let groups = visited(node, &Bytes::new(), None, access)?;
    let counted = groups.into_iter().map(|(group, _)| async move {
        node.group(group).count(ReadLevel::Linearizable).await.map_err(errors::of_read)
    });
    Ok(try_join_all(counted).await?.into_iter().sum())
}

/// A page of keys, group after group.
pub(super) async fn page(
    node: &Node,
    (start, end): (Bytes, Bytes),
    limit: usize,
    access: Access,
) -> Result<KeyPage, BackendError> {
    let mut page = KeyPage::default();
    for (group, range) in visited(node, &start, Some(&end), access)? {
        if page.keys.len() >= limit {
            page.next = Some(range.start);
            break;
        }
        let left = limit - page.keys.len();
        let part = node.group(group).keys(range, left, ReadLevel::Linearizable).await;
        let part = part.map_err(errors::of_read)?;
        page.keys.extend(part.keys);
        if part.next.is_some() {
            page.next = part.next;
            break;
        }
    }
    Ok(page)
}

/// The groups that serve part of `start..end`, in key order, each with its part. With [`Routing::Cluster`] only
/// those that are led here; but a group with a replica here and without a leader fails them all: whoever asks every
/// leader would take what is left for the whole.
fn visited(
    node: &Node,
    start: &Bytes,
    end: Option<&Bytes>,
    access: Access,
) -> Result<Vec<(GroupId, KeyRange)>, BackendError> {
    let catalog = node.catalog();
    let is_leaderless = |group: GroupId| {
        let group = node.group(group);
        access.routing == Routing::Cluster && group.leader().is_none() && group.has_replica()
    };
    let is_visited = |group: GroupId| match access.routing {
        Routing::Proxy => true,
        Routing::Cluster => node.group(group).leader() == Some(node.id()),
    };
    let touched = || catalog.route_range(start, end.map(|end| &end[..])).map(|record| &record.descriptor);
    if touched().any(|descriptor| is_leaderless(descriptor.group)) {
        return Err(BackendError::NoLeader);
    }
    let part = |range: &KeyRange| KeyRange {
        start: start.max(&range.start).clone(),
        end: match (end, &range.end) {
            (Some(asked), Some(served)) => Some(asked.min(served).clone()),
            (asked, served) => asked.or(served.as_ref()).cloned(),
        },
    };
    let visited = touched()
        .filter(|descriptor| is_visited(descriptor.group))
        .map(|descriptor| (descriptor.group, part(&descriptor.range)));
    Ok(visited.collect())
}
