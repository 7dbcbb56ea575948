//! The protocol simulator: three nodes with four groups, of the real core, the real cold-start gate, the real log, the
//! real snapshots and the real state machine, on simulated disks, a simulated network and simulated clocks.
//!
//! What stands in for production is the shell of a group (`replica`; the actor is in `quorate-shard`), a node around
//! it, clients, and whoever repairs a cluster. All of it is one loop over a queue of events (`world`), on one thread; a
//! [`Schedule`] decides everything. What must hold whatever happens is in [`invariants`].

mod client;
mod clock;
mod ctx;
mod damage;
mod deps;
mod dice;
mod event;
mod faults;
mod gate_rows;
mod generate;
mod history;
pub mod invariants;
mod machines;
mod network;
mod node;
mod operator;
mod packet;
mod repairing;
mod replica;
mod report;
mod run;
mod schedule;
pub mod settings;
mod shrink;
mod suite;
mod trace;
mod world;

pub use gate_rows::ROWS;
pub use generate::schedule;
pub use report::{Counts, Report};
pub use run::run;
pub use schedule::{Cut, Fault, Files, Keeps, Planned, Schedule};
pub use shrink::shrink;
pub use suite::{Failed, Plan, Summary, attempt, run_all};
pub use trace::TraceHash;
