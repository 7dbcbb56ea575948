//! What every [`Workers`] promises, as a suite that any implementation can be put through.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::{Stopped, Workers};

const KEYS: u64 = 7;
const JOBS_PER_KEY: u32 = 40;

/// Runs the whole suite; `make` gives a fresh pool for each claim. To be awaited inside a tokio runtime.
///
/// # Panics
/// When a claim does not hold, naming it.
pub async fn check<W: Workers>(make: impl Fn() -> Arc<W>) {
    jobs_of_one_key_run_one_at_a_time_and_in_order(&*make()).await;
    a_panic_is_caught_and_its_completion_dropped(&*make()).await;
    a_job_may_submit_another(make()).await;
    stopping_runs_what_was_accepted_and_refuses_the_rest(&*make()).await;
}

async fn jobs_of_one_key_run_one_at_a_time_and_in_order(pool: &dyn Workers) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let inside: Vec<_> = (0..KEYS).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    for number in 0..JOBS_PER_KEY {
        for (key, inside) in (0..KEYS).zip(&inside) {
            let (sender, inside) = (sender.clone(), Arc::clone(inside));
            let job = move || {
                let others = inside.fetch_add(1, Ordering::SeqCst);
                let _ = sender.send((key, number, others));
                inside.fetch_sub(1, Ordering::SeqCst);
            };
            assert_eq!(pool.submit(key, Box::new(job)), Ok(()), "a running pool accepts jobs");
        }
    }
    drop(sender);
    let mut expected = vec![0; usize::try_from(KEYS).expect("a small number")];
    while let Some((key, number, others)) = receiver.recv().await {
        let next = &mut expected[usize::try_from(key).expect("a small number")];
        assert_eq!(number, *next, "jobs of key {key} run in the order of submission");
        assert_eq!(others, 0, "jobs of key {key} run one at a time");
        *next += 1;
    }
    assert!(expected.iter().all(|&ran| ran == JOBS_PER_KEY), "every job runs once: {expected:?}");
    pool.stop();
    assert_eq!(pool.depth(), 0, "nothing is left in a stopped pool");
}

async fn a_panic_is_caught_and_its_completion_dropped(pool: &dyn Workers) {
    let (broken, completion) = oneshot::channel::<()>();
    let job = move || {
        let _broken = broken;
        panic!("planted by the conformance suite");
    };
    assert_eq!(pool.submit(1, Box::new(job)), Ok(()));
    let (sender, receiver) = oneshot::channel();
    assert_eq!(pool.submit(1, Box::new(move || _ = sender.send(()))), Ok(()));
    assert!(completion.await.is_err(), "who submitted a job that panicked sees its channel dropped");
    assert_eq!(receiver.await, Ok(()), "the next job of the same key runs");
    pool.stop();
}

async fn a_job_may_submit_another<W: Workers>(pool: Arc<W>) {
    let (sender, receiver) = oneshot::channel();
    let own = Arc::clone(&pool);
    let outer = move || {
        let inner = Box::new(move || _ = sender.send(()));
        assert_eq!(own.submit(1, inner), Ok(()), "a job may submit to its own key");
    };
    assert_eq!(pool.submit(1, Box::new(outer)), Ok(()));
    assert_eq!(receiver.await, Ok(()), "a job that a job submitted runs");
    pool.stop();
}

async fn stopping_runs_what_was_accepted_and_refuses_the_rest(pool: &dyn Workers) {
    let ran = Arc::new(AtomicUsize::new(0));
    for key in 0..100 {
        let ran = Arc::clone(&ran);
        let job = move || {
            ran.fetch_add(1, Ordering::SeqCst);
        };
        assert_eq!(pool.submit(key, Box::new(job)), Ok(()));
    }
    pool.stop();
    assert_eq!(ran.load(Ordering::SeqCst), 100, "stop returns when every accepted job has run");
    let (sender, receiver) = oneshot::channel::<()>();
    let refused = pool.submit(1, Box::new(move || drop(sender)));
    assert_eq!(refused, Err(Stopped), "a stopped pool refuses");
    assert!(receiver.await.is_err(), "a refused job is dropped");
    pool.stop();
}
