//! What all groups of a node together may do for their background scans.

use std::sync::Arc;

use quorate_telemetry::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::actor::byte_rate::ByteRate;

/// Replicas that are scanned at one time: more would hold more views open and be no faster, the rate being one.
const SCANS_MAX: usize = 1;

/// The budget, shared by the groups of a node.
#[derive(Debug)]
pub struct ScrubBudget {
    scans: Arc<Semaphore>,
    rate: ByteRate,
}

impl ScrubBudget {
    /// A budget that counts time on `clock`.
    ///
    /// # Panics
    /// If `bytes_per_second` is not 1 KiB to 16 GiB.
    pub fn new(bytes_per_second: u64, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            scans: Arc::new(Semaphore::new(SCANS_MAX)),
            rate: ByteRate::new(bytes_per_second, clock),
        })
    }

    /// Waits for this node's turn.
    pub(super) async fn scan(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.scans).acquire_owned().await.expect("the budget is never closed")
    }

    /// Waits until `bytes` may be read.
    pub(super) async fn take(&self, bytes: u64) {
        self.rate.take(bytes).await;
    }
}
