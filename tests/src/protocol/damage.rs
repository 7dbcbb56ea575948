//! Damage at rest: what rots, is lost, or is put back by a hand that should not have. Replicas are stopped meanwhile.

use std::path::{Path, PathBuf};

use quorate_shard::actor::StateContext;
use quorate_storage::disk::{Disk, DiskFault, OpenMode, SimDisk};
use quorate_storage::identity::{FileOwner, ReplicaPaths};
use quorate_storage::log::{LogBatch, LogPlace, LogStore, SegmentedLog};
use quorate_storage::{Entry, EntryKind, GroupId, HardState, Index, Term};

use super::dice::Dice;
use super::event::NodeAt;
use super::invariants::{Law, broken};
use super::schedule::{Cut, Fault};
use super::settings::{dir, uid};
use super::world::World;

/// A replica that was stopped.
struct Stopped {
    /// What its store holds, if it says so.
    held: Option<Index>,
}

/// A directory as it was.
pub(crate) type Copy = Vec<(PathBuf, Vec<u8>)>;

pub(crate) fn paths(group: GroupId) -> ReplicaPaths {
    ReplicaPaths::new(dir(group))
}

/// All files below `root`.
pub(crate) fn copy(disk: &SimDisk, root: &Path) -> Copy {
    let files = disk.files().into_iter().filter(|(path, _)| path.starts_with(root));
    files.filter_map(|(path, bytes)| read(disk, &path, bytes).map(|content| (path, content))).collect()
}

fn read(disk: &SimDisk, path: &Path, bytes: u64) -> Option<Vec<u8>> {
    let mut content = vec![0; usize::try_from(bytes).ok()?];
    disk.open(path, OpenMode::Read).ok()?.read_exact_at(&mut content, 0).ok()?;
    Some(content)
}

/// Puts a copy back in place of what is below `root` now. Durable on return; false if the disk fails.
pub(crate) fn put_back(disk: &SimDisk, root: &Path, files: &Copy) -> bool {
    let write = || -> std::io::Result<()> {
        disk.remove_dir_all(root)?;
        disk.create_dir_all(root)?;
        for (path, content) in files {
            let parent = path.parent().unwrap_or(root);
            disk.create_dir_all(parent)?;
            let file = disk.open(path, OpenMode::Create)?;
            file.write_all_at(content, 0)?;
            file.sync_data()?;
            disk.sync_dir(parent)?;
            disk.sync_dir(root)?;
        }
        disk.sync_dir(root.parent().unwrap_or(root))
    };
    write().is_ok()
}

/// Removes what is below `root`; durable on return.
pub(crate) fn remove(disk: &SimDisk, root: &Path) -> bool {
    let Ok(entries) = disk.list(root) else { return false };
    let gone = entries.iter().try_for_each(|entry| {
        let path = root.join(&entry.name);
        if entry.is_dir { disk.remove_dir_all(&path) } else { disk.remove_file(&path) }
    });
    gone.and_then(|()| disk.sync_dir(root)).is_ok()
}

/// Flips a bit of one of the files below `root`, at a place that is not padding.
pub(crate) fn rot(disk: &SimDisk, root: &Path, dice: &mut Dice) -> bool {
    let files: Vec<_> = copy(disk, root).into_iter().filter(|(_, content)| !content.is_empty()).collect();
    if files.is_empty() {
        return false;
    }
    let (path, content) = &files[dice.pick(files.len())];
    let told: Vec<_> = content.iter().enumerate().filter(|(_, byte)| **byte != 0).map(|(at, _)| at).collect();
    if told.is_empty() {
        return false;
    }
    disk.flip(path, told[dice.pick(told.len())] as u64, 1_u8 << dice.below(8)).is_ok()
}

impl World {
    /// Opens the log of a stopped replica and takes its end away. `None` if it is as it was, else whether that succeeded: a
    /// disk that is full may take the cut and then fail.
    fn cut_log(&mut self, node: NodeAt, group: GroupId, held: Index, cut: Cut) -> Option<bool> {
        let owner = self.nodes[node].owners.get(&group).copied()?;
        let owner = FileOwner { group: uid(group), replica: owner.replica, incarnation: owner.incarnation };
        let disk = std::sync::Arc::new(self.nodes[node].disk.clone());
        let rng = std::sync::Arc::new(quorate_telemetry::SeededRng::new(self.dice.next()));
        let place = LogPlace { disk, dir: paths(group).wal(), owner, rng };
        let mut log = SegmentedLog::open(place, self.configs[&group].log).ok()?;
        let (skeleton, hard_state) = (log.recovered().skeleton.clone(), log.recovered().hard_state);
        let at = if cut == Cut::BelowCommit { hard_state.commit } else { held };
        let room = skeleton.base.index.next() < at && at <= skeleton.last && hard_state.commit >= at.prev();
        if !room {
            return None;
        }
        let term = |index| skeleton.term(index).unwrap_or_default();
        let entry = |index: Index, term: Term| Entry {
            term,
            index,
            kind: EntryKind::Normal,
            payload: bytes::Bytes::new(),
        };
        // An entry that overlaps truncates what follows it.
        let (entries, commit) = match cut {
            Cut::BelowCommit => (vec![entry(at.prev(), term(at.prev()))], hard_state.commit),
            Cut::BelowState => (vec![entry(at.prev(), term(at.prev()))], at.prev()),
            Cut::Rewritten => {
                let other = Term(hard_state.term.get().max(term(skeleton.last).get()) + 1);
                let through = at.max(hard_state.commit).get();
                ((at.get()..=through).map(|index| entry(Index(index), other)).collect(), hard_state.commit)
            }
        };
        let term = entries.last().map_or(hard_state.term, |last| last.term.max(hard_state.term));
        let hard_state = Some(HardState { term, vote: None, commit });
        let appended = log.append(&[LogBatch { install: None, entries, hard_state }], true);
        Some(appended.is_ok() && log.close().is_ok())
    }
}

/// Faults that damage what is kept.
impl World {
    /// Whether it could be done without losing what is acknowledged.
    pub(crate) fn damage(&mut self, fault: &Fault) -> bool {
        match *fault {
            Fault::ReadFails { node, group } => {
                let group = GroupId(group);
                let stopped = self.stop(node, group).is_some();
                if stopped {
                    let state = paths(group).state();
                    self.nodes[node].disk.fail_once(&state.to_string_lossy(), DiskFault::FailedReads);
                }
                stopped && self.go_on_damaged(node, group)
            }
            Fault::RottenStore { node, group } => {
                let group = GroupId(group);
                let stopped = self.stop(node, group).is_some();
                if stopped {
                    self.nodes[node].rotten_store = Some(group);
                }
                stopped && self.go_on_damaged(node, group)
            }
            Fault::StateLost { node, group } => {
                let state = paths(GroupId(group)).state();
                self.harm(node, GroupId(group), |disk| remove(disk, &state))
            }
            Fault::SnapshotsLost { node, group } => {
                let paths = paths(GroupId(group));
                self.may_lose(GroupId(group), node)
                    && self.harm(node, GroupId(group), |disk| {
                        remove(disk, &paths.state()) && remove(disk, &paths.snapshots())
                    })
            }
            Fault::ForeignState { node, group, from } => self.give_foreign_state(node, GroupId(group), from),
            Fault::CutLog { node, group, cut } => self.take_log_end(node, GroupId(group), cut),
            Fault::RotLog { node, group, loses_state } => {
                let group = GroupId(group);
                if !self.may_lose(group, node) || self.stop(node, group).is_none() {
                    return false;
                }
                self.excuse(node, group);
                let disk = self.nodes[node].disk.clone();
                let rotted = rot(&disk, &paths(group).wal(), &mut self.dice);
                if loses_state {
                    remove(&disk, &paths(group).state());
                }
                self.go_on_damaged(node, group) && rotted
            }
            Fault::RotSnapshot { node, group, loses_state } => {
                let group = GroupId(group);
                if !self.may_lose(group, node) || self.stop(node, group).is_none() {
                    return false;
                }
                let disk = self.nodes[node].disk.clone();
                let rotted = rot(&disk, &paths(group).snapshots(), &mut self.dice);
                if loses_state {
                    remove(&disk, &paths(group).state());
                }
                self.go_on_damaged(node, group) && rotted
            }
            _ => false,
        }
    }

    /// Stops a replica that runs, its log proven to the end.
    fn stop(&mut self, node: NodeAt, group: GroupId) -> Option<Stopped> {
        let replica = self.nodes[node].replica_mut(group)?;
        let proven = replica.prove_now();
        let who = replica.who();
        // The look at the store below is not what a failure that is armed is to strike.
        let is_armed = !self.nodes[node].armed.is_empty();
        if !proven || is_armed || !self.nodes[node].disk.is_powered() {
            return None;
        }
        self.ctx.laws.applied.damaged(who);
        self.nodes[node].slots.remove(&group);
        let deps = self.nodes[node].deps()?;
        let owner = self.nodes[node].owners.get(&group)?;
        let context = StateContext {
            group,
            uid: uid(group),
            incarnation: owner.incarnation,
            dir: paths(group).state(),
        };
        let machine = deps.machines.open(&context).ok()?;
        let record =
            machine.as_applied_index_reader().and_then(|reader| reader.applied_record().ok()).flatten();
        let record = record.filter(|record| record.incarnation == owner.incarnation);
        Some(Stopped { held: record.map(|record| record.applied.index) })
    }

    /// Does `harm` to a replica's files while it is stopped, as far as its disk takes it. Whether all was done.
    fn harm(&mut self, node: NodeAt, group: GroupId, harm: impl FnOnce(&SimDisk) -> bool) -> bool {
        if self.stop(node, group).is_none() {
            return false;
        }
        let is_done = harm(&self.nodes[node].disk);
        self.go_on_damaged(node, group) && is_done
    }

    /// Starts a replica that was stopped.
    fn go_on_damaged(&mut self, node: NodeAt, group: GroupId) -> bool {
        self.start(node, group);
        true
    }

    /// From now on this replica may be lost.
    fn excuse(&mut self, node: NodeAt, group: GroupId) {
        if let Some(owner) = self.nodes[node].owners.get(&group).copied() {
            self.nodes[node].excused.insert((group, owner.replica));
        }
    }

    fn give_foreign_state(&mut self, node: NodeAt, group: GroupId, from: NodeAt) -> bool {
        let state = paths(group).state();
        let files = copy(&self.nodes[from].disk, &state);
        from != node && !files.is_empty() && self.harm(node, group, |disk| put_back(disk, &state, &files))
    }

    fn take_log_end(&mut self, node: NodeAt, group: GroupId, cut: Cut) -> bool {
        if !self.may_lose(group, node) {
            return false;
        }
        let Some(Stopped { held }) = self.stop(node, group) else { return false };
        let can = cut == Cut::BelowCommit || held.is_some();
        let outcome = can.then(|| self.cut_log(node, group, held.unwrap_or_default(), cut)).flatten();
        let is_cut = outcome == Some(true);
        if outcome.is_some() {
            self.excuse(node, group);
        }
        if is_cut {
            // What a store holds counts against the log also where nobody may count on it.
            let is_rotten = self.dice.permille(300);
            self.nodes[node].rotten_store = is_rotten.then_some(group);
        }
        self.start(node, group);
        if is_cut && self.nodes[node].replica(group).is_some() {
            let told = format!("node {node} starts group {group}, the end of whose log is gone ({cut:?})");
            self.ctx.uphold(broken(Law::NoAcknowledgedWriteLost, told));
        }
        is_cut
    }

    /// Keeps a copy of a replica's store.
    pub(crate) fn keep_state(&mut self, number: usize, node: NodeAt, group: GroupId) -> bool {
        let Some(owner) = self.nodes[node].owners.get(&group).copied() else { return false };
        let files = copy(&self.nodes[node].disk, &paths(group).state());
        let can = self.nodes[node].is_up && !files.is_empty();
        if can {
            self.copies.insert(number, (owner.replica, files));
        }
        can
    }

    /// Puts the copy back, if it is still the same replica.
    pub(crate) fn put_state_back(&mut self, number: usize, node: NodeAt, group: GroupId) {
        let Some((replica, files)) = self.copies.remove(&number) else { return };
        let is_same = self.nodes[node].owners.get(&group).is_some_and(|owner| owner.replica == replica);
        if is_same && self.stop(node, group).is_some() {
            put_back(&self.nodes[node].disk, &paths(group).state(), &files);
            self.start(node, group);
        }
    }
}
