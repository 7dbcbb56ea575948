//! A replica whose state is not the group's: found by the comparison, taken out of service for good, and replaced.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use quorate::disk::{Disk, RealDisk};
use quorate::storage::identity::ReplicaIdentity;
use quorate::storage::kv::{KvStateMachine, StoreConfig, StoreShared};
use quorate::storage::snapshot::{SnapshotSink, SnapshotSource};
use quorate::storage::state::{AppliedIndexReader, AppliedRecord, RecordHasher, StateDigest, StateMachine};
use quorate::{ConsistencyReport, Remedy, ReplicaAnswer, StoreKind, Verdict};
use quorate_telemetry::clock::SystemClock;
use quorate_telemetry::rng::SystemRng;
use quorate_telemetry::stats::QuarantineReason;
use quorate_telemetry::workers::ThreadWorkers;
use tokio::time::Instant;

use crate::cluster::{Cluster, GROUP, PATIENCE, has_applied, replica_on, until};
use crate::writing::Writing;

type Records = Vec<(Bytes, Bytes)>;

/// All of a state, in memory.
struct Held(Records);

impl SnapshotSink for Held {
    fn put(&mut self, key: &[u8], value: &[u8]) -> quorate::storage::Result<()> {
        self.0.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        Ok(())
    }
}

struct Given(std::vec::IntoIter<(Bytes, Bytes)>);

impl SnapshotSource for Given {
    fn next_record(&mut self) -> quorate::storage::Result<Option<(Bytes, Bytes)>> {
        Ok(self.0.next())
    }
}

/// Changes one value of the stopped replica in `dir`. The state agrees with itself afterwards: its checksums, its sums and
/// its applied record.
fn falsify(dir: &Path) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
    let uid = ReplicaIdentity::read(disk.as_ref(), &dir.join("replica")).unwrap().unwrap().uid;
    let workers = Arc::new(ThreadWorkers::new("flush", NonZeroUsize::MIN).unwrap());
    let shared = StoreShared::new(StoreConfig::default(), workers, Arc::new(SystemClock::new()));
    let engine = shared.engine(StoreKind::Lsm, Arc::clone(&disk), Arc::new(SystemRng::new()));
    let mut machine = KvStateMachine::open(engine, disk, &dir.join("state"), uid);
    let record = machine.applied_record().unwrap().unwrap();
    let mut held = Held(Vec::new());
    machine.view().unwrap().write_to(&mut held).unwrap();
    let Held(mut records) = held;
    records[0].1 = Bytes::from_static(b"nobody wrote this");
    let hasher = RecordHasher::new(uid);
    let sum = |sum: StateDigest, (key, value): &(Bytes, Bytes)| sum.with(hasher.hash(key, value));
    let digest = records.iter().fold(StateDigest::EMPTY, sum);
    assert_ne!(digest, record.digest);
    machine.restore(&mut Given(records.into_iter()), &AppliedRecord { digest, ..record }).unwrap();
    machine.close().unwrap();
}

/// Asks for a comparison until one has the digests of all three.
async fn compared(cluster: &Cluster) -> ConsistencyReport {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let report = cluster.node(1).check_consistency(GROUP).await;
        let is_whole = |report: &ConsistencyReport| {
            let digests =
                report.replicas.iter().filter(|replica| matches!(replica.answer, ReplicaAnswer::Digest(_)));
            digests.count() == 3
        };
        if let Some(report) = report.as_ref().ok().filter(|report| is_whole(report)) {
            return report.clone();
        }
        assert!(Instant::now() < deadline, "{report:?}");
    }
}

/// Waits until node 3's replica holds everything that is committed now.
async fn caught_up(cluster: &Cluster) {
    let leader = cluster.leader(GROUP).await;
    let committed = cluster.node(leader).group(GROUP).local_status().unwrap();
    until("catching up", || has_applied(cluster.node(3), &committed).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_a_majority_proves_wrong_is_replaced_and_stays_well_over_a_restart() {
    let mut cluster = Cluster::of_three().await;
    let writing = Writing::through(cluster.node(1));
    writing.go_on(50).await;
    let dir = cluster.data_dir(3).join("groups").join(GROUP.to_string());
    let mark = dir.join("diverged");
    cluster.take(3).shutdown().await.unwrap();
    falsify(&dir);
    cluster.restart(3).await;
    caught_up(&cluster).await;
    let old = replica_on(&cluster.node(1).group(GROUP), 3).unwrap();

    let report = compared(&cluster).await;
    assert!(
        matches!(&report.verdict, Verdict::Diverged { divergent, .. } if *divergent == [old]),
        "{report:?}"
    );
    let quarantined = || cluster.node(3).group(GROUP).local_quarantine();
    let quarantine = until("a quarantine", quarantined).await;
    assert_eq!((quarantine.reason, quarantine.remedy), (QuarantineReason::StateDiverged, Remedy::Repair));
    until("the mark", || mark.exists().then_some(())).await;
    cluster.take(3).shutdown().await.unwrap();
    cluster.start(3).await;
    let quarantined = || cluster.node(3).group(GROUP).local_quarantine();
    let quarantine = until("a quarantine after a restart", quarantined).await;
    assert_eq!(quarantine.reason, QuarantineReason::StateDiverged);
    writing.go_on(20).await;

    until("a catalog", || cluster.node(3).catalog().version).await;
    let new = cluster.node(3).repair(GROUP, PATIENCE).await.unwrap();
    assert!(new > old && !mark.exists());
    caught_up(&cluster).await;
    assert_eq!(compared(&cluster).await.verdict, Verdict::Consistent);
    cluster.take(3).shutdown().await.unwrap();
    cluster.restart(3).await;
    caught_up(&cluster).await;
    assert_eq!(cluster.node(3).group(GROUP).local_status().unwrap().replica, new);
    assert_eq!(compared(&cluster).await.verdict, Verdict::Consistent);
    writing.verify(cluster.node(3)).await;
    cluster.shutdown().await;
}
