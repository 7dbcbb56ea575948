//! Tries one case: one node's files are damaged while it is down, the two others have gone on.

use std::path::PathBuf;

use bytes::Bytes;
use quorate::Node;
use quorate::disk::RealDisk;
use quorate_transport::net::MemoryNetwork;
use tokio::time::{Instant, sleep};

use super::instance::{DAMAGED, Instance, LOOK, PATIENCE};
use super::report::{Means, Tried};
use super::seen::ReplicaSeen;
use super::{Error, files, node};
use crate::corruption::cluster::{GROUPS, NODES};
use crate::corruption::damage::Damage;
use crate::corruption::image::Model;
use crate::corruption::place::Place;
use crate::corruption::verdict::Outcome;

/// Written in every case, while the damaged node is down.
const NEW_KEY: &str = "key-new";
/// The nodes that have no damage, and what they serve.
pub(super) struct Lab<'a> {
    pub(super) instance: &'a Instance,
    number: usize,
    pub(super) network: MemoryNetwork,
    pub(super) peers: Vec<Node>,
    pub(super) model: Model,
    /// Where the logs of the damaged node begin when they have no damage.
    first: [u64; GROUPS.len()],
    starts: u64,
}

/// What was seen of a case before it is judged.
#[derive(Default)]
struct Course {
    outcomes: Vec<(Outcome, String)>,
    means: Option<Means>,
}

impl Course {
    /// Takes over what there is to see by now.
    fn note(&mut self, ends: &[ReplicaSeen], first: &[u64], means: Means) {
        for (end, first) in ends.iter().zip(first) {
            for (outcome, what) in end.evidence(*first) {
                let what = format!("group {}: {what}", end.group);
                if !self.outcomes.iter().any(|(_, told)| *told == what) {
                    self.outcomes.push((outcome, what));
                }
            }
        }
        if !self.outcomes.is_empty() {
            self.means.get_or_insert(means);
        }
    }
}

impl<'a> Lab<'a> {
    /// Starts the two nodes on what was kept, and looks once at the third without damage. `number` tells it from others
    /// on the same instance.
    pub(super) async fn start(instance: &'a Instance, number: usize) -> Result<Self, Error> {
        let mut this = Self {
            instance,
            number,
            network: MemoryNetwork::new(),
            peers: Vec::new(),
            model: Model::new(),
            first: [u64::MAX; GROUPS.len()],
            starts: 0,
        };
        this.start_peers().await?;
        let control = this.control().await.map_err(|what| Error::Control { what })?;
        this.first = control;
        Ok(this)
    }

    /// Ends the two nodes and starts them anew on what was kept.
    pub(super) async fn reset(&mut self) -> Result<(), Error> {
        self.stop().await?;
        self.start_peers().await
    }

    pub(super) async fn stop(&mut self) -> Result<(), Error> {
        for node in self.peers.drain(..) {
            node.shutdown_together().await?;
        }
        Ok(())
    }

    async fn start_peers(&mut self) -> Result<(), Error> {
        self.network = MemoryNetwork::new();
        self.model.clone_from(&self.instance.model);
        for at in 0..NODES - 1 {
            files::restore(&self.instance.kept(at), &self.live(at), None)?;
            let node = self.open(at).await?;
            self.peers.push(node);
        }
        for node in &self.peers {
            node.ready(PATIENCE).await?;
        }
        Ok(())
    }

    /// Where node `at` has its files.
    pub(super) fn live(&self, at: usize) -> PathBuf {
        self.instance.live(self.number, at)
    }

    async fn open(&mut self, at: usize) -> Result<Node, Error> {
        self.starts += 1;
        let seed = self.instance.settings.seed.wrapping_mul(1_000_003).wrapping_add(self.starts);
        let (store, dir) = (self.instance.settings.store, self.live(at));
        node::open((store, &self.network), self.number, (at, &dir), seed).await
    }

    /// The third node without damage: where its logs begin.
    async fn control(&mut self) -> Result<[u64; GROUPS.len()], String> {
        self.restore(None)?;
        self.go_on().await?;
        let node = self.open(DAMAGED).await.map_err(|error| error.to_string())?;
        let ends = self.settle(&node).await?;
        self.read_all(&node).await?;
        let mut course = Course::default();
        for group in GROUPS {
            self.scan(&node, group).await?;
        }
        course.note(&self.settle(&node).await?, &self.first, Means::Scan);
        self.compare(&ends).await?;
        node.shutdown().await.map_err(|error| error.to_string())?;
        if let Some((_, what)) = course.outcomes.first() {
            return Err(format!("{what}, without damage"));
        }
        let first = ends.iter().map(|end| end.report.as_ref().map_or(0, |report| report.first));
        first.collect::<Vec<_>>().try_into().map_err(|_| "not every group is there".to_owned())
    }

    pub(super) fn restore(&self, damaged: Option<&Place>) -> Result<(), String> {
        let (kept, live) = (self.instance.kept(DAMAGED), self.live(DAMAGED));
        files::restore(&kept, &live, damaged.map(|place| place.file.as_path()))
            .map_err(|error| format!("cannot restore: {error}"))
    }

    pub(super) fn strike(&self, place: &Place, damage: Damage) -> Result<bool, String> {
        let (disk, path) = (RealDisk::new(), self.live(DAMAGED).join(&place.file));
        damage.apply(&disk, &path, &disk).map_err(|error| format!("{place}: {damage}: {error}"))
    }

    /// Tries one case. An error is a violation: what must never happen.
    pub(super) async fn try_case(&mut self, place: &Place, damage: Damage) -> Result<Tried, String> {
        self.restore(Some(place))?;
        if !self.strike(place, damage)? {
            return Ok(Tried::default());
        }
        self.go_on().await?;
        let node = match self.open(DAMAGED).await {
            Ok(node) => node,
            Err(error) => {
                let what = error.to_string();
                self.check_names_place(place, &what)?;
                return Ok(Tried::new(Outcome::Refused, Some(Means::Start), vec![what]));
            }
        };
        let tried = self.run(&node, place).await;
        let stopped = node.shutdown().await;
        let course = tried?;
        stopped.map_err(|error| format!("does not stop: {error}"))?;
        let Some(outcome) = course.outcomes.iter().map(|(outcome, _)| *outcome).max() else {
            return self.judge_silent(place, damage);
        };
        let what = course.outcomes.into_iter().map(|(_, what)| what).collect();
        Ok(Tried::new(outcome, course.means, what))
    }

    /// From the start to the comparison. What is out of service for good stays so: that `repair` brings it back is seen on the small instance.
    async fn run(&self, node: &Node, place: &Place) -> Result<Course, String> {
        let mut course = Course::default();
        let mut ends = self.settle(node).await?;
        course.note(&ends, &self.first, Means::Start);
        for end in &ends {
            let Some(why) = end.out_of_service() else { continue };
            if why.contains("panic") {
                return Err(format!("{}: {why}", end.group));
            }
            self.check_names_place(place, why)?;
            course.outcomes.push((Outcome::Quarantined, why.to_owned()));
            course.means.get_or_insert(Means::Start);
        }
        ends.retain(|end| end.out_of_service().is_none());
        let has_keys = ends.iter().any(|end| end.group == GROUPS[1]);
        let reader = if has_keys { node } else { &self.peers[0] };
        self.read_all(reader).await?;
        course.note(&self.settle(node).await?, &self.first, Means::Read);
        for end in &ends {
            self.scan(node, end.group).await?;
        }
        let scanned = self.settle(node).await?;
        course.note(&scanned, &self.first, Means::Scan);
        if scanned.iter().filter(|end| end.out_of_service().is_none()).count() != ends.len() {
            return Err(format!("out of service since it was read: {scanned:?}"));
        }
        self.read_all(reader).await?;
        self.compare(&ends).await?;
        Ok(course)
    }

    /// The two nodes take a write, and each group another leader: what a leader knew of the third node is forgotten, for
    /// that node comes back with older files.
    async fn go_on(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        for group in GROUPS {
            let leads = |at: usize| {
                self.peers[at].group(group).local_status().is_some_and(|status| status.role.is_serving)
            };
            let mut old = None;
            loop {
                match ((0..self.peers.len()).find(|&at| leads(at)), old) {
                    (Some(at), Some(before)) if at != before => break,
                    (Some(at), _) => {
                        old = Some(at);
                        let other = self.peers[1 - at].group(group).local_status();
                        if let Some(other) = other {
                            // It may lag yet; then it is tried again.
                            drop(self.peers[at].group(group).transfer_leader(other.replica).await);
                        }
                    }
                    (None, _) => {}
                }
                if Instant::now() > deadline {
                    return Err(format!("{group} gets no other leader"));
                }
                sleep(LOOK).await;
            }
        }
        let value = Bytes::from(format!("start {}", self.starts));
        self.peers[0].put(NEW_KEY, value.clone()).await.map_err(|error| format!("no write: {error}"))?;
        self.model.insert(Bytes::from(NEW_KEY), Some(value));
        Ok(())
    }
}
