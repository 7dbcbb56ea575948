//! Each kind of file, with each kind of fault, on the leader's disk.

use std::time::Duration;

use quorate::storage::disk::DiskFault;
use quorate::{GroupReadiness, ReadLevel, ScanOptions};

use crate::machines::{GROUP, Machines, Pools, until};
use crate::writer::{Writer, check_all_there};

/// Files of the user group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Files {
    Log,
    Snapshots,
    State,
}

/// How a fault begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasting {
    Once,
    UntilHealed,
}

/// What becomes of the replica on the disk with the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It goes on, and may go on leading: what failed is tried again.
    GoesOn,
    /// It goes out of office, and is back by itself once the disk is healed.
    ComesBack,
    /// It is out of service until the process is started again.
    NeedsRestart,
}

use DiskFault::{FailedSyncs, FailedWrites, NoSpace, ShortWrites, StalledWrites};
use Files::{Log, Snapshots, State};
use Lasting::{Once, UntilHealed};
use Then::{ComesBack, GoesOn, NeedsRestart};

/// How soon a replica is back on a disk that was healed.
const BACK_MAX: Duration = Duration::from_secs(20);

const CASES: [(Files, DiskFault, Lasting, Then); 16] = [
    (Log, NoSpace, UntilHealed, ComesBack),
    (Log, FailedWrites, Once, NeedsRestart),
    (Log, FailedWrites, UntilHealed, NeedsRestart),
    (Log, ShortWrites, Once, NeedsRestart),
    (Log, FailedSyncs, Once, NeedsRestart),
    (Log, FailedSyncs, UntilHealed, NeedsRestart),
    (Snapshots, NoSpace, UntilHealed, GoesOn),
    (Snapshots, FailedWrites, UntilHealed, GoesOn),
    (Snapshots, ShortWrites, Once, GoesOn),
    (Snapshots, FailedSyncs, UntilHealed, GoesOn),
    (State, NoSpace, UntilHealed, ComesBack),
    (State, FailedWrites, Once, ComesBack),
    (State, FailedWrites, UntilHealed, ComesBack),
    (State, ShortWrites, Once, ComesBack),
    (State, FailedSyncs, Once, ComesBack),
    (State, FailedSyncs, UntilHealed, ComesBack),
];

const STALLS: [(Files, DiskFault, Lasting, Then); 3] = [
    (Log, StalledWrites, UntilHealed, ComesBack),
    (Snapshots, StalledWrites, UntilHealed, GoesOn),
    (State, StalledWrites, UntilHealed, ComesBack),
];

#[tokio::test(start_paused = true)]
async fn no_fault_of_any_file_loses_what_was_acknowledged() {
    for (seed, case) in (1..).zip(CASES) {
        eprintln!("seed {seed}: {case:?}");
        run(Pools::Simulated, seed, case).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hanging_write_loses_what_was_acknowledged() {
    for (seed, case) in (1..).zip(STALLS) {
        eprintln!("seed {seed}: {case:?}");
        run(Pools::Threads, seed, case).await;
    }
}

async fn run(pools: Pools, seed: u64, case: (Files, DiskFault, Lasting, Then)) {
    let (files, fault, lasting, then) = case;
    let context = format!("seed {seed}, {case:?}");
    let mut machines = Machines::open(pools, seed, |_| {}).await;
    let writer = Writer::through(machines.nodes());
    writer.go_on(20).await;
    let struck = machines.leader(GROUP).await;
    let disk = machines.disk(struck).clone();
    let part = part_of(files);
    match lasting {
        Once => disk.fail_once(part, fault),
        UntilHealed => disk.fail(part, fault),
    }
    if then == GoesOn {
        writer.go_on(60).await;
    } else {
        until("leadership to move", || (!machines.leads(struck, GROUP)).then_some(())).await;
        writer.go_on(40).await;
        if lasting == UntilHealed {
            assert_ne!(machines.leader(GROUP).await, struck, "{context}");
        }
    }
    assert!(disk.has_failed(), "{context}: the fault did not strike");
    let other = machines.node(struck % 3 + 1).clone();
    // Few: the writer adds at the end, and a scan of everything would follow it for ever.
    let some = other.scan(&ScanOptions::default(), 10, ReadLevel::Linearizable).await.unwrap();
    assert_eq!(some.len(), 10, "{context}");
    // The node lives: what the group has lost on this disk, others have not.
    let catalog = machines.readiness(struck, quorate::GroupId(0));
    assert!(matches!(catalog, GroupReadiness::Ready | GroupReadiness::NoLeader), "{context}: {catalog:?}");
    other.put("through the surviving quorum", "1").await.unwrap();
    let through_it = machines.node(struck).put("through the node with the fault", "1").await;
    assert!(through_it.is_ok(), "{context}: {through_it:?}");

    disk.heal();
    if then == NeedsRestart {
        let readiness = machines.readiness(struck, GROUP);
        assert!(matches!(readiness, GroupReadiness::Quarantined(_)), "{context}: {readiness:?}");
        let acknowledged = writer.stop().await;
        machines.cut_power(struck).await;
        check_all_there(&acknowledged, &machines.converged().await, &context);
    } else {
        let is_back = || machines.readiness(struck, GROUP) == GroupReadiness::Ready;
        let back = until("the replica to come back", || is_back().then_some(()));
        let back = tokio::time::timeout(BACK_MAX, back).await;
        assert!(back.is_ok(), "{context}: {:?}", machines.readiness(struck, GROUP));
        writer.go_on(20).await;
        let acknowledged = writer.stop().await;
        check_all_there(&acknowledged, &machines.converged().await, &context);
    }
    machines.shutdown().await;
}

fn part_of(files: Files) -> &'static str {
    match files {
        Log => "groups/1/wal/",
        Snapshots => "groups/1/snapshots/",
        State => "groups/1/state/",
    }
}
