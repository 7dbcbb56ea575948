//! A clean stop: leaderships handed over, accepted work finished, stores checkpointed, logs proven.

use std::time::Duration;

use futures_util::future::join_all;
use quorate_shard::actor::StopMode;

use super::Core;
use crate::error::Result;

/// For replicas that are being opened: those that take longer are left as by a crash.
const OPENING_TIMEOUT: Duration = Duration::from_secs(2);
/// How often to look whether they are.
const OPENING_PAUSE: Duration = Duration::from_millis(2);
/// For handing over all leaderships.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(2);
/// For finishing what the groups have accepted.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn shutdown(core: &Core) -> Result<()> {
    if core.stopping.is_cancelled() {
        return Ok(());
    }
    core.stopping.cancel();
    let _late = tokio::time::timeout(OPENING_TIMEOUT, opened(core)).await;
    hand_over(core).await;
    let groups = core.registry.all();
    join_all(groups.values().map(|handle| handle.stop(StopMode::Graceful { deadline: DRAIN_TIMEOUT }))).await;
    for &group in groups.keys() {
        core.registry.remove(group);
    }
    core.transport.stop().await;
    let mut tasks = std::mem::take(&mut *core.tasks.lock());
    tasks.abort_all();
    while tasks.join_next().await.is_some() {}
    // The lock goes now, whatever handles are still about.
    drop(core.data.lock().take());
    tracing::info!(node = core.config.node.get(), "stopped");
    Ok(())
}

/// Returns when no replica is being opened. None begins to be once the node stops.
async fn opened(core: &Core) {
    while !core.opening.lock().is_empty() {
        tokio::time::sleep(OPENING_PAUSE).await;
    }
}

/// Every group led here is handed to another voter, so that its clients need not wait for an election.
async fn hand_over(core: &Core) {
    let groups = core.registry.all();
    let transfers = groups.values().filter(|handle| handle.role().is_leader).map(|handle| async move {
        let status = handle.status();
        let others = status.descriptor.replicas.iter().filter(|replica| replica.replica != status.replica);
        for to in others {
            if handle.transfer_leader(to.replica, TRANSFER_TIMEOUT / 2).await.is_ok() {
                break;
            }
        }
    });
    let _late = tokio::time::timeout(TRANSFER_TIMEOUT, join_all(transfers)).await;
}
