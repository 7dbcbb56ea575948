//! How often seeds find a mistake, and by which law: what the table's seeds are chosen from.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::Simulation;
use super::simulation::law_of;

/// The seeds that broke one law.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surveyed {
    /// Ascending.
    pub seeds: Vec<u64>,
    /// What the first of them said.
    pub told: String,
}

/// Runs the seeds below `seeds`, on so many threads; by law.
pub fn survey(simulation: Simulation, seeds: u64, threads: usize) -> BTreeMap<String, Surveyed> {
    let (next, found) = (AtomicU64::new(0), Mutex::new(BTreeMap::<String, Surveyed>::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            if let Some(told) = simulation.run(seed) {
                let mut found = found.lock();
                let surveyed = found.entry(law_of(&told).to_owned()).or_default();
                if surveyed.seeds.iter().all(|earlier| *earlier > seed) {
                    surveyed.told = told;
                }
                surveyed.seeds.push(seed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut found = found.into_inner();
    for surveyed in found.values_mut() {
        surveyed.seeds.sort_unstable();
    }
    found
}
