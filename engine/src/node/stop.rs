//! A clean stop: leaderships handed over, accepted work finished, stores checkpointed, logs proven. And the
//! other kind.

use std::sync::Arc;
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

/// Stops for good, giving leaderships to nodes that stay.
pub(super) async fn shutdown(core: &Core) -> Result<()> {
    if core.stopping.is_cancelled() {
        return Ok(());
    }
    core.stopping.cancel();
    let _late = tokio::time::timeout(OPENING_TIMEOUT, opened(core)).await;
    hand_over(core).await;
    close(core, StopMode::Graceful { deadline: DRAIN_TIMEOUT }).await;
    tracing::info!(node = core.config.node.get(), "stopped");
    Ok(())
}

/// Stops for good, together with every other node.
pub(super) async fn shutdown_together(core: &Core) -> Result<()> {
    if core.stopping.is_cancelled() {
        return Ok(());
    }
    core.stopping.cancel();
    close(core, StopMode::Drain { deadline: DRAIN_TIMEOUT }).await;
    tracing::info!(node = core.config.node.get(), "stopped");
    Ok(())
}

/// What is left to do for a node nobody holds any more: nothing of it may run on in this process, and its
/// directory can be opened again when the last write has ended.
pub(super) async fn abandon(core: Arc<Core>) {
    close(&core, StopMode::Now).await;
}

async fn close(core: &Core, mode: StopMode) {
    let _late = tokio::time::timeout(OPENING_TIMEOUT, opened(core)).await;
    // First, so that nothing is started behind the back of this stop.
    let mut tasks = std::mem::take(&mut *core.tasks.lock());
    tasks.shutdown().await;
    let groups = core.registry.all();
    join_all(groups.values().map(|handle| handle.stop(mode))).await;
    for &group in groups.keys() {
        core.registry.remove(group);
    }
    core.transport.stop().await;
    // The lock goes now, whatever handles are still about.
    drop(core.data.lock().take());
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
