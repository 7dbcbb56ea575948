//! Many cases, on several threads, and the table of what they came to.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

use super::attempt::{Depth, attempt};
use super::case::Case;
use super::image::Image;
use super::place::FileKind;
use super::verdict::Outcome;

/// Violations that are told; more are only counted.
const VIOLATIONS_MAX: usize = 100;
/// In a run of very many cases, only one in so many puts new replicas in the place of broken ones.
const REPAIRED_EVERY: usize = 16;

/// How many cases of one kind came to what.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// By outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Cases that changed nothing: zeros over zeros, and the like.
    pub unchanged: u64,
    /// Cases that came to what must never be.
    pub violations: u64,
}

/// What must never happen, and did.
#[derive(Clone, Debug, Serialize)]
pub struct Violation {
    /// The case: `corruption case NAME` tries it again.
    pub case: String,
    /// What is wrong.
    pub what: String,
}

/// What a run came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Cases.
    pub cases: u64,
    /// By kind of file and kind of damage.
    #[serde(serialize_with = "by_name")]
    pub rows: BTreeMap<(&'static str, &'static str), Row>,
    /// The first ones.
    pub violations: Vec<Violation>,
    /// How long it took.
    pub seconds: f64,
    /// On so many threads.
    pub threads: usize,
    /// Decides what nodes draw.
    pub seed: u64,
}

/// Tries `cases`, each on the image it is of; `seed` decides what its nodes draw. With `progress`, tells now and then
/// how far it is.
pub fn run(
    images: &[Image],
    cases: &[Case],
    depth: Depth,
    seed: u64,
    progress: &mut dyn FnMut(usize),
) -> Report {
    let began = Instant::now();
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let report = Mutex::new(Report { threads, seed, ..Report::default() });
    thread::scope(|scope| {
        let work = || {
            while let Some((at, case)) = take(&next, cases) {
                let depth = if at.is_multiple_of(REPAIRED_EVERY) { Depth::Repaired } else { depth };
                let image = images.iter().find(|image| image.end == case.end);
                let tried =
                    image.map_or(Err("no such image".to_owned()), |image| attempt(image, case, depth, seed));
                report.lock().add(label(case), &case.to_string(), tried.map(|tried| tried.outcome));
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            progress(next.load(Ordering::Relaxed).min(cases.len()));
            thread::sleep(Duration::from_millis(200));
        }
    });
    let mut report = report.into_inner();
    report.seconds = began.elapsed().as_secs_f64();
    report.violations.sort_by(|one, other| one.case.cmp(&other.case));
    report
}

fn take<'a>(next: &AtomicUsize, cases: &'a [Case]) -> Option<(usize, &'a Case)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    cases.get(at).map(|case| (at, case))
}

impl Report {
    /// Violations, told or not.
    pub fn violation_count(&self) -> u64 {
        self.rows.values().map(|row| row.violations).sum()
    }

    /// Cases with this outcome.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.rows.values().filter_map(|row| row.outcomes.get(&outcome)).sum()
    }

    /// One more case, of this kind of file and of damage.
    pub(super) fn add(
        &mut self,
        label: (&'static str, &'static str),
        case: &str,
        tried: Result<Option<Outcome>, String>,
    ) {
        self.cases += 1;
        let row = self.rows.entry(label).or_default();
        match tried {
            Ok(Some(outcome)) => *row.outcomes.entry(outcome).or_default() += 1,
            Ok(None) => row.unchanged += 1,
            Err(what) => {
                row.violations += 1;
                if self.violations.len() < VIOLATIONS_MAX {
                    self.violations.push(Violation { case: case.to_owned(), what });
                }
            }
        }
    }
}

/// Kind of file, kind of damage.
fn label(case: &Case) -> (&'static str, &'static str) {
    let kind = |path: &Path| FileKind::of(path).map_or("other", FileKind::name);
    match case.damages.as_slice() {
        [] => ("none", "control"),
        [(place, damage)] => (kind(&place.file), damage.kind()),
        [(place, _), ..] => (kind(&place.file), "helical"),
    }
}

fn by_name<S: serde::Serializer>(
    rows: &BTreeMap<(&'static str, &'static str), Row>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(rows.iter().map(|((file, damage), row)| (format!("{file} {damage}"), row)))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<10} {:<9}", "file", "damage")?;
        for outcome in Outcome::ALL {
            write!(f, " {:>11}", outcome.name())?;
        }
        writeln!(f, " {:>9} {:>10}", "unchanged", "violations")?;
        for ((file, damage), row) in &self.rows {
            write!(f, "{file:<10} {damage:<9}")?;
            for outcome in Outcome::ALL {
                write!(f, " {:>11}", row.outcomes.get(&outcome).copied().unwrap_or(0))?;
            }
            writeln!(f, " {:>9} {:>10}", row.unchanged, row.violations)?;
        }
        for Violation { case, what } in &self.violations {
            writeln!(f, "VIOLATION {case}: {what}")?;
        }
        write!(
            f,
            "cases={} violations={} seconds={:.1} threads={} seed={}",
            self.cases,
            self.violation_count(),
            self.seconds,
            self.threads,
            self.seed
        )
    }
}
