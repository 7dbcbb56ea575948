//! Rot in a large instance: real files, lsm-tree's and sled's among them, in real time.
//!
//! Two nodes run for all cases. The third gets its files back as they were at its clean stop, one of them is damaged, and
//! it is started: every key is read there, values and snapshots are scanned, and the digests compared with those of the
//! others. What of its own accord nobody noticed is given to verification.

mod check;
mod draw;
mod files;
mod history;
mod instance;
mod node;
mod report;
mod seen;
mod settle;
mod silent;
mod trial;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quorate::{GroupId, NodeId};

pub use instance::{Instance, Settings};
pub use report::{LargeReport, Means, Tried};

use self::instance::DAMAGED;
use self::trial::Lab;
use super::damage::Damage;
use super::panics;
use super::place::{FileKind, Place};
use super::run::Report;

/// No case takes longer, unless it hangs.
const CASE_MAX: Duration = Duration::from_secs(120);
/// Where the sources of the stores' libraries are: they may panic over bytes that have rotten, if somebody catches it.
const LIBRARIES: [&str; 2] = ["/sled-0.34", "/lsm-tree-3"];

/// Why no case could be tried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine failed where nothing was damaged.
    #[error(transparent)]
    Engine(#[from] quorate::Error),
    /// The file system did.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// No more threads.
    #[error(transparent)]
    Threads(#[from] quorate_telemetry::workers::SpawnError),
    /// A replica did not catch up.
    #[error("{group} on {node} does not catch up")]
    Behind {
        /// The node.
        node: NodeId,
        /// The group.
        group: GroupId,
    },
    /// The directory is of another instance.
    #[error("the directory has another instance: {found}")]
    Other {
        /// Its settings.
        found: String,
    },
    /// Something is found without any damage.
    #[error("the control case fails: {what}")]
    Control {
        /// What.
        what: String,
    },
    /// The test itself panicked.
    #[error("the test panicked")]
    Panicked,
    /// Somebody has written to files that are never written to again.
    #[error("files that are kept have changed")]
    KeptChanged,
}

/// Hears of a case: how many there were before, its name, and what it came to.
pub type Told<'a> = dyn FnMut(usize, &str, &Result<Tried, String>) + Send + 'a;

/// `count` cases, as `seed` draws them: a place and what is done to it.
pub fn draw_cases(instance: &Instance, count: usize, seed: u64) -> Vec<(Place, Damage)> {
    draw::draw(&instance.files, DAMAGED, count, seed)
}

/// Tries `cases` in `labs` clusters side by side: mostly, a case waits for nodes that find each other again. `told` hears of
/// each.
///
/// # Errors
/// They could not be tried. A violation is none.
pub fn run(
    instance: &Instance,
    cases: &[(Place, Damage)],
    labs: NonZeroUsize,
    told: &mut Told<'_>,
) -> Result<LargeReport, Error> {
    let began = Instant::now();
    let kept = files::fingerprint(&instance.kept(DAMAGED))?;
    panics::watch_threads();
    let large = LargeReport {
        report: Report { threads: labs.get(), seed: instance.settings.seed, ..Report::default() },
        store: instance.settings.store.name(),
        replica_bytes: instance.files.iter().map(|(_, bytes)| bytes).sum(),
        ..LargeReport::default()
    };
    let tally = Mutex::new((large, told));
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let work = |number| {
            let take = || {
                let at = next.fetch_add(1, Ordering::Relaxed);
                cases.get(at).map(|(place, damage)| (place, *damage))
            };
            let tally = &tally;
            scope.spawn(move || on_runtime(number, try_all((instance, number), take, tally)))
        };
        let labs: Vec<_> = (0..labs.get()).map(work).collect();
        let join = |lab: ScopedJoinHandle<'_, _>| lab.join().unwrap_or(Err(Error::Panicked));
        labs.into_iter().map(join).collect::<Result<Vec<()>, _>>()
    })?;
    if files::fingerprint(&instance.kept(DAMAGED))? != kept {
        return Err(Error::KeptChanged);
    }
    let (mut large, _) = tally.into_inner();
    large.report.seconds = began.elapsed().as_secs_f64();
    Ok(large)
}

/// The report so far, and who hears of each case.
type Tally<'a, 'b> = Mutex<(LargeReport, &'a mut Told<'b>)>;

async fn try_all<'a>(
    (instance, number): (&Instance, usize),
    take: impl Fn() -> Option<(&'a Place, Damage)>,
    tally: &Tally<'_, '_>,
) -> Result<(), Error> {
    let mut lab = Lab::start(instance, number).await?;
    while let Some((place, damage)) = take() {
        let name = format!("{place}:{damage}");
        instance.note_case(number, &name)?;
        drop(panics::take_of_threads(&node::threads(number)));
        let timed = tokio::time::timeout(CASE_MAX, lab.try_case(place, damage)).await;
        let tried = timed.unwrap_or_else(|_late| Err("it does not end".to_owned()));
        let (caught, tried) = judge_panics(number, tried);
        if tried.is_err() {
            lab.reset().await?;
        }
        let (large, told) = &mut *tally.lock();
        large.caught_panics += caught;
        let kind = FileKind::of(&place.file).map_or("other", FileKind::name);
        if let Ok(Tried { means: Some(means), .. }) = &tried {
            *large.found.entry(kind).or_default().entry(*means).or_default() += 1;
        }
        told(usize::try_from(large.report.cases).unwrap_or(usize::MAX), &name, &tried);
        large.report.add((kind, damage.kind()), &name, tried.map(|tried| tried.outcome));
    }
    lab.stop().await
}

/// Panics of a lab's threads: those of a store's library are counted, all others are violations.
fn judge_panics(number: usize, tried: Result<Tried, String>) -> (u64, Result<Tried, String>) {
    let panics = panics::take_of_threads(&node::threads(number));
    let is_library = |panic: &&String| LIBRARIES.iter().any(|library| panic.contains(library));
    let (libraries, ours): (Vec<_>, Vec<_>) = panics.iter().partition(is_library);
    let tried = match ours.first() {
        Some(first) => Err(format!("{} panics, the first: {first}", ours.len())),
        None => tried,
    };
    (libraries.len() as u64, tried)
}

/// Runs the work of lab `number` on threads of its own.
fn on_runtime<T>(number: usize, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().thread_name(format!("{}tokio", node::threads(number)));
    builder.build()?.block_on(work)
}
