//! The way back of a group that cannot go on, and how the other replicas hear of it.
//!
//! # Repair of single entries
//!
//! A batch of the log whose body is damaged still names its entries in its tables: index, term and checksum. Entries at
//! or below the floor are of no use any more: the log then begins behind them. For the others no raft node is made.
//! The replica is *repairing*: it takes no part in raft, answers no message and gives no vote. It asks the others'
//! nodes, outside of raft, for just these entries, and answers such questions itself from what it can read, so that
//! replicas with damage in different places help each other. A fetched entry goes to the log as a copy, durable; when
//! nothing is missing any more, the group is opened as at any start.
//!
//! **Why a fetched entry is right.** A leader makes at most one entry for an index in its term, so in one group (uid)
//! index and term name an entry: whoever has one of that name has the same, committed or not. The checksum, which the
//! damaged batch still tells, is compared too. So the log becomes exactly what it was, and what this replica has ever
//! acknowledged stands behind it again.
//!
//! **When entries are dropped.** An entry that was never committed may be nowhere else. It is dropped, with all behind
//! it, only if it cannot be committed any more, and never at or below the commit index known here. Either
//! 1. another replica's durable log has another entry there, at or below its durable commit index: one index commits
//!    once; or
//! 2. of the other voters a majority does not have it, each of them durably in a term above this replica's last term
//!    *T*. Were it committed already, a majority of all voters would have it for ever, and too few would lack it.
//!    Could it be committed later, with this replica's old acknowledgement counted? That was given to a leader of a term
//!    up to *T*; such a leader needs acknowledgements in its term of enough others, and this majority gives none. A
//!    later leader counts only what this replica says in the later term. The term is read before the log is looked
//!    at, and both as they are durable: what is accepted in memory is not yet there, but neither is the later term
//!    then. The membership must be certain for this: not joint, and no membership change behind the floor.
//!
//! With the suffix goes the promise to its leader: the highest term any answer told becomes this replica's own.
//!
//! **Otherwise nothing is guessed.** Without an answer that decides, the replica keeps asking, and says on what it waits.

mod check;
mod fetch;
mod judge;
mod notice;
mod run;
mod serve;
mod steps;
mod wire;

pub use check::Damage;
pub use judge::Verdict;
pub use run::{Repair, Repaired};

pub(crate) use check::check_log;
pub(crate) use notice::QuarantineNotice;
pub use serve::look_up;
pub use steps::{RepairSteps, Written};
pub use wire::{EntriesAnswer, EntriesQuestion, Found};

pub(crate) use serve::LogServer;
