//! Full-stack simulation: three whole nodes (actors, transport, logs, snapshots, gate, router) on turmoil's network and
//! simulated disks and clocks, under a schedule of faults that a seed draws.
//!
//! A run has three phases. **Faults**: clients work while machines crash, links break, disks fail, members change.
//! **Heal**: every fault ends, and what an operator would do is done (restart, repair). **Liveness**: every client
//! finishes, every group has its three replicas back, and all say the same. What clients saw is then judged by
//! [`crate::checker`]. One seed decides everything, and two runs of it are the same run.

mod client;
mod command;
mod links;
mod many;
mod nemesis;
mod report;
mod run;
mod schedule;
mod settle;
mod watch;
mod world;

pub use self::many::{Summary, Told, run_seeds};
pub use self::report::{Failure, Outcome, Report};
pub use self::run::{Options, run};
pub use self::schedule::{Crash, DiskCall, Fault, Kind, Part, Schedule, Scheduled};
pub use self::watch::Totals;
