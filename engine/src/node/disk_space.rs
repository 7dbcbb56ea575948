//! Disk full is a state of the node, not a failure of its groups.
//!
//! Below a low-water mark leaders take only what frees space, hand over to replicas on disks with room, and a reserve
//! file is given back to the file system: raft's bookkeeping, deletes and compaction live on it. Below half of the
//! mark followers take no entries either. It ends by itself once there is room for the reserve and twice the mark.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use quorate_shard::actor::GroupHandle;
use quorate_shard::catalog::CATALOG_GROUP;
use quorate_shard::disk_space::{DiskSpace, Room};
use quorate_storage::disk::{Disk, OpenMode};
use quorate_storage::{NodeId, ReplicaId};
use quorate_transport::{Lane, RequestKind};

use super::Core;
use super::open::blocking;
use crate::config::DiskConfig;

/// Asks a node whether its disk has room: an empty request, answered by one byte, 1 for yes.
pub(super) const ROOM: RequestKind = RequestKind(5);

/// How often the room is measured.
const MEASURE_INTERVAL: Duration = Duration::from_millis(500);
/// How long another node may take to say whether it has room.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// For handing one leadership over.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(2);
/// Leaderships handed over side by side.
const TRANSFERS_MAX: usize = 16;
/// Followers take entries down to this part of the low-water mark.
const EXHAUSTED_DIVISOR: u64 = 2;
/// What must be free beside the reserve before writes are taken again, in low-water marks.
const AMPLE_FACTOR: u64 = 2;

const _: () = assert!(AMPLE_FACTOR > 1, "or a full disk would come and go with every write");

/// Measures the room on the data directory's disk, and keeps the reserve there.
#[derive(Debug)]
pub(super) struct DiskWatch {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    config: DiskConfig,
    space: Arc<DiskSpace>,
}

impl DiskWatch {
    pub(super) fn new(disk: Arc<dyn Disk>, dir: PathBuf, config: DiskConfig, space: Arc<DiskSpace>) -> Self {
        Self { disk, dir, config, space }
    }

    /// Measures once, and gives the reserve back or makes it as the room demands. Blocks. What cannot be measured or
    /// made changes nothing: the next measurement tries again.
    pub(super) fn measure(&self) {
        match self.free_bytes() {
            Ok(free_bytes) => self.judge(free_bytes),
            Err(error) => {
                tracing::warn!(dir = %self.dir.display(), %error, "cannot measure the room on the disk");
            }
        }
    }

    fn judge(&self, free_bytes: u64) {
        let before = self.space.room();
        let has_reserve = self.has_reserve();
        let needed_bytes = self.needed_bytes();
        let wanted_bytes = if has_reserve { needed_bytes - self.config.reserve_bytes } else { needed_bytes };
        let room = match before {
            Room::Ample if free_bytes >= self.config.low_bytes => Room::Ample,
            _ if free_bytes >= wanted_bytes => Room::Ample,
            _ if free_bytes < self.config.low_bytes / EXHAUSTED_DIVISOR && !has_reserve => Room::Exhausted,
            _ => Room::Short,
        };
        self.tell(before, room, free_bytes);
        self.space.set(room, free_bytes, needed_bytes);
        let changed = match room {
            Room::Ample if !has_reserve && free_bytes >= needed_bytes => self.make_reserve(),
            Room::Short | Room::Exhausted if has_reserve => self.release_reserve(),
            _ => Ok(()),
        };
        if let Err(error) = changed {
            tracing::warn!(file = %self.reserve_path().display(), %error, "cannot change the disk's reserve");
        }
    }

    /// What must be free, without the reserve, for writes to be taken again.
    fn needed_bytes(&self) -> u64 {
        self.config.reserve_bytes.saturating_add(self.config.low_bytes.saturating_mul(AMPLE_FACTOR))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes(&self.dir)
    }

    fn has_reserve(&self) -> bool {
        matches!(self.disk.size(&self.reserve_path()), Ok(Some(_)))
    }

    fn make_reserve(&self) -> io::Result<()> {
        if self.config.reserve_bytes == 0 {
            return Ok(());
        }
        let path = self.reserve_path();
        let file = self.disk.open(&path, OpenMode::Create)?;
        let made = file.preallocate(self.config.reserve_bytes).and_then(|()| file.sync_data());
        drop(file);
        // A part of it would count as all of it.
        made.or_else(|cause| self.disk.remove_file(&path).and(Err(cause)))
    }

    fn release_reserve(&self) -> io::Result<()> {
        self.disk.remove_file(&self.reserve_path())?;
        self.disk.sync_dir(&self.dir)
    }

    fn reserve_path(&self) -> PathBuf {
        self.dir.join("reserve")
    }

    fn tell(&self, before: Room, room: Room, free_bytes: u64) {
        let (dir, needed_bytes) = (self.dir.display(), self.needed_bytes());
        match (before, room) {
            (Room::Ample, Room::Ample) => {}
            (Room::Ample, _) => {
                tracing::error!(%dir, free_bytes, needed_bytes, "disk full: writes are refused, deletes go on");
            }
            (_, Room::Ample) => {
                tracing::info!(%dir, free_bytes, "the disk has room again: writes are taken");
            }
            (Room::Short, Room::Exhausted) => {
                tracing::error!(%dir, free_bytes, needed_bytes, "disk full: followers take no entries");
            }
            _ => {}
        }
    }
}

/// Runs until the node stops.
pub(super) async fn run(core: Arc<Core>, watch: Arc<DiskWatch>) {
    loop {
        tokio::select! {
            biased;
            () = core.stopping.cancelled() => return,
            () = tokio::time::sleep(MEASURE_INTERVAL) => {}
        }
        let measuring = Arc::clone(&watch);
        // A pool that has stopped belongs to a node that stops.
        let _ = blocking(&core, CATALOG_GROUP, move || measuring.measure()).await;
        if core.space.room() != Room::Ample {
            hand_over(&core).await;
        }
    }
}

/// The answer to [`ROOM`].
pub(super) fn answer(space: &DiskSpace) -> Bytes {
    Bytes::copy_from_slice(&[u8::from(space.room() == Room::Ample)])
}

/// Gives every group led here to a voter on a disk with room, as far as there is one.
async fn hand_over(core: &Core) {
    let groups = core.registry.all();
    let led: Vec<&GroupHandle> = groups.values().filter(|handle| handle.role().is_leader).collect();
    let mut rooms = BTreeMap::new();
    let mut transfers = Vec::new();
    for handle in led {
        let status = handle.status();
        for peer in status.peers.iter().filter(|peer| peer.is_voter && peer.is_recently_active) {
            let described = status.descriptor.replica(peer.replica);
            let Some(node) = described.map(|replica| replica.node).filter(|&node| node != core.config.node)
            else {
                continue;
            };
            let is_roomy = match rooms.get(&node) {
                Some(&known) => known,
                None => has_room(core, node).await,
            };
            rooms.insert(node, is_roomy);
            if is_roomy {
                transfers.push((handle, peer.replica));
                break;
            }
        }
    }
    for some in transfers.chunks(TRANSFERS_MAX) {
        join_all(some.iter().map(|(handle, to)| transfer(handle, *to))).await;
    }
}

async fn transfer(handle: &GroupHandle, to: ReplicaId) {
    if let Err(error) = handle.transfer_leader(to, TRANSFER_TIMEOUT).await {
        tracing::debug!(group = %handle.group(), %to, %error, "leadership stays on a full disk for now");
    }
}

async fn has_room(core: &Core, node: NodeId) -> bool {
    let asked = core.transport.request(node, ROOM, Bytes::new(), Lane::Control, ASK_TIMEOUT);
    asked.await.is_ok_and(|answer| answer.as_ref() == [1])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use quorate_storage::disk::SimDisk;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// A watched disk of 200 MiB, with a file that takes the room.
    struct Subject {
        disk: SimDisk,
        space: Arc<DiskSpace>,
        watch: DiskWatch,
    }

    impl Subject {
        fn new() -> Self {
            let disk = SimDisk::new();
            disk.set_capacity(Some(200 * MIB));
            disk.create_dir_all(Path::new("/data")).unwrap();
            disk.open(Path::new("/data/filler"), OpenMode::Create).unwrap();
            let config = DiskConfig { reserve_bytes: 64 * MIB, low_bytes: 20 * MIB };
            let space = Arc::new(DiskSpace::new());
            let any: Arc<dyn Disk> = Arc::new(disk.clone());
            let watch = DiskWatch::new(any, PathBuf::from("/data"), config, Arc::clone(&space));
            Self { disk, space, watch }
        }

        /// The room, and whether the reserve is there, once the file has `filler_mib`.
        fn with(&self, filler_mib: u64) -> (Room, bool) {
            let file = self.disk.open(Path::new("/data/filler"), OpenMode::Write).unwrap();
            file.set_len(filler_mib * MIB).unwrap();
            self.watch.measure();
            (self.space.room(), self.watch.has_reserve())
        }
    }

    #[test]
    fn a_disk_that_fills_up_gives_the_reserve_back_and_takes_it_again_with_hysteresis() {
        let subject = Subject::new();
        assert_eq!(subject.with(0), (Room::Ample, true), "the reserve is made at once");
        assert_eq!(subject.with(116), (Room::Ample, true), "20 MiB are free");
        assert_eq!(subject.with(117), (Room::Short, false), "19 MiB were free");
        assert_eq!(subject.with(117), (Room::Short, false), "83 MiB are free: not enough for the reserve");
        assert_eq!(subject.with(191), (Room::Exhausted, false), "9 MiB are free");
        assert_eq!(subject.with(180), (Room::Short, false));
        assert_eq!(subject.with(97), (Room::Short, false), "103 MiB are free");
        assert_eq!(subject.with(96), (Room::Ample, true), "104 MiB are free");
        assert_eq!(subject.space.needed_bytes(), 104 * MIB);
    }

    #[test]
    fn a_node_that_starts_on_a_full_disk_is_short_at_once() {
        let subject = Subject::new();
        assert_eq!(subject.with(185), (Room::Short, false), "15 MiB are free");
        assert_eq!(subject.with(10), (Room::Ample, true));
    }

    #[test]
    fn a_disk_that_cannot_be_measured_changes_nothing() {
        let subject = Subject::new();
        assert_eq!(subject.with(185), (Room::Short, false));
        subject.disk.crash(quorate_storage::disk::CrashMode::KeepAll);
        subject.watch.measure();
        assert_eq!(subject.space.room(), Room::Short);
    }
}
