//! A simulated world, and its loop: the next event, its effects, the next event. One thread, no clock but its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_shard::actor::{Birth, GroupConfig};
use quorate_storage::cold_start::Policy;
use quorate_storage::{
    ConfEpoch, ConfState, GroupDescriptor, GroupId, Incarnation, KeyRange, NodeId, RangeEpoch,
    ReplicaDescriptor, ReplicaId,
};

use super::client::{self, Answer, Asked, Client, Step};
use super::ctx::Ctx;
use super::dice::Dice;
use super::event::{Event, Job, NodeAt, Place};
use super::history::History;
use super::node::{Node, Owner, Slot, Trouble, trouble_of};
use super::operator::{Operator, Way};
use super::packet::Packet;
use super::replica::{Failure, Replica};
use super::schedule::{Keeps, Schedule};
use super::settings::{CLIENTS, NODES, TICK, config, groups, uid};

/// Ticks between two looks at clocks, and two questions for entries.
const TICKS_PER_LOOK: u64 = 10;
/// A quarantined replica is started again after up to so long.
const RESTART_MAX: Duration = Duration::from_secs(4);

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) ctx: Ctx,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Vec<Client>,
    pub(crate) history: History,
    pub(crate) operators: BTreeMap<GroupId, Operator>,
    pub(crate) configs: BTreeMap<GroupId, Arc<GroupConfig>>,
    pub(crate) dice: Dice,
    pub(crate) schedule: Schedule,
    /// Faults that have begun and not ended.
    pub(crate) active: Vec<usize>,
    /// How a node loses power in the call that was armed, and for how long.
    pub(crate) power_cuts: [Option<(Keeps, Duration)>; NODES],
    /// No fault begins any more.
    pub(crate) is_healed: bool,
    /// Copies of directories that are put back later, by fault.
    pub(crate) copies: BTreeMap<usize, (ReplicaId, super::damage::Copy)>,
    lives: u64,
}

impl World {
    /// Three nodes with four groups, and everything planned.
    pub(crate) fn new(schedule: Schedule) -> Self {
        let seed = schedule.seed;
        let mut dice = Dice::new(seed, 0x3d);
        let time = Duration::from_secs(schedule.seconds);
        let operations = client::share(schedule.operations);
        let configs = groups().map(|group| {
            let policy = if dice.permille(300) { Policy::CommittedTail } else { Policy::Snapshot };
            (group, Arc::new(config(policy)))
        });
        let mut world = Self {
            ctx: Ctx::new(seed),
            nodes: (0..NODES).map(|at| Node::new(at, seed)).collect(),
            configs: configs.collect(),
            clients: (0..CLIENTS).map(|number| Client::new(number, seed, operations, time)).collect(),
            history: History::default(),
            operators: groups().map(|group| (group, Operator::new(group))).collect(),
            dice,
            schedule,
            active: Vec::new(),
            power_cuts: [None; NODES],
            is_healed: false,
            copies: BTreeMap::new(),
            lives: 0,
        };
        world.found();
        world.plan();
        world
    }

    /// Groups are born, and all nodes start.
    fn found(&mut self) {
        for at in 0..NODES {
            self.nodes[at].boot();
            for group in groups() {
                let descriptor = first_descriptor(group);
                let owner = first_owner(group, at);
                let voters = ConfState::of_voters((1..=NODES as u64).map(ReplicaId).collect());
                let config = &self.configs[&group];
                let created = self.nodes[at].create(descriptor, owner, Birth::Founding(voters), config);
                assert!(created.is_ok(), "a new disk takes a new replica: {created:?}");
            }
            self.start_all(at);
        }
    }

    fn plan(&mut self) {
        for (number, planned) in self.schedule.faults.iter().enumerate() {
            self.ctx.queue.add(Duration::from_millis(planned.at_ms), Event::Fault(number));
        }
        for client in 0..CLIENTS {
            let attempt = self.clients[client].attempt();
            let delay = self.ctx.moment(Duration::from_secs(1));
            self.ctx.after(delay, Event::Client { client, attempt });
        }
    }

    /// Everything that happens up to `end`, unless a law is broken before.
    pub(crate) fn run_until(&mut self, end: Duration) {
        while self.ctx.broken.is_none()
            && let Some((at, event)) = self.ctx.queue.next()
        {
            if at >= end {
                self.ctx.queue.add(at, event);
                self.ctx.now = end;
                return;
            }
            self.ctx.now = at;
            self.ctx.counts.events += 1;
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        if let Some(node) = node_of(&event) {
            let until = self.nodes[node].frozen_until;
            if until > self.ctx.now {
                return self.ctx.queue.add(until, event);
            }
            self.nodes[node].machine.clock.set(self.ctx.now);
        }
        self.note(&event);
        match event {
            Event::Tick { node, life } => self.tick(node, life),
            Event::Start { node, life } => {
                if !self.nodes[node].is_up && self.nodes[node].life == life {
                    self.nodes[node].boot();
                    self.start_all(node);
                }
            }
            Event::Restart { node, group, life } => {
                let is_same = self.nodes[node].is_up && self.nodes[node].life == life;
                if is_same && self.nodes[node].replica(group).is_none() {
                    self.start(node, group);
                }
            }
            Event::Packet { from, to, packet } => self.arrive(from, to, *packet),
            Event::Job { place, job } => self.work(place, job),
            Event::Asked { node, asked } => self.asked(node, *asked),
            Event::Answered { client, attempt, answer } => self.answered(client, attempt, answer),
            Event::Client { client, attempt } => self.wakes(client, attempt),
            Event::Fault(number) => self.fault(number),
            Event::FaultEnds(number) => self.fault_ends(number),
            Event::Operate { group } => self.operate(group),
        }
    }

    /// Into the trace: when, what, where.
    fn note(&mut self, event: &Event) {
        let word = match event {
            Event::Tick { node, .. } => *node as u64 | 1 << 60,
            Event::Start { node, .. } => *node as u64 | 2 << 60,
            Event::Restart { node, group, .. } => *node as u64 | group.get() << 8 | 3 << 60,
            Event::Packet { from, to, packet } => packet.mark() ^ ((from << 4 | to) as u64) | 4 << 60,
            Event::Job { place, .. } => {
                place.node as u64 | place.group.get() << 8 | place.life << 20 | 5 << 60
            }
            Event::Asked { node, asked } => {
                *node as u64 | (asked.client as u64) << 8 | asked.attempt << 20 | 6 << 60
            }
            Event::Answered { client, attempt, .. } => *client as u64 | attempt << 20 | 7 << 60,
            Event::Client { client, attempt } => *client as u64 | attempt << 20 | 8 << 60,
            Event::Fault(number) | Event::FaultEnds(number) => *number as u64 | 9 << 60,
            Event::Operate { group } => group.get() | 10 << 60,
        };
        self.ctx.trace.note(u64::try_from(self.ctx.now.as_micros()).unwrap_or(u64::MAX));
        self.ctx.trace.note(word);
    }

    fn tick(&mut self, node: NodeAt, life: u64) {
        if !self.nodes[node].is_up || self.nodes[node].life != life {
            return;
        }
        // It was cut where nothing looked: in a start, or while a directory was made.
        if !self.nodes[node].disk.is_powered() {
            return self.power_goes(node);
        }
        self.nodes[node].ticks += 1;
        let (clock, is_second) =
            (self.nodes[node].machine.clock.clone(), self.nodes[node].ticks.is_multiple_of(TICKS_PER_LOOK));
        self.count_struck(node);
        if is_second {
            self.compare_clocks(node);
        }
        let watch = self.nodes[node].deps().map(|deps| Arc::clone(&deps.clock_watch));
        for group in groups() {
            self.with_replica(node, group, Replica::tick);
            if let Some(watch) = &watch {
                self.with_replica(node, group, |replica, ctx| replica.tend_time(ctx, &clock, watch));
            }
            if is_second {
                self.ask_for_entries(node, group);
            }
        }
        let next = self.nodes[node].tick();
        self.ctx.after(next, Event::Tick { node, life });
    }

    /// What the pings of a node's neighbours say of its wall clock.
    fn compare_clocks(&mut self, node: NodeAt) {
        let own = self.nodes[node].machine.clock.offset_ms();
        let network = &self.ctx.network;
        let others = self.nodes.iter().filter(|other| other.at != node && other.is_up);
        let heard = others.filter(|other| !network.is_cut(other.at, node) && !network.is_cut(node, other.at));
        let ahead: Vec<_> = heard.map(|other| other.machine.clock.offset_ms() - own).collect();
        if let Some(deps) = self.nodes[node].deps() {
            deps.clock_watch.measure(&ahead);
        }
    }

    fn arrive(&mut self, from: NodeAt, to: NodeAt, packet: Packet) {
        let group = packet.group();
        match packet {
            Packet::EntriesWanted { question, number } => {
                return self.answer_entries(from, to, &question, number);
            }
            Packet::EntriesAnswered { number, answer, .. } => {
                return self.take_entries(to, group, number, *answer);
            }
            _ => {}
        }
        if self.nodes[to].replica(group).is_some_and(|replica| replica.id == packet.to()) {
            self.with_replica(to, group, |replica, ctx| replica.take(ctx, from, packet));
        }
    }

    fn work(&mut self, place: Place, job: Job) {
        let Place { node, group, .. } = place;
        if self.nodes[node].replica(group).is_some_and(|replica| replica.place == place) {
            self.with_replica(node, group, |replica, ctx| replica.work(ctx, job));
        }
    }

    fn asked(&mut self, node: NodeAt, asked: Asked) {
        if self.nodes[node].is_up && self.nodes[node].replica(asked.group).is_some() {
            let group = asked.group;
            self.with_replica(node, group, |replica, ctx| replica.ask(ctx, asked));
        } else {
            self.ctx.answer(asked.client, asked.attempt, Answer::Refused { hint: None });
        }
    }

    fn answered(&mut self, client: usize, attempt: u64, answer: Answer) {
        if self.clients[client].attempt() == attempt {
            let step = self.clients[client].hears(self.ctx.now, answer, &mut self.history);
            self.take_step(client, step);
        }
    }

    fn wakes(&mut self, client: usize, attempt: u64) {
        if self.clients[client].attempt() != attempt {
            return;
        }
        let laws = &self.ctx.laws;
        let told = |group| laws.acknowledged.newest(group);
        let step = self.clients[client].wakes(self.ctx.now, told, &mut self.history);
        self.take_step(client, step);
    }

    fn take_step(&mut self, client: usize, step: Step) {
        match step {
            Step::Rest => {}
            Step::Pause(attempt, pause) => self.ctx.after(pause, Event::Client { client, attempt }),
            Step::Ask(node, asked, patience) => {
                let attempt = asked.attempt;
                self.ctx.after(patience, Event::Client { client, attempt });
                let delay = self.ctx.client_latency();
                self.ctx.after(delay, Event::Asked { node, asked });
            }
        }
    }

    /// Has `act` done to a replica that runs, and does what follows from how it ends.
    pub(crate) fn with_replica(
        &mut self,
        node: NodeAt,
        group: GroupId,
        act: impl FnOnce(&mut Replica, &mut Ctx) -> Result<(), Failure>,
    ) {
        let Some(replica) = self.nodes[node].replica_mut(group) else { return };
        let outcome = act(replica, &mut self.ctx);
        if !self.nodes[node].disk.is_powered() {
            return self.power_goes(node);
        }
        if let Err(failure) = outcome {
            self.fails(node, group, &failure);
        }
    }

    fn fails(&mut self, node: NodeAt, group: GroupId, failure: &Failure) {
        let trouble = trouble_of(failure);
        let life = self.nodes[node].life;
        self.nodes[node].slots.insert(group, Slot::Quarantined(trouble));
        match failure {
            Failure::Restart => self.ctx.after(Duration::ZERO, Event::Restart { node, group, life }),
            failure => {
                self.ctx.counts.quarantines += 1;
                if trouble == Trouble::Lost {
                    self.nodes[node].excuse(&mut self.ctx, group, failure);
                    self.lost(node, group);
                }
                if trouble == Trouble::Start {
                    let delay = self.ctx.moment(RESTART_MAX);
                    self.ctx.after(delay, Event::Restart { node, group, life });
                }
            }
        }
    }

    /// The power was cut within a call.
    fn power_goes(&mut self, node: NodeAt) {
        let (keeps, down) = self.power_cuts[node].take().unwrap_or((Keeps::Sectors, Duration::from_secs(1)));
        *self.ctx.counts.faults.entry("power cut within a call").or_default() += 1;
        self.crash(node, keeps, down);
    }

    /// A node dies, and comes back after `down`.
    pub(crate) fn crash(&mut self, node: NodeAt, keeps: Keeps, down: Duration) {
        self.power_cuts[node] = None;
        self.nodes[node].crash(keeps);
        let life = self.nodes[node].life;
        self.ctx.after(down, Event::Start { node, life });
    }

    fn start_all(&mut self, node: NodeAt) {
        for group in groups() {
            self.start(node, group);
            if !self.nodes[node].disk.is_powered() {
                return self.power_goes(node);
            }
        }
        let life = self.nodes[node].life;
        let phase = self.ctx.moment(TICK);
        self.ctx.after(phase, Event::Tick { node, life });
    }

    /// Starts a replica, or starts it again.
    pub(crate) fn start(&mut self, node: NodeAt, group: GroupId) {
        self.lives += 1;
        let config = Arc::clone(&self.configs[&group]);
        self.nodes[node].machine.clock.set(self.ctx.now);
        self.nodes[node].start(&mut self.ctx, group, &config, self.lives);
        match self.nodes[node].slots.get(&group) {
            Some(Slot::Quarantined(Trouble::Start)) => {
                let delay = self.ctx.moment(RESTART_MAX);
                let life = self.nodes[node].life;
                self.ctx.after(delay, Event::Restart { node, group, life });
            }
            Some(Slot::Quarantined(Trouble::Lost)) => self.lost(node, group),
            _ => {}
        }
    }

    /// A replica cannot come back: it is replaced by a new one.
    pub(crate) fn lost(&mut self, node: NodeAt, group: GroupId) {
        self.nodes[node].slots.insert(group, Slot::Quarantined(Trouble::Lost));
        if let Some(owner) = self.nodes[node].owners.get(&group).copied() {
            self.replace(group, node, owner.replica, Way::GrowFirst);
        }
    }
}

/// The node that an event happens on.
fn node_of(event: &Event) -> Option<NodeAt> {
    match event {
        Event::Tick { node, .. } | Event::Restart { node, .. } | Event::Asked { node, .. } => Some(*node),
        Event::Packet { to, .. } => Some(*to),
        Event::Job { place, .. } => Some(place.node),
        _ => None,
    }
}

/// The directory of a founding replica.
fn first_owner(group: GroupId, at: NodeAt) -> Owner {
    let replica = ReplicaId(at as u64 + 1);
    Owner { replica, incarnation: incarnation(group, replica) }
}

/// Of the directory of a replica: replica ids are never used twice.
pub(crate) fn incarnation(group: GroupId, replica: ReplicaId) -> Incarnation {
    Incarnation((u128::from(group.get()) << 64 | u128::from(replica.get())).to_le_bytes())
}

/// A group as it is born.
pub(crate) fn first_descriptor(group: GroupId) -> GroupDescriptor {
    let replica = |at: NodeAt| {
        let Owner { replica, incarnation } = first_owner(group, at);
        ReplicaDescriptor { replica, node: NodeId(at as u64 + 1), incarnation }
    };
    GroupDescriptor {
        group,
        uid: uid(group),
        range: KeyRange::all(),
        range_epoch: RangeEpoch(1),
        conf_epoch: ConfEpoch(1),
        replicas: (0..NODES).map(replica).collect(),
    }
}
