//! The three nodes of a case, from their start to what is left on their disks.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate::{GroupId, GroupReadiness, Lifecycle, Node, ReadLevel};
use quorate_storage::GroupUid;
use quorate_storage::disk::{Disk, SimDisk};
use quorate_storage::kv::{KvStateMachine, MemoryEngine};
use quorate_storage::snapshot::SnapshotSink;
use quorate_storage::state::{AppliedIndexReader, AppliedRecord, RecordHasher, StateDigest, StateMachine};
use quorate_telemetry::SeededRng;
use quorate_telemetry::stats::GroupReport;
use quorate_transport::net::MemoryNetwork;
use tokio::time::Instant;

use super::cluster::{DATA, GROUPS, NODES, Setup, open};
use super::image::Model;

/// No snapshots but those that something asks for.
const SETUP: Setup = Setup::with_segments(16 << 10, 12 << 10);
/// Written in every case, after the damage.
const NEW_KEY: &str = "key-new";
/// For the cluster to serve every key, and for a damaged replica to come to rest. Virtual.
const SERVES: Duration = Duration::from_secs(30);
/// How long a replica must be out of service before nothing is expected of it any more: it may come back by itself.
const OUT: Duration = Duration::from_millis(1_500);
/// How long a replica may ask for its entries.
const ASKS: Duration = Duration::from_secs(4);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// For one attempt to put a new replica in the place of a broken one.
const REPAIRS: Duration = Duration::from_secs(10);
/// Attempts to put a new replica in the place of a broken one.
const REPAIRS_MAX: usize = 5;

/// Nodes that run, or would not.
pub(super) struct World {
    pub(super) disks: [SimDisk; NODES],
    pub(super) nodes: [Option<Node>; NODES],
    /// Why a node did not open its directory.
    pub(super) refused: Vec<(usize, quorate::Error)>,
    pub(super) model: Model,
}

/// What became of one replica.
#[derive(Clone, Debug)]
pub(super) struct ReplicaEnd {
    pub(super) node: usize,
    pub(super) group: GroupId,
    pub(super) readiness: GroupReadiness,
    /// What it counted; `None` for one that is lost.
    pub(super) report: Option<GroupReport>,
}

impl ReplicaEnd {
    /// What took it out of service, if something did.
    pub(super) fn out_of_service(&self) -> Option<&str> {
        match &self.readiness {
            GroupReadiness::Quarantined(why) | GroupReadiness::Repairing(why) => Some(why),
            GroupReadiness::Lost => Some("its directory is gone"),
            GroupReadiness::Ready
            | GroupReadiness::NoLeader
            | GroupReadiness::Waiting(_)
            | GroupReadiness::Restoring
            | GroupReadiness::Replaying
            | GroupReadiness::Opening => None,
        }
    }
}

impl World {
    /// Starts all nodes.
    pub(super) async fn start(disks: [SimDisk; NODES], model: Model, seed: u64) -> Self {
        let network = MemoryNetwork::new();
        let mut nodes = [None, None, None];
        let mut refused = Vec::new();
        for (at, disk) in disks.iter().enumerate() {
            match open(at, disk, &network, seed, SETUP).await {
                Ok(node) => nodes[at] = Some(node),
                Err(error) => refused.push((at, error)),
            }
        }
        Self { disks, nodes, refused, model }
    }

    pub(super) fn running(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().enumerate().filter_map(|(at, node)| Some((at, node.as_ref()?)))
    }

    /// Reads every key through the nodes in `order` until one gives all of them, and compares.
    pub(super) async fn read_all(&self, order: &[usize]) -> Result<(), String> {
        let keys: Vec<Bytes> = self.model.keys().cloned().collect();
        let deadline = Instant::now() + SERVES;
        loop {
            let mut failure = None;
            for node in order.iter().filter_map(|&at| self.nodes[at].as_ref()) {
                let answers = node.get_each(&keys, ReadLevel::Linearizable).await;
                failure = self.check_answers(&keys, answers)?;
                if failure.is_none() {
                    return Ok(());
                }
            }
            if Instant::now() > deadline {
                return Err(format!("keys cannot be read: {failure:?}"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The first answer that is none; an error if one is wrong.
    fn check_answers(
        &self,
        keys: &[Bytes],
        answers: Vec<Result<Option<Bytes>, quorate::Error>>,
    ) -> Result<Option<quorate::Error>, String> {
        let mut failure = None;
        for (key, answer) in keys.iter().zip(answers) {
            match answer {
                Ok(value) if value == self.model[key] => {}
                Ok(value) => {
                    return Err(format!("{key:?} is {value:?}, acknowledged was {:?}", self.model[key]));
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Ok(failure)
    }

    /// Writes one more key.
    pub(super) async fn write(&mut self, order: &[usize]) -> Result<(), String> {
        let deadline = Instant::now() + SERVES;
        let value = Bytes::from("written behind the damage");
        loop {
            let mut failure = None;
            for node in order.iter().filter_map(|&at| self.nodes[at].as_ref()) {
                match node.put(NEW_KEY, value.clone()).await {
                    Ok(_) => {
                        self.model.insert(Bytes::from(NEW_KEY), Some(value));
                        return Ok(());
                    }
                    Err(error) => failure = Some(error),
                }
            }
            if Instant::now() > deadline {
                return Err(format!("a key cannot be written: {failure:?}"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until every replica has caught up, or is out of service and stays so.
    pub(super) async fn settle(&self) -> Result<Vec<ReplicaEnd>, String> {
        let deadline = Instant::now() + SERVES;
        let mut out_since: BTreeMap<(usize, GroupId), Instant> = BTreeMap::new();
        loop {
            let ends = self.look();
            let now = Instant::now();
            let mut waits_for = None;
            for end in &ends {
                let key = (end.node, end.group);
                let is_at_rest = match &end.readiness {
                    GroupReadiness::Lost => true,
                    GroupReadiness::Ready => self.has_caught_up(end),
                    GroupReadiness::Quarantined(_) => now >= *out_since.entry(key).or_insert(now) + OUT,
                    GroupReadiness::Repairing(_) => now >= *out_since.entry(key).or_insert(now) + ASKS,
                    GroupReadiness::NoLeader
                    | GroupReadiness::Waiting(_)
                    | GroupReadiness::Restoring
                    | GroupReadiness::Replaying
                    | GroupReadiness::Opening => false,
                };
                if end.out_of_service().is_none() {
                    out_since.remove(&key);
                }
                if !is_at_rest {
                    waits_for = Some(end);
                }
            }
            let is_whole = ends.len() == self.running().count() * GROUPS.len();
            match waits_for {
                None if is_whole => return Ok(ends),
                _ if now < deadline => tokio::time::sleep(LOOK).await,
                Some(end) => return Err(format!("a replica does not come to rest: {end:?}")),
                None => return Err(format!("a node does not know its groups: {ends:?}")),
            }
        }
    }

    fn look(&self) -> Vec<ReplicaEnd> {
        let mut ends = Vec::new();
        for (at, node) in self.running() {
            for (group, readiness) in node.readiness().groups {
                let report = node.group(group).local_report();
                ends.push(ReplicaEnd { node: at, group, readiness, report });
            }
        }
        ends
    }

    fn has_caught_up(&self, end: &ReplicaEnd) -> bool {
        let statuses =
            self.running().filter_map(|(at, node)| Some((at, node.group(end.group).local_status()?)));
        let running: Vec<_> = statuses.filter(|(_, status)| status.lifecycle == Lifecycle::Running).collect();
        let newest = running.iter().map(|(_, status)| status.last).max();
        running.iter().any(|(at, status)| *at == end.node && Some(status.applied) == newest)
    }

    /// Puts new replicas in the place of those that are out of service.
    pub(super) async fn repair(&self, ends: &[ReplicaEnd]) -> Result<(), String> {
        for end in ends.iter().filter(|end| end.out_of_service().is_some()) {
            let Some(node) = &self.nodes[end.node] else { continue };
            let mut outcome = node.repair(end.group, REPAIRS).await;
            for _ in 1..REPAIRS_MAX {
                if outcome.is_ok() {
                    break;
                }
                tokio::time::sleep(LOOK).await;
                outcome = node.repair(end.group, REPAIRS).await;
            }
            outcome
                .map_err(|error| format!("{} of node {} cannot be repaired: {error}", end.group, end.node))?;
        }
        Ok(())
    }

    /// Stops all nodes and compares what their stores hold: with the model, and with each other.
    pub(super) async fn stop(self, out: &[ReplicaEnd]) -> Result<(), String> {
        for (at, node) in self.running() {
            node.shutdown_together().await.map_err(|error| format!("node {at} does not stop: {error}"))?;
        }
        for group in GROUPS {
            let mut first: Option<(usize, Held)> = None;
            for (at, _) in self.running() {
                if out.iter().any(|end| (end.node, end.group) == (at, group)) {
                    continue;
                }
                let held = held(&self.disks[at], group)
                    .map_err(|error| format!("the store of {group} on node {at}: {error}"))?;
                held.check().map_err(|what| format!("{group} on node {at}: {what}"))?;
                if group == GROUPS[1] && held.records != live(&self.model) {
                    return Err(format!(
                        "node {at} holds {:?}, acknowledged was {:?}",
                        held.records, self.model
                    ));
                }
                match &first {
                    Some((other, same)) if !held.is_equal(same) => {
                        return Err(format!("{group}: node {at} holds {held:?}, node {other} {same:?}"));
                    }
                    Some(_) => {}
                    None => first = Some((at, held)),
                }
            }
        }
        Ok(())
    }
}

fn live(model: &Model) -> BTreeMap<Bytes, Bytes> {
    model.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect()
}

/// What a store holds.
#[derive(Debug)]
struct Held {
    record: AppliedRecord,
    records: BTreeMap<Bytes, Bytes>,
}

impl Held {
    /// The records add up to the digest.
    fn check(&self) -> Result<(), String> {
        let hasher = RecordHasher::new(self.record.descriptor.uid);
        let sum = |sum: StateDigest, (key, value): (&Bytes, &Bytes)| sum.with(hasher.hash(key, value));
        let digest = self.records.iter().fold(StateDigest::EMPTY, sum);
        if digest == self.record.digest {
            return Ok(());
        }
        Err(format!("the digest is {:?}, its records have {digest:?}", self.record.digest))
    }

    fn is_equal(&self, other: &Self) -> bool {
        let said = |held: &Self| (held.record.applied, held.record.digest);
        said(self) == said(other) && self.records == other.records
    }
}

struct Sink(BTreeMap<Bytes, Bytes>);

impl SnapshotSink for Sink {
    fn put(&mut self, key: &[u8], value: &[u8]) -> quorate_storage::Result<()> {
        self.0.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        Ok(())
    }
}

fn held(disk: &SimDisk, group: GroupId) -> quorate_storage::Result<Held> {
    let dir = Path::new(DATA).join("groups").join(group.to_string()).join("state");
    let disk: Arc<dyn Disk> = Arc::new(disk.fork());
    let engine = MemoryEngine::new(Arc::clone(&disk), Arc::new(SeededRng::new(1)), None);
    let machine = KvStateMachine::open(Arc::new(engine), disk, &dir, GroupUid::ZERO);
    let record = machine.applied_record()?;
    let record = record.ok_or(quorate_storage::Error::Missing { path: dir })?;
    let mut sink = Sink(BTreeMap::new());
    machine.view()?.write_to(&mut sink)?;
    Ok(Held { record, records: sink.0 })
}
