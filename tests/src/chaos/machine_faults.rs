//! Faults that need something of the machine: each from its beginning to its end, and how often it was felt.

use std::io;
use std::time::Duration;

use quorate_telemetry::Rng;
use tokio::task::block_in_place;
use tokio::time::sleep;

use super::control_group::{Limit, Limited};
use super::fault::Kind;
use super::nemesis::Nodes;
use super::packet_filter::Dropping;
use super::tracer::{Syncs, Tracing};

impl Nodes {
    /// `None` where it cannot be counted.
    pub(super) async fn strike_machine(
        &mut self,
        kind: Kind,
        at: usize,
        time: Duration,
    ) -> io::Result<Option<u64>> {
        match kind {
            Kind::LosePackets => {
                let percent = 5 + u32::try_from(self.rng.below(40)).expect("a percentage");
                self.drop_packets(at, time, (percent, true)).await
            }
            Kind::DropPackets => self.drop_packets(at, time, (100, false)).await,
            Kind::FillDisk => block_in_place(|| self.disks[at].fill(time)).map(Some),
            Kind::FillInodes => block_in_place(|| self.disks[at].fill_inodes(time)).map(Some),
            Kind::LoseDisk => {
                block_in_place(|| self.disks[at].shut_down())?;
                sleep(time / 2).await;
                self.kill(at);
                block_in_place(|| self.disks[at].mount_again())?;
                self.start(at);
                Ok(None)
            }
            Kind::FailSyncs => {
                let failed = self.trace(at, Syncs::Fail, time).await;
                self.kill(at);
                self.start(at);
                failed
            }
            Kind::SlowSyncs => {
                let micros = 2_000 + self.rng.below(60_000);
                self.trace(at, Syncs::Late { micros }, time).await
            }
            Kind::StarveCpu => self.limit(at, Limit::Cpu, time).await,
            Kind::StarveMemory => {
                let held_up = self.limit(at, Limit::Memory, time).await;
                // If the system has not done it.
                self.kill(at);
                self.start(at);
                held_up
            }
            _ => Ok(None),
        }
    }

    async fn drop_packets(
        &self,
        at: usize,
        time: Duration,
        (percent, both): (u32, bool),
    ) -> io::Result<Option<u64>> {
        let dropping = Dropping::begin(self.behind[at], percent, both)?;
        sleep(time).await;
        dropping.end().map(Some)
    }

    async fn trace(&self, at: usize, syncs: Syncs, time: Duration) -> io::Result<Option<u64>> {
        let Some(node) = &self.running[at] else { return Ok(Some(0)) };
        let tracing = Tracing::begin(node.pid(), syncs, self.specs[at].log.with_extension("strace"))?;
        sleep(time).await;
        block_in_place(|| tracing.end()).map(Some)
    }

    async fn limit(&self, at: usize, limit: Limit, time: Duration) -> io::Result<Option<u64>> {
        let Some(node) = &self.running[at] else { return Ok(Some(0)) };
        let limited = Limited::begin(node.pid(), limit)?;
        sleep(time).await;
        limited.end().map(Some)
    }
}
