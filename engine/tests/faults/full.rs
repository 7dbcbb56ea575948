//! Disk full is a state of the node.

use std::path::Path;

use quorate::disk::{Disk, OpenMode};
use quorate::storage::disk::SimDisk;
use quorate::{Error, GroupError, ReadLevel, Room};

use crate::machines::{GROUP, Machines, Pools, until};
use crate::writer::{Writer, check_all_there};

const MIB: u64 = 1 << 20;

async fn open(seed: u64) -> Machines {
    let machines = Machines::open(Pools::Simulated, seed, |config| {
        config.disk.reserve_bytes = 16 * MIB;
        config.disk.low_bytes = 16 * MIB;
    })
    .await;
    for id in 1..=3 {
        let filler = machines.disk(id).open(Path::new("/filler"), OpenMode::Create).unwrap();
        drop(filler);
    }
    machines
}

/// Leaves `free_bytes` of the disk, as another user of it would.
fn leave(disk: &SimDisk, free_bytes: u64) {
    let used: u64 = disk.files().iter().map(|(_, bytes)| bytes).sum();
    disk.set_capacity(Some(used + free_bytes));
}

async fn has_room(machines: &Machines, id: u64, room: Room) {
    until("the room to be measured", || (machines.node(id).readiness().room == room).then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_on_a_full_disk_hands_over_and_writes_go_on() {
    let machines = open(1).await;
    let writer = Writer::through(machines.nodes());
    writer.go_on(20).await;
    let full = machines.leader(GROUP).await;
    leave(machines.disk(full), 12 * MIB);
    has_room(&machines, full, Room::Short).await;
    until("leadership to move", || (!machines.leads(full, GROUP)).then_some(())).await;
    writer.go_on(30).await;
    assert!(machines.node(full).readiness().is_ready(), "it serves what it can");
    assert!(!machines.leads(full, quorate::GroupId(0)), "so do all groups that it led");

    machines.disk(full).set_capacity(None);
    has_room(&machines, full, Room::Ample).await;
    let acknowledged = writer.stop().await;
    check_all_there(&acknowledged, &machines.converged().await, "a full disk");
    machines.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn where_every_disk_is_full_writes_are_refused_typed_deletes_go_on_and_it_ends_without_a_restart() {
    let machines = open(2).await;
    machines.node(1).put("old", "1").await.unwrap();
    machines.node(1).put("kept", "1").await.unwrap();
    for id in 1..=3 {
        leave(machines.disk(id), 12 * MIB);
    }
    for id in 1..=3 {
        has_room(&machines, id, Room::Short).await;
    }
    for id in 1..=3 {
        let refused = machines.node(id).put("new", "1").await.unwrap_err();
        let Error::Group(GroupError::DiskFull { free_bytes, needed_bytes, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert!(free_bytes < needed_bytes && needed_bytes == 48 * MIB);
        assert!(refused.is_retryable() && !refused.is_maybe_committed());
        assert_eq!(machines.node(id).get("new", ReadLevel::Linearizable).await.unwrap(), None);
    }
    machines.node(2).delete("old").await.unwrap();
    assert_eq!(machines.node(3).get("old", ReadLevel::Linearizable).await.unwrap(), None);
    machines.node(1).group(GROUP).local_status().unwrap();

    for id in 1..=3 {
        machines.disk(id).set_capacity(None);
    }
    for id in 1..=3 {
        has_room(&machines, id, Room::Ample).await;
    }
    machines.node(1).put("new", "1").await.unwrap();
    let names: Vec<_> = machines.converged().await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(names, ["kept", "new"]);
    machines.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_on_an_exhausted_disk_takes_no_entries_and_catches_up_when_there_is_room() {
    let machines = open(3).await;
    let writer = Writer::through(machines.nodes());
    writer.go_on(20).await;
    let follower = machines.leader(GROUP).await % 3 + 1;
    leave(machines.disk(follower), 12 * MIB);
    has_room(&machines, follower, Room::Short).await;
    leave(machines.disk(follower), 6 * MIB);
    has_room(&machines, follower, Room::Exhausted).await;
    let last = || machines.node(follower).group(GROUP).local_status().unwrap().last;
    // What was in the mailbox is worked off, and the status told, within some ticks of virtual time.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let before = last();
    writer.go_on(30).await;
    assert_eq!(last(), before, "entries were taken");
    assert_eq!(machines.readiness(follower, GROUP), quorate::GroupReadiness::Ready);

    machines.disk(follower).set_capacity(None);
    has_room(&machines, follower, Room::Ample).await;
    let acknowledged = writer.stop().await;
    check_all_there(&acknowledged, &machines.converged().await, "an exhausted follower");
    machines.shutdown().await;
}

/// The very write that finds no room comes before anybody has measured.
#[tokio::test(start_paused = true)]
async fn a_disk_that_fills_up_between_two_measurements_takes_no_group_out_for_good() {
    let machines = open(4).await;
    let writer = Writer::through(machines.nodes());
    writer.go_on(20).await;
    let full = machines.leader(GROUP).await;
    leave(machines.disk(full), 0);
    has_room(&machines, full, Room::Short).await;
    writer.go_on(60).await;
    machines.disk(full).set_capacity(None);
    let is_back = || machines.readiness(full, GROUP) == quorate::GroupReadiness::Ready;
    until("the replica to come back", || is_back().then_some(())).await;
    let acknowledged = writer.stop().await;
    check_all_there(&acknowledged, &machines.converged().await, "a disk that was suddenly full");
    machines.shutdown().await;
}
