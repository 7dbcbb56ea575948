//! One mistake, tried: in a process of its own, because a process makes one mistake or none.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quorate_storage::planted::VARIABLE;

use super::simulation::law_of;
use super::{Caught, Mistake, Simulation};

/// A mistake has to be found within.
pub const TIME_MAX: Duration = Duration::from_secs(60);

/// How long `timeout` waits for a process, which ends itself before.
const TIMEOUT_SECONDS: &str = "75";

/// A mistake that was tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What came of it.
    pub tried: Tried,
    /// How long it took.
    pub took: Duration,
}

/// What came of a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tried {
    /// This found it.
    Found(String),
    /// Nothing did.
    Missed,
    /// It could not be tried.
    Failed(String),
}

/// Tries `mistake`. `itself` is the program whose command `search NAME` calls [`search`]; `test` is the binary of the
/// test that finds it, if it is one.
pub fn try_one(mistake: &Mistake, itself: &Path, test: Option<&Path>) -> Trial {
    let began = Instant::now();
    let mut command = Command::new("timeout");
    command.arg(TIMEOUT_SECONDS);
    match (&mistake.caught, test) {
        (Caught::Test { test, .. }, Some(binary)) => command.arg(binary).args(["--exact", test]),
        _ => command.arg(itself).args(["search", &mistake.name]),
    };
    command.env(VARIABLE, &mistake.name).env("RUST_BACKTRACE", "0").stderr(Stdio::null());
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return Trial { tried: Tried::Failed(error.to_string()), took: began.elapsed() },
    };
    let took = began.elapsed();
    let text = String::from_utf8_lossy(&output.stdout);
    let tried = match &mistake.caught {
        _ if took > TIME_MAX => Tried::Missed,
        Caught::Test { test, .. } => {
            let has_failed = text.lines().any(|line| line.starts_with(&format!("test {test} ... FAILED")));
            if has_failed { Tried::Found(test.clone()) } else { Tried::Missed }
        }
        _ if output.status.success() => Tried::Found(text.trim().to_owned()),
        _ => Tried::Missed,
    };
    Trial { tried, took }
}

/// Runs `seed`, and if it does not break `law` the seeds from 0 on, on so many threads, for up to [`TIME_MAX`]. Gives the
/// seed that did, and what it said.
pub fn search(simulation: Simulation, seed: u64, law: &str, threads: usize) -> Option<(u64, String)> {
    let breaks = |seed| simulation.run(seed).filter(|told| law_of(told) == law);
    if let Some(told) = breaks(seed) {
        return Some((seed, told));
    }
    let (began, next) = (Instant::now(), AtomicU64::new(0));
    let (is_over, found) = (AtomicBool::new(false), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) && began.elapsed() < TIME_MAX {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if let Some(told) = breaks(seed) {
                        is_over.store(true, Ordering::Relaxed);
                        found.lock().get_or_insert((seed, told));
                    }
                }
            });
        }
    });
    found.into_inner()
}
