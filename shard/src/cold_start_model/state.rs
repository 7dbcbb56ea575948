//! A state of the model: two replicas of a group, what is on their disks and what is in their memory.
//!
//! Indexes are bytes: 1 is the snapshot a group is born with, entries begin at 2. A crash and the start behind it are one
//! step: a replica that is down is one that does nothing.

use quorate_storage::log::LogSkeleton;
use quorate_storage::{EntryId, Index, Term};

/// Most entries of any bound.
pub(super) const ENTRIES_MAX: usize = 6;
/// The snapshot a group is born with.
pub(super) const BIRTH: u8 = 1;
/// The only voter, and leader.
pub(super) const LEADER: usize = 0;
/// Learns.
pub(super) const FOLLOWER: usize = 1;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Data,
    Lease,
    /// Adds a replica.
    Conf,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// Entries from index 2 on, as the leader has appended them.
    pub(super) log: Vec<Kind>,
    /// The last of them is not durable yet. All others are committed, because the leader is the only voter.
    pub(super) is_unsynced: bool,
    pub(super) replicas: [Replica; 2],
    pub(super) crashes_left: u8,
    pub(super) publishes_left: u8,
    /// Disks that lie, directories that vanish, and leaders that do not exist.
    pub(super) faults_left: u8,
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Replica {
    pub(super) fate: Fate,
    pub(super) disk: Disk,
    /// Of a replica that runs.
    pub(super) memory: Memory,
    /// Its disk has lost what it had acknowledged.
    pub(super) has_lost_log: bool,
    /// It has entries from index 1 on, and no membership.
    pub(super) is_misfed: bool,
}

/// What becomes of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fate {
    Unborn,
    Runs,
    /// The gate refused its start.
    Refused,
    /// Its start failed behind the gate.
    Failed,
}

/// What survives a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Disk {
    /// The index before the log's first.
    pub(super) base: u8,
    /// Last durable index.
    pub(super) last: u8,
    /// Commit of the hard state.
    pub(super) commit: u8,
    /// Complete snapshot files.
    pub(super) files: Files,
    /// What the store has made durable; `None` without a generation.
    pub(super) store: Option<Image>,
}

/// Snapshot files, each in the place of its index. No memory of their own: a model has millions of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Files([Option<File>; ENTRIES_MAX + 1]);

/// A complete snapshot file. (One that the log records and that is gone is as if it never was.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct File {
    pub(super) snapshot: Snapshot,
    /// The log records it.
    pub(super) is_recorded: bool,
}

/// What a state machine holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Image {
    pub(super) content: Content,
    /// Index of its applied record.
    pub(super) marker: u8,
    /// The membership of the record is that behind the conf change.
    pub(super) has_changed: bool,
    /// It knows the lease's ceiling.
    pub(super) has_ceiling: bool,
}

/// How often each data entry was applied: two bits each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Content(u16);

/// A snapshot file: its label, and what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Snapshot {
    pub(super) index: u8,
    pub(super) has_changed: bool,
    pub(super) has_ceiling: bool,
    pub(super) content: Content,
}

/// What a crash takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Memory {
    /// What the state machine holds.
    pub(super) image: Image,
    /// What the applier counts as applied.
    pub(super) applied: u8,
    /// What readers, and those who wait for an index, are told.
    pub(super) shown: u8,
    /// The clock knows the lease's ceiling.
    pub(super) has_ceiling: bool,
    /// Its start had a log, and no membership.
    pub(super) lacks_members: bool,
    pub(super) publishing: Option<Publishing>,
    pub(super) installing: Option<Installing>,
}

/// A snapshot being published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Publishing {
    /// Steps that are done.
    pub(super) done: u8,
    pub(super) snapshot: Snapshot,
    /// Up to where the store said it is durable.
    pub(super) durable: u8,
}

/// A received snapshot being installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Installing {
    /// Steps that are done.
    pub(super) done: u8,
    pub(super) snapshot: Snapshot,
}

/// The entry, or snapshot, of this index. Everything is of the leader's one term but the birth.
pub(super) fn id(index: u8) -> EntryId {
    EntryId { term: Term(u64::from(index.min(2))), index: Index(u64::from(index)) }
}

/// An index of the model.
pub(super) fn byte(index: Index) -> u8 {
    u8::try_from(index.get()).expect("the model has few entries")
}

impl Content {
    /// One entry more.
    pub(super) fn add(&mut self, index: u8) {
        let shift = 2 * (index - BIRTH - 1);
        if (self.0 >> shift) & 3 < 3 {
            self.0 += 1 << shift;
        }
    }
}

impl State {
    pub(super) fn kind(&self, index: u8) -> Kind {
        self.log[usize::from(index - BIRTH - 1)]
    }

    /// Index of the last entry that is committed.
    pub(super) fn committed(&self) -> u8 {
        let entries = self.log.len() - usize::from(self.is_unsynced);
        BIRTH + u8::try_from(entries).expect("few entries")
    }

    /// The index of the only entry of this kind.
    pub(super) fn index_of(&self, kind: Kind) -> Option<u8> {
        let at = self.log.iter().position(|other| *other == kind)?;
        Some(BIRTH + 1 + u8::try_from(at).expect("few entries"))
    }

    /// What must be there once everything up to `index` is applied, each entry once.
    pub(super) fn expected(&self, index: u8) -> Image {
        let mut content = Content::default();
        let entries = BIRTH + 1..=index.max(BIRTH);
        entries.filter(|at| self.kind(*at) == Kind::Data).for_each(|at| content.add(at));
        let reaches = |kind| self.index_of(kind).is_some_and(|at| at <= index);
        Image { content, marker: index, has_changed: reaches(Kind::Conf), has_ceiling: reaches(Kind::Lease) }
    }
}

impl Disk {
    /// Of a founding member.
    pub(super) fn founded() -> Self {
        let birth =
            Snapshot { index: BIRTH, has_changed: false, has_ceiling: false, content: Content::default() };
        let mut files = Files::default();
        files.put(birth);
        files.record(BIRTH);
        Self { base: BIRTH, last: BIRTH, commit: BIRTH, files, store: None }
    }

    pub(super) fn skeleton(&self, conf_change: Option<u8>) -> LogSkeleton {
        let mut skeleton = LogSkeleton::default();
        skeleton.reset(id(self.base));
        for index in self.base + 1..=self.last {
            skeleton.push(id(index), conf_change == Some(index));
        }
        skeleton
    }
}

impl Files {
    pub(super) fn put(&mut self, snapshot: Snapshot) {
        self.0[place(snapshot.index)] = Some(File { snapshot, is_recorded: false });
    }

    pub(super) fn record(&mut self, index: u8) {
        if let Some(file) = &mut self.0[place(index)] {
            file.is_recorded = true;
        }
    }

    pub(super) fn retain(&mut self, is_kept: impl Fn(&File) -> bool) {
        for file in &mut self.0 {
            *file = file.filter(&is_kept);
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Snapshot> + '_ {
        self.0.iter().flatten().map(|file| file.snapshot)
    }

    /// Recorded, and there; oldest first.
    pub(super) fn usable(&self) -> impl DoubleEndedIterator<Item = Snapshot> + '_ {
        self.0.iter().flatten().filter(|file| file.is_recorded).map(|file| file.snapshot)
    }

    /// The newest usable one.
    pub(super) fn newest(&self) -> Option<Snapshot> {
        self.usable().next_back()
    }
}

fn place(index: u8) -> usize {
    usize::from(index - BIRTH)
}

impl Snapshot {
    pub(super) fn image(self) -> Image {
        Image {
            content: self.content,
            marker: self.index,
            has_changed: self.has_changed,
            has_ceiling: self.has_ceiling,
        }
    }
}

impl Replica {
    pub(super) fn runs(&self) -> bool {
        self.fate == Fate::Runs
    }
}
