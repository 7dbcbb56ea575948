//! One run, from its seed to its verdict.

use std::time::Duration;

use super::client::Clients;
use super::nemesis::{LATENCY_MAX, Nemesis, add_hosts};
use super::report::{Failure, Outcome, Report};
use super::schedule::Schedule;
use super::settle::Settle;
use super::watch::Watch;
use super::world::{Shared, World, history};
use crate::checker::{Limits, Verdict, check};
use crate::sim::{Setup, Trace, hosts};

/// Turmoil's step: the resolution of time.
const TICK: Duration = Duration::from_millis(1);
/// Between two looks at the invariants.
const LOOK: Duration = Duration::from_millis(25);
/// After the faults: for everything to be well again.
const PATIENCE: Duration = Duration::from_secs(240);

/// What a run is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long faults happen.
    pub faults_for: Duration,
    /// User groups.
    pub groups: u16,
    /// Operations of all clients together.
    pub operations: u64,
    /// These faults instead of those that the seed draws.
    pub schedule: Option<Schedule>,
}

impl Default for Options {
    /// What a seed is: 60 simulated seconds of faults, 4 groups, 1,000 operations.
    fn default() -> Self {
        Self { faults_for: Duration::from_secs(60), groups: 4, operations: 1_000, schedule: None }
    }
}

/// Runs `seed`.
///
/// # Errors
/// What was wrong.
pub fn run(seed: u64, options: &Options) -> Outcome<Report> {
    Run::new(seed, options).whole()
}

struct Run<'a> {
    seed: u64,
    options: &'a Options,
    schedule: Schedule,
    shared: Shared,
    trace: Trace,
    watch: Watch,
    nemesis: Nemesis,
    next_look: Duration,
}

impl<'a> Run<'a> {
    fn new(seed: u64, options: &'a Options) -> Self {
        let setup = Setup {
            groups: options.groups,
            snapshot_entries: 40,
            consistency_interval: Duration::from_secs(7),
        };
        let trace = Trace::default();
        // All clients together, three and four of each: they are to work for as long as there are faults.
        let pause_max =
            options.faults_for * 60 / u32::try_from(options.operations.max(1)).unwrap_or(u32::MAX);
        let clients = Clients::new(seed, options.groups, options.operations, pause_max);
        let shared = World::new(hosts(seed, setup, &trace), clients);
        let draw = || Schedule::draw(seed, options.faults_for, options.groups);
        let schedule = options.schedule.clone().unwrap_or_else(draw);
        let nemesis = Nemesis::new(shared.clone(), trace.clone(), schedule.clone());
        let (watch, next_look) = (Watch::default(), Duration::ZERO);
        Self { seed, options, schedule, shared, trace, watch, nemesis, next_look }
    }

    fn whole(mut self) -> Outcome<Report> {
        let mut sim = turmoil::Builder::new()
            .rng_seed(self.seed)
            .simulation_duration(self.options.faults_for + PATIENCE + Duration::from_secs(1))
            .tick_duration(TICK)
            .min_message_latency(Duration::from_micros(200))
            .max_message_latency(LATENCY_MAX)
            .tcp_capacity(4_096)
            .build();
        add_hosts(&mut sim, &self.shared, &self.trace);
        while sim.elapsed() < self.options.faults_for {
            self.nemesis.step(&mut sim);
            self.step(&mut sim)?;
        }
        self.nemesis.heal(&mut sim);
        let mut settle = Settle::new(self.options.groups);
        let deadline = sim.elapsed() + PATIENCE;
        while !settle.step(&mut sim, &mut self.nemesis, &self.shared) {
            if sim.elapsed() > deadline {
                let what = format!("liveness: not well within {PATIENCE:?}: {}", settle.waits_for);
                return self.failed(vec![what], sim.elapsed());
            }
            self.step(&mut sim)?;
        }
        let simulated = sim.elapsed();
        drop(sim);
        self.judge(simulated)
    }

    /// One tick.
    fn step(&mut self, sim: &mut turmoil::Sim<'_>) -> Outcome<()> {
        if let Some(refused) = self.shared.lock().hosts.iter().find_map(|slot| slot.refused.clone()) {
            return self.failed(vec![format!("a node did not start: {refused}")], sim.elapsed());
        }
        if let Err(error) = sim.step() {
            return self.failed(vec![format!("a host ended: {error}")], sim.elapsed());
        }
        if sim.elapsed() < self.next_look {
            return Ok(());
        }
        self.next_look = sim.elapsed() + LOOK;
        self.nemesis.look();
        let mut wrong = self.watch.look(&self.shared.lock(), self.nemesis.has_rot);
        wrong.append(&mut self.shared.lock().violations);
        if wrong.is_empty() { Ok(()) } else { self.failed(wrong, sim.elapsed()) }
    }

    fn judge(mut self, simulated: Duration) -> Outcome<Report> {
        let history = history(&self.shared);
        let judged = match check(&history, &Limits::default()) {
            Ok(judged) => judged,
            Err(error) => return self.failed(vec![format!("no history: {error}")], simulated),
        };
        match &judged.verdict {
            Verdict::Linearizable => {}
            Verdict::Violation(violation) => {
                return self.failed(vec![format!("linearizability: {violation}")], simulated);
            }
            Verdict::Undecided { key, why } => {
                return self.failed(vec![format!("linearizability of {key:?}: {why}")], simulated);
            }
        }
        self.watch.finish();
        for line in history.to_lines() {
            self.trace.record_at(simulated, line);
        }
        let world = self.shared.lock();
        Ok(Report {
            simulated,
            acknowledged: world.clients.acknowledged,
            judged: (judged.operations, judged.open_ended),
            timestamps: world.clients.timestamps.given,
            fired: self.nemesis.fired,
            gate_rows: self.watch.gate_rows,
            totals: self.watch.totals,
            trace: self.trace.sum(),
        })
    }

    fn failed<T>(&self, what: Vec<String>, simulated: Duration) -> Outcome<T> {
        Err(Box::new(Failure { seed: self.seed, what, schedule: self.schedule.clone(), simulated }))
    }
}
