//! Workers of a simulation.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::threads::run_caught;
use super::{Job, Stopped, Workers};
use crate::rng::Rng;

/// What a [`SimWorkers`] acts out.
#[derive(Clone, Copy, Debug)]
pub struct SimWorkersConfig {
    /// How many jobs of different keys may be under way at a time.
    pub threads: NonZeroUsize,
    /// A job takes a time drawn evenly from zero to this, in virtual time and before it runs. Zero: it only gives
    /// other tasks a turn.
    pub job_time_max: Duration,
}

/// A [`Workers`] without threads: jobs run as tasks of the tokio runtime `submit` is called in, which has to be a
/// current-thread one for the order to be reproducible. Which key goes next, and how long its job takes, is drawn
/// from the [`Rng`] given: one seed, one order.
///
/// One per start of a simulated host: when the host's runtime is dropped, what it had not run yet never runs, like
/// the work of a killed process.
pub struct SimWorkers {
    state: Arc<Mutex<State>>,
    config: SimWorkersConfig,
}

struct State {
    rng: Arc<dyn Rng>,
    /// Jobs that have not begun to run. Invariant: no queue is empty.
    queues: BTreeMap<u64, VecDeque<Job>>,
    /// Keys with a runner. Invariant: at most one runner for each.
    busy: BTreeSet<u64>,
    /// Invariant: if a key has a queue and no runner of its own, some runner is alive and looks again.
    runners: usize,
    running: usize,
    panics: u64,
    stopped: bool,
}

impl SimWorkers {
    /// Workers that draw from `rng`, which should be a stream of their own.
    pub fn new(rng: Arc<dyn Rng>, config: SimWorkersConfig) -> Self {
        let state = State {
            rng,
            queues: BTreeMap::new(),
            busy: BTreeSet::new(),
            runners: 0,
            running: 0,
            panics: 0,
            stopped: false,
        };
        Self { state: Arc::new(Mutex::new(state)), config }
    }

    /// Jobs that ended in a panic.
    pub fn panics(&self) -> u64 {
        self.state.lock().panics
    }
}

impl fmt::Debug for SimWorkers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimWorkers")
            .field("config", &self.config)
            .field("depth", &self.depth())
            .finish_non_exhaustive()
    }
}

impl Workers for SimWorkers {
    /// # Panics
    /// Outside a tokio runtime: there is no simulation to run the job in.
    fn submit(&self, key: u64, job: Job) -> Result<(), Stopped> {
        let mut state = self.state.lock();
        if state.stopped {
            return Err(Stopped);
        }
        state.queues.entry(key).or_default().push_back(job);
        if state.runners < self.config.threads.get() {
            state.runners += 1;
            let runner = Runner { state: Arc::clone(&self.state), key: None };
            Handle::current().spawn(runner.run(self.config.job_time_max));
        }
        Ok(())
    }

    fn depth(&self) -> usize {
        let state = self.state.lock();
        state.running + state.queues.values().map(VecDeque::len).sum::<usize>()
    }

    /// Runs what is queued on the calling thread, the order between keys drawn as ever, without letting time pass.
    fn stop(&self) {
        self.state.lock().stopped = true;
        while let Some(job) = take_any(&self.state) {
            run_counted(&self.state, job);
        }
    }
}

/// One simulated thread. It ends when no key is left that waits for one.
struct Runner {
    state: Arc<Mutex<State>>,
    /// The key it holds busy.
    key: Option<u64>,
}

impl Runner {
    async fn run(mut self, job_time_max: Duration) {
        while let Some((key, job_time)) = self.choose(job_time_max) {
            if job_time.is_zero() {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(job_time).await;
            }
            // The job stayed in the queue meanwhile, so that `stop` finds it there: it may be gone by now.
            let job = self.state.lock().pop(key);
            if let Some(job) = job {
                run_counted(&self.state, job);
            }
            self.release();
        }
    }

    fn choose(&mut self, job_time_max: Duration) -> Option<(u64, Duration)> {
        let mut state = self.state.lock();
        let waiting: Vec<u64> =
            state.queues.keys().copied().filter(|key| !state.busy.contains(key)).collect();
        if waiting.is_empty() {
            return None;
        }
        let key = waiting[below(&*state.rng, waiting.len())];
        let nanos = u64::try_from(job_time_max.as_nanos()).unwrap_or(u64::MAX);
        let job_time = if nanos == 0 { 0 } else { state.rng.below(nanos.saturating_add(1)) };
        state.busy.insert(key);
        self.key = Some(key);
        Some((key, Duration::from_nanos(job_time)))
    }

    fn release(&mut self) {
        if let Some(key) = self.key.take() {
            self.state.lock().busy.remove(&key);
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // Also on the way of a runtime that is dropped with the runner asleep.
        self.release();
        self.state.lock().runners -= 1;
    }
}

impl State {
    fn pop(&mut self, key: u64) -> Option<Job> {
        let queue = self.queues.get_mut(&key)?;
        let job = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&key);
        }
        job
    }
}

fn take_any(state: &Mutex<State>) -> Option<Job> {
    let mut state = state.lock();
    let keys: Vec<u64> = state.queues.keys().copied().collect();
    if keys.is_empty() {
        return None;
    }
    let key = keys[below(&*state.rng, keys.len())];
    state.pop(key)
}

/// Runs without the lock: a job may submit another one.
fn run_counted(state: &Mutex<State>, job: Job) {
    state.lock().running += 1;
    let fine = run_caught(job);
    let mut state = state.lock();
    state.running -= 1;
    state.panics += u64::from(!fine);
}

fn below(rng: &dyn Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("a number below a usize")
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;
    use crate::rng::SeededRng;

    fn pool(seed: u64, threads: usize, job_time_max: Duration) -> SimWorkers {
        let config = SimWorkersConfig { threads: NonZeroUsize::new(threads).unwrap(), job_time_max };
        SimWorkers::new(Arc::new(SeededRng::new(seed)), config)
    }

    fn in_simulation<T>(run: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(run)
    }

    /// The order in which the jobs of eight keys, five each, run; and the virtual time it took.
    fn order(seed: u64, threads: usize, job_time_max: Duration) -> (Vec<(u64, u32)>, Duration) {
        in_simulation(async {
            let begin = tokio::time::Instant::now();
            let pool = pool(seed, threads, job_time_max);
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            for number in 0..5 {
                for key in 0..8 {
                    let sender = sender.clone();
                    pool.submit(key, Box::new(move || sender.send((key, number)).unwrap())).unwrap();
                }
            }
            drop(sender);
            let mut order = Vec::new();
            while let Some(ran) = receiver.recv().await {
                order.push(ran);
            }
            (order, begin.elapsed())
        })
    }

    #[test]
    fn the_simulation_conforms_with_and_without_time() {
        for (threads, millis) in [(1, 0), (4, 0), (1, 3), (4, 3)] {
            in_simulation(conformance::check(|| Arc::new(pool(1, threads, Duration::from_millis(millis)))));
        }
    }

    #[test]
    fn one_seed_gives_one_order_and_another_seed_another() {
        for millis in [0, 5] {
            let time = Duration::from_millis(millis);
            assert_eq!(order(7, 4, time), order(7, 4, time));
            assert_ne!(order(7, 4, time), order(8, 4, time));
        }
    }

    #[test]
    fn jobs_take_virtual_time_and_more_threads_less_of_it() {
        assert_eq!(order(7, 4, Duration::ZERO).1, Duration::ZERO);
        let (one, four) = (order(7, 1, Duration::from_secs(1)).1, order(7, 4, Duration::from_secs(1)).1);
        assert!(one > Duration::from_secs(10) && four < one / 2, "{one:?} {four:?}");
    }

    #[test]
    fn jobs_of_one_key_take_their_time_one_after_the_other() {
        let took = |key_of: fn(u64) -> u64| {
            in_simulation(async move {
                let begin = tokio::time::Instant::now();
                let pool = pool(7, 20, Duration::from_secs(1));
                let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
                for number in 0..20 {
                    let sender = sender.clone();
                    pool.submit(key_of(number), Box::new(move || sender.send(()).unwrap())).unwrap();
                }
                drop(sender);
                while receiver.recv().await.is_some() {}
                begin.elapsed()
            })
        };
        let (one_key, many_keys) = (took(|_| 0), took(|number| number));
        assert!(one_key > Duration::from_secs(5), "{one_key:?}");
        assert!(many_keys <= Duration::from_millis(1_001), "{many_keys:?}");
    }

    #[test]
    fn a_dropped_runtime_takes_its_jobs_along() {
        let pool = pool(7, 2, Duration::from_secs(1));
        let ran = Arc::new(Mutex::new(0));
        in_simulation(async {
            for key in 0..10 {
                let ran = Arc::clone(&ran);
                pool.submit(key, Box::new(move || *ran.lock() += 1)).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        });
        let state = pool.state.lock();
        assert_eq!((state.runners, state.busy.len()), (0, 0));
        assert!(*ran.lock() < 10);
    }
}
