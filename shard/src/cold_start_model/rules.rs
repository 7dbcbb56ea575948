//! What may happen in a state.

use std::sync::Arc;

use quorate_storage::Index;
use quorate_storage::cold_start::Opening;
use quorate_storage::payload::InClear;
use quorate_storage::snapshot::SnapshotToken;
use quorate_storage::state::StateMachine;
use stateright::{Model, Property};

use super::machine::{CEILING, Second, entry};
use super::properties;
use super::seen::Seen;
use super::start::{Manner, start};
use super::state::{
    BIRTH, Disk, FOLLOWER, Fate, Image, Installing, Kind, LEADER, Memory, Publishing, Replica, Snapshot,
    State, byte,
};
use crate::actor::compaction::Trailing;
use crate::actor::publish_job::{compact_through, label_of};
use crate::actor::publish_steps::PublishStep;
use crate::applier::ApplyEntry;
use crate::applier::batch::Batch;
use crate::applier::duplicates::take_duplicates;
use crate::core::{AppliedConf, InstallStep};

/// How much may happen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) entries: usize,
    pub(super) publishes: u8,
    pub(super) crashes: u8,
    pub(super) faults: u8,
}

/// The model, within a bound.
#[derive(Clone, Debug)]
pub(super) struct ColdStart {
    pub(super) bound: Bound,
    pub(super) manner: Manner,
    pub(super) seen: Arc<Seen>,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The leader appends an entry.
    Append(Kind),
    /// It is durable, and with it committed.
    Commit,
    /// The second replica is made, empty.
    Create,
    /// The second replica appends one of the leader's entries.
    Follow,
    /// The next committed entry.
    Apply(usize),
    /// A snapshot's view is taken.
    Publish(usize),
    /// The next step of a publishing.
    PublishStep(usize),
    /// The leader's newest snapshot has arrived at the second replica, and raft takes it.
    Install,
    /// The next step of an install.
    InstallStep,
    /// A crash, and the start behind it.
    Crash(usize, Loss),
    /// The empty second replica is given a log that begins at 1, as by a leader whose group was born without a snapshot.
    Misfeed,
}

/// What is not there after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// What was not durable.
    Unsynced,
    /// Nothing of the store: it had made durable what it held.
    AllButStore,
    /// Nothing of the log: what was written and not synced has reached the disk all the same.
    AllButLog,
    /// The state directory, too.
    Store,
    /// The log behind this index, although it was acknowledged.
    Log(u8),
    /// The log behind this index, and the state directory.
    LogAndStore(u8),
}

impl Model for ColdStart {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let replica = |fate, disk| Replica {
            fate,
            disk,
            memory: Memory::default(),
            has_lost_log: false,
            is_misfed: false,
        };
        let second = match self.manner.second {
            Second::Joins => Disk::default(),
            Second::Founds => Disk::founded(),
        };
        let mut state = State {
            log: Vec::new(),
            is_unsynced: false,
            replicas: [replica(Fate::Unborn, Disk::founded()), replica(Fate::Unborn, second)],
            crashes_left: self.bound.crashes,
            publishes_left: self.bound.publishes,
            faults_left: self.bound.faults,
        };
        start(&mut state, LEADER, self.manner, &self.seen);
        if self.manner.second == Second::Founds {
            start(&mut state, FOLLOWER, self.manner, &self.seen);
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.replicas.iter().any(|replica| replica.has_lost_log) {
            return; // The one is refused, and what the other may do is seen without the fault, too.
        }
        if state.is_unsynced {
            // Nothing else depends on an entry that is not durable: whatever comes between may as well come before.
            actions.push(Action::Commit);
            if state.crashes_left > 0 {
                self.crashes(state, LEADER, actions);
            }
            return;
        }
        if state.replicas[FOLLOWER].is_misfed {
            return self.replica_actions(state, FOLLOWER, actions);
        }
        if state.replicas[LEADER].runs() {
            self.leader_actions(state, actions);
        }
        let follower = &state.replicas[FOLLOWER];
        let is_added = state.index_of(Kind::Conf).is_some_and(|at| at <= state.committed());
        if follower.fate == Fate::Unborn && is_added {
            actions.push(Action::Create);
        }
        if follower.runs() && follower.disk.last == 0 && state.faults_left > 0 {
            actions.push(Action::Misfeed);
        }
        for replica in [LEADER, FOLLOWER] {
            if state.replicas[replica].runs() {
                self.replica_actions(state, replica, actions);
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Append(kind) => {
                state.log.push(kind);
                state.is_unsynced = true;
            }
            Action::Commit => state.commit(),
            Action::Create => {
                start(&mut state, FOLLOWER, self.manner, &self.seen);
            }
            Action::Follow => {
                let committed = state.committed();
                let disk = &mut state.replicas[FOLLOWER].disk;
                disk.last += 1;
                disk.commit = committed.min(disk.last);
            }
            Action::Apply(replica) => self.apply(&mut state, replica),
            Action::Publish(replica) => {
                self.publish(&mut state, replica);
                // A start knows nothing of a file that the log has not recorded: no crash in front of it differs from one
                // behind it.
                if PublishStep::order()[0] == PublishStep::WriteFile {
                    self.publish_step(&mut state, replica);
                }
            }
            Action::PublishStep(replica) => self.publish_step(&mut state, replica),
            Action::Install => {
                let snapshot = offered(&state, self.manner.second)?;
                let follower = &mut state.replicas[FOLLOWER];
                follower.disk.files.put(snapshot);
                follower.memory.installing = Some(Installing { done: 0, snapshot });
            }
            Action::InstallStep => self.install_step(&mut state),
            Action::Crash(replica, loss) => self.crash(&mut state, replica, loss),
            Action::Misfeed => {
                state.faults_left -= 1;
                let follower = &mut state.replicas[FOLLOWER];
                (follower.is_misfed, follower.disk.last) = (true, 1);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

impl ColdStart {
    fn leader_actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.log.len() < self.bound.entries {
            actions.push(Action::Append(Kind::Data));
            for kind in [Kind::Lease, Kind::Conf] {
                if state.index_of(kind).is_none() {
                    actions.push(Action::Append(kind));
                }
            }
        }
        let follower = &state.replicas[FOLLOWER];
        if !follower.runs() || follower.disk.last >= state.committed() {
            return;
        }
        let leader = state.replicas[LEADER].disk.skeleton(None);
        if leader.term(Index(follower.disk.last.into())).is_some() {
            actions.push(Action::Follow);
        } else if follower.memory.installing.is_none() && offered(state, self.manner.second).is_some() {
            actions.push(Action::Install);
        }
    }

    fn replica_actions(&self, state: &State, at: usize, actions: &mut Vec<Action>) {
        let replica = &state.replicas[at];
        let Memory { image, applied, publishing, installing, .. } = &replica.memory;
        let is_restoring = installing.is_some_and(|installing| installing.done > 0);
        if !is_restoring && *applied < state.committed().min(replica.disk.last) && !replica.is_misfed {
            actions.push(Action::Apply(at));
        }
        let newest = replica.disk.files.newest().map_or(0, |file| file.index);
        if publishing.is_some() && !is_restoring {
            actions.push(Action::PublishStep(at));
        }
        let may_publish = publishing.is_none() && state.publishes_left > 0 && !is_restoring;
        if may_publish && image.marker > newest {
            actions.push(Action::Publish(at));
        }
        if installing.is_some() {
            actions.push(Action::InstallStep);
        }
        if state.crashes_left > 0 {
            self.crashes(state, at, actions);
        }
    }

    fn crashes(&self, state: &State, at: usize, actions: &mut Vec<Action>) {
        let disk = &state.replicas[at].disk;
        let mut crash = |loss| actions.push(Action::Crash(at, loss));
        crash(Loss::Unsynced);
        if state.replicas[at].is_misfed {
            return;
        }
        if disk.store != Some(self.manner.stored(state.replicas[at].memory.image)) {
            crash(Loss::AllButStore);
        }
        if at == LEADER && state.is_unsynced {
            crash(Loss::AllButLog);
        }
        if state.faults_left == 0 {
            return;
        }
        let marker = disk.store.map_or(0, |store| store.marker);
        if disk.store.is_some() {
            crash(Loss::Store);
        }
        // As far as something is left that can tell.
        let newest = disk.files.newest().map_or(disk.base, |file| file.index.max(disk.base));
        for last in newest..disk.last {
            if last < disk.commit || last < marker {
                crash(Loss::Log(last));
            }
            if last < disk.commit && disk.store.is_some() {
                crash(Loss::LogAndStore(last));
            }
        }
    }

    fn crash(&self, state: &mut State, at: usize, loss: Loss) {
        state.crashes_left -= 1;
        if at == LEADER && state.is_unsynced {
            if loss == Loss::AllButLog {
                state.commit();
            } else {
                state.log.pop();
                state.is_unsynced = false;
            }
        }
        let replica = &mut state.replicas[at];
        if let Loss::Log(last) | Loss::LogAndStore(last) = loss {
            (replica.disk.last, replica.has_lost_log) = (last, true);
        }
        match loss {
            Loss::Unsynced | Loss::AllButLog => {}
            // A store may do so at any time. It is only asked what came of it when a crash shows it.
            Loss::AllButStore => replica.disk.store = Some(self.manner.stored(replica.memory.image)),
            Loss::Store | Loss::Log(_) | Loss::LogAndStore(_) => state.faults_left -= 1,
        }
        if let Loss::Store | Loss::LogAndStore(_) = loss {
            replica.disk.store = None;
        }
        start(state, at, self.manner, &self.seen);
    }

    /// The applier takes the next entry: the batch, what becomes of duplicates, the call of the state machine.
    fn apply(&self, state: &mut State, at: usize) {
        let index = state.replicas[at].memory.applied + 1;
        let kind = state.kind(index);
        let memory = &state.replicas[at].memory;
        let clock = Image { marker: memory.applied, has_ceiling: memory.has_ceiling, ..memory.image };
        let mut record = self.manner.second.record(clock, at);
        let conf = (kind == Kind::Conf).then(|| Box::new(self.conf_change()));
        let entry = ApplyEntry { entry: entry(index, kind), conf, reply: None, since: None };
        #[cfg(feature = "planted-bugs")]
        if crate::actor::planted::Relabel::of(&entry.entry, entry.conf.as_deref()).is_some() {
            state.replicas[at].memory.asked = Some(index);
        }
        let batch =
            Batch::build(vec![entry], &mut record, &InClear).expect("the model's entries can be read");
        let memory = &mut state.replicas[at].memory;
        let mut machine = self.manner.machine(memory.image);
        let opening = Opening { cutover: None, unsealer: &InClear };
        take_duplicates(&mut machine, &batch.duplicates, &opening).expect("the model's entries can be read");
        if batch.entries > 0 {
            machine.apply(&batch.commands, &record).expect("it only counts");
        }
        memory.image = machine.image;
        memory.applied = byte(record.applied.index);
        memory.has_ceiling = record.hlc_ceiling >= CEILING;
        memory.shown = memory.applied;
    }

    fn conf_change(&self) -> AppliedConf {
        let (conf_state, descriptor) = self.manner.second.membership(true);
        AppliedConf { conf_state, descriptor, refused: None }
    }

    fn publish(&self, state: &mut State, at: usize) {
        state.publishes_left -= 1;
        let memory = &mut state.replicas[at].memory;
        let label = label_of(&self.manner.second.record(memory.image, at)).record;
        #[cfg_attr(
            not(feature = "planted-bugs"),
            expect(unused_mut, reason = "changed by a planted mistake")
        )]
        let mut snapshot = Snapshot {
            index: byte(label.applied.index),
            has_changed: self.manner.second.has_changed(&label),
            has_ceiling: label.hlc_ceiling >= CEILING,
            content: memory.image.content,
        };
        #[cfg(feature = "planted-bugs")]
        self.relabel(memory, &mut snapshot, at);
        memory.publishing = Some(Publishing { done: 0, snapshot, durable: 0 });
    }

    /// As a conf change would that publishes: it says what the label is, and the view is taken some time later. See
    /// `Planted::ConfChangePublishes`.
    #[cfg(feature = "planted-bugs")]
    fn relabel(&self, memory: &mut Memory, snapshot: &mut Snapshot, at: usize) {
        let Some(asked) = memory.asked.take() else { return };
        let conf = self.conf_change();
        let relabel = crate::actor::planted::Relabel::of(&entry(asked, Kind::Conf), Some(&conf));
        let mut label = self.manner.second.record(snapshot.image(), at);
        relabel.iter().for_each(|relabel| relabel.apply(&mut label));
        snapshot.index = byte(label.applied.index);
        snapshot.has_changed = self.manner.second.has_changed(&label);
    }

    /// The next step; those that leave nothing behind are no step of their own.
    fn publish_step(&self, state: &mut State, at: usize) {
        let order = PublishStep::order();
        loop {
            let Some(mut publishing) = state.replicas[at].memory.publishing else { return };
            let step = order[usize::from(publishing.done)];
            publishing.done += 1;
            let replica = &mut state.replicas[at];
            match step {
                PublishStep::WriteFile => replica.disk.files.put(publishing.snapshot),
                PublishStep::RaiseMarker => {
                    replica.disk.store = Some(self.manner.stored(replica.memory.image));
                    publishing.durable = replica.memory.image.marker;
                }
                PublishStep::RecordSnapshot => replica.disk.files.record(publishing.snapshot.index),
                PublishStep::Announce | PublishStep::ReadBack => {}
                PublishStep::Compact => self.compact(&mut replica.disk, publishing),
                PublishStep::Prune => replica.disk.prune(publishing.snapshot.index),
            }
            let next = order.get(usize::from(publishing.done));
            replica.memory.publishing = next.map(|_| publishing);
            if !matches!(next, Some(PublishStep::Announce | PublishStep::ReadBack)) {
                return;
            }
        }
    }

    fn compact(&self, disk: &mut Disk, publishing: Publishing) {
        let recorded: Vec<_> = disk
            .files
            .usable()
            .filter(|file| file.index <= publishing.snapshot.index)
            .map(|file| SnapshotToken { id: super::state::id(file.index), bytes: 1, crc: 0 })
            .collect();
        let trailing = Trailing { entries: 0, bytes: u64::MAX, hold: None };
        let durable = Index(publishing.durable.into());
        if let Some(through) = compact_through(&recorded, &trailing, &|_| 0, durable)
            && byte(through) > disk.base
        {
            disk.base = byte(through);
            self.seen.compacted();
        }
    }

    fn install_step(&self, state: &mut State) {
        let follower = &mut state.replicas[FOLLOWER];
        let Some(Installing { done, snapshot }) = follower.memory.installing else { return };
        let order = InstallStep::order();
        match order[usize::from(done)] {
            InstallStep::Record => {
                let disk = &mut follower.disk;
                (disk.base, disk.last) = (snapshot.index, snapshot.index);
                disk.commit = disk.commit.max(snapshot.index);
                disk.files.record(snapshot.index);
            }
            InstallStep::Restore => {
                follower.disk.store = Some(self.manner.stored(snapshot.image()));
                follower.memory.image = snapshot.image();
            }
            InstallStep::Show => {
                (follower.memory.applied, follower.memory.shown) = (snapshot.index, snapshot.index);
                follower.memory.has_ceiling = snapshot.has_ceiling;
            }
        }
        let done = done + 1;
        let is_over = usize::from(done) == order.len();
        follower.memory.installing = (!is_over).then_some(Installing { done, snapshot });
        if is_over {
            self.seen.installed();
        }
    }
}

impl State {
    /// The last entry is durable. The hard state that is written with it knows of the commits before it.
    fn commit(&mut self) {
        let committed = self.committed();
        self.is_unsynced = false;
        let disk = &mut self.replicas[LEADER].disk;
        (disk.commit, disk.last) = (committed, committed + 1);
    }
}

impl Disk {
    /// Keeps the two newest usable ones up to `newest`, and what is newer.
    fn prune(&mut self, newest: u8) {
        let mut older = self.files.usable().rev().filter(|file| file.index <= newest);
        let Some(oldest) = older.nth(1).map(|file| file.index) else { return };
        drop(older);
        self.files.retain(|file| {
            let index = file.snapshot.index;
            index > newest || (index >= oldest && file.is_recorded)
        });
    }
}

/// What the leader has for a replica that its log does not reach: the newest snapshot, if it knows the replica.
fn offered(state: &State, second: Second) -> Option<Snapshot> {
    let leader = &state.replicas[LEADER].disk;
    let newest = leader.files.newest()?;
    let is_known = second == Second::Founds || newest.has_changed;
    let is_of_use = is_known && newest.index >= leader.base.max(BIRTH);
    Some(newest).filter(|_| is_of_use && newest.index > state.replicas[FOLLOWER].disk.last)
}
