//! What all groups of a node together may do for snapshots at one time: how many are written, sent and received, and
//! how many bytes of them, and of stores that are built anew, are moved in a second. Who waits is served in order.

use std::sync::Arc;
use std::time::Duration;

use quorate_telemetry::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::actor::byte_rate::ByteRate;

/// Stores that are built anew at one time: each keeps in memory what is applied meanwhile.
const REBUILDS_MAX: usize = 1;

/// Bounds of a node's snapshot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotBudgetConfig {
    /// Bytes of snapshots written, read back to be verified, sent or restored, and of stores built anew, in a second. Default 64 MiB; 1 KiB to
    /// 16 GiB.
    pub bytes_per_second: u64,
    /// Snapshots written at one time. Default 2; at least 1.
    pub publishing_max: usize,
    /// Snapshots sent, and apart from them received, at one time. Default 2; at least 1.
    pub transfers_max: usize,
}

/// The budget, shared by the groups of a node.
#[derive(Debug)]
pub struct SnapshotBudget {
    config: SnapshotBudgetConfig,
    publishing: Arc<Semaphore>,
    sending: Arc<Semaphore>,
    receiving: Arc<Semaphore>,
    rebuilding: Arc<Semaphore>,
    rate: ByteRate,
}

impl Default for SnapshotBudgetConfig {
    fn default() -> Self {
        Self { bytes_per_second: 64 << 20, publishing_max: 2, transfers_max: 2 }
    }
}

impl SnapshotBudget {
    /// A budget that counts time on `clock`.
    ///
    /// # Panics
    /// If a bound of `config` is 0, or the rate is over its limit.
    pub fn new(config: SnapshotBudgetConfig, clock: Arc<dyn Clock>) -> Arc<Self> {
        assert!(config.publishing_max > 0 && config.transfers_max > 0, "nothing would ever be done");
        Arc::new(Self {
            config,
            publishing: Arc::new(Semaphore::new(config.publishing_max)),
            sending: Arc::new(Semaphore::new(config.transfers_max)),
            receiving: Arc::new(Semaphore::new(config.transfers_max)),
            rebuilding: Arc::new(Semaphore::new(REBUILDS_MAX)),
            rate: ByteRate::new(config.bytes_per_second, clock),
        })
    }

    /// Waits until `bytes` may be moved.
    pub async fn take_bytes(&self, bytes: u64) {
        self.rate.take(bytes).await;
    }

    /// The longest a file of `bytes` may take to be moved while every other place is taken, too.
    pub(crate) fn time_for(&self, bytes: u64) -> Duration {
        let places = self.config.transfers_max + self.config.publishing_max;
        let shared = u128::from(bytes) * 1_000 * places as u128;
        Duration::from_millis(
            u64::try_from(shared / u128::from(self.config.bytes_per_second)).unwrap_or(u64::MAX),
        )
    }

    /// Waits for a place to write a snapshot.
    pub(crate) async fn publish(&self) -> OwnedSemaphorePermit {
        acquire(&self.publishing).await
    }

    /// Waits for a place to send a snapshot.
    pub(crate) async fn send(&self) -> OwnedSemaphorePermit {
        acquire(&self.sending).await
    }

    /// Waits for this node's turn to build a store anew.
    pub(crate) async fn rebuild(&self) -> OwnedSemaphorePermit {
        acquire(&self.rebuilding).await
    }

    /// A place to receive a snapshot, if there is one.
    pub(crate) fn receive(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.receiving).try_acquire_owned().ok()
    }
}

async fn acquire(places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(places).acquire_owned().await.expect("the budget is never closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    use quorate_telemetry::{BootId, SimClock};

    fn budget(config: SnapshotBudgetConfig) -> Arc<SnapshotBudget> {
        SnapshotBudget::new(config, Arc::new(SimClock::new(Duration::ZERO, BootId([1; 16]))))
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_flow_at_the_rate_whoever_takes_them() {
        let config = SnapshotBudgetConfig { bytes_per_second: 1 << 20, ..SnapshotBudgetConfig::default() };
        let budget = budget(config);
        let began = tokio::time::Instant::now();
        let mut takers = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let budget = Arc::clone(&budget);
            takers.spawn(async move {
                for _ in 0..40 {
                    budget.take_bytes(64 << 10).await;
                }
            });
        }
        takers.join_all().await;
        let took = began.elapsed();
        // 10 MiB, a burst of which came at once. Each of the others, 64 in a second, waits up to a timer's millisecond more.
        assert!(took > Duration::from_millis(9_800) && took < Duration::from_millis(10_640), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_given_in_order_and_come_back() {
        let budget = budget(SnapshotBudgetConfig { publishing_max: 1, ..SnapshotBudgetConfig::default() });
        let first = budget.publish().await;
        let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let mut waiting = tokio::task::JoinSet::new();
        for name in 0..3 {
            let (budget, order) = (Arc::clone(&budget), Arc::clone(&order));
            waiting.spawn(async move {
                let _place = budget.publish().await;
                order.lock().push(name);
                tokio::time::sleep(Duration::from_secs(1)).await;
            });
            tokio::task::yield_now().await;
        }
        assert!(order.lock().is_empty());
        drop(first);
        waiting.join_all().await;
        assert_eq!(*order.lock(), [0, 1, 2]);
        let taken = [budget.receive(), budget.receive()];
        assert!(taken.iter().all(Option::is_some) && budget.receive().is_none());
    }

    #[test]
    fn a_gibibyte_fits_its_deadline_at_the_default_rate() {
        let budget = budget(SnapshotBudgetConfig::default());
        assert_eq!(budget.time_for(1 << 30), Duration::from_secs(4 * 16));
    }
}
