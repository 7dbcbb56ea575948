//! What the groups of a node know of the room on its disk. The node measures; the groups look at their door.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// How much room there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Enough.
    #[default]
    Ample,
    /// Leaders take only commands that free space; whoever leads here should hand over.
    Short,
    /// Followers take no entries either: what is left is for raft's own bookkeeping.
    Exhausted,
}

/// The room on a node's disk, shared by all its groups. Reading costs an atomic load.
#[derive(Debug, Default)]
pub struct DiskSpace {
    room: AtomicU8,
    free_bytes: AtomicU64,
    needed_bytes: AtomicU64,
}

impl DiskSpace {
    /// Ample room, until somebody says otherwise.
    pub fn new() -> Self {
        Self::default()
    }

    /// How much room there is.
    pub fn room(&self) -> Room {
        match self.room.load(Ordering::Relaxed) {
            0 => Room::Ample,
            1 => Room::Short,
            _ => Room::Exhausted,
        }
    }

    /// Bytes that were free when it was last measured.
    pub fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that must be free for writes to be taken again.
    pub fn needed_bytes(&self) -> u64 {
        self.needed_bytes.load(Ordering::Relaxed)
    }

    /// Tells the groups what was measured: `free_bytes`, of which `needed_bytes` must be free for [`Room::Ample`].
    pub fn set(&self, room: Room, free_bytes: u64, needed_bytes: u64) {
        self.free_bytes.store(free_bytes, Ordering::Relaxed);
        self.needed_bytes.store(needed_bytes, Ordering::Relaxed);
        let room = match room {
            Room::Ample => 0,
            Room::Short => 1,
            Room::Exhausted => 2,
        };
        self.room.store(room, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_what_groups_see() {
        let space = DiskSpace::new();
        assert_eq!(space.room(), Room::Ample);
        for room in [Room::Short, Room::Exhausted, Room::Ample] {
            space.set(room, 5, 7);
            assert_eq!((space.room(), space.free_bytes(), space.needed_bytes()), (room, 5, 7));
        }
    }
}
