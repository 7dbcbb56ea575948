//! Many cuts, over all stores and file systems.

use std::path::Path;

use quorate::StoreKind;
use quorate_telemetry::Rng as _;
use quorate_telemetry::rng::SeededRng;

use super::cycle::{Children, Truth, cycle};
use super::volume::{Kind, Volume};
use super::{Error, io};

/// Acknowledged writes before a cut: at least.
const ACKS_MIN: u64 = 100;
/// And at most so many more.
const ACKS_SPREAD: u64 = 400;

/// What to do.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// Cuts for each store on each file system.
    #[arg(long, default_value_t = 2)]
    pub cycles: u32,
    /// Cuts until the file system is made anew.
    #[arg(long, default_value_t = 20)]
    pub per_volume: u32,
    /// Stores: lsm, sled, memory.
    #[arg(long, value_delimiter = ',', default_value = "lsm,sled,memory")]
    pub stores: Vec<StoreKind>,
    /// Seed of the moments of the cuts.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Ignore syncs of the log: there must be losses then.
    #[arg(long)]
    pub lying_log: bool,
}

/// What came of one store on one file system.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The store.
    pub store: StoreKind,
    /// The file system.
    pub filesystem: &'static str,
    /// Cuts made.
    pub cycles: u32,
    /// Cuts after which the boot id was another one.
    pub rebooted: u32,
    /// Writes acknowledged before the cuts.
    pub acknowledged: usize,
    /// Lost or damaged values, and starts that failed.
    pub violations: Vec<String>,
}

/// Runs the plan in `dir`, telling `progress` each outcome as it is known. Needs root.
///
/// # Errors
/// The system refuses to make, mount or cut file systems.
pub fn run(plan: &Plan, dir: &Path, mut progress: impl FnMut(&Outcome)) -> Result<Vec<Outcome>, Error> {
    let rng = SeededRng::new(plan.seed);
    let mut outcomes = Vec::new();
    for &store in &plan.stores {
        for kind in [Kind::Ext4, Kind::Xfs] {
            let outcome = cuts(plan, dir, store, kind, &rng)?;
            progress(&outcome);
            outcomes.push(outcome);
        }
    }
    Ok(outcomes)
}

fn cuts(plan: &Plan, dir: &Path, store: StoreKind, kind: Kind, rng: &SeededRng) -> Result<Outcome, Error> {
    let boot_id = dir.join("boot-id");
    let children = Children { store, boot_id: &boot_id, lying_log: plan.lying_log };
    let mut outcome = Outcome {
        store,
        filesystem: kind.name(),
        cycles: 0,
        rebooted: 0,
        acknowledged: 0,
        violations: Vec::new(),
    };
    while outcome.cycles < plan.cycles {
        let mut volume = Volume::make(dir, kind)?;
        let mut truth = Truth::default();
        new_boot_id(&boot_id, rng)?;
        for _ in 0..plan.per_volume.min(plan.cycles - outcome.cycles) {
            let acks = usize::try_from(ACKS_MIN + rng.below(ACKS_SPREAD)).expect("fits");
            // Every other cut takes the machine with it, the others only the file system.
            let reboots = outcome.cycles.is_multiple_of(2);
            let done = cycle(&mut volume, &children, &mut truth, acks, || {
                if reboots { new_boot_id(&boot_id, rng) } else { Ok(()) }
            })?;
            outcome.cycles += 1;
            outcome.rebooted += u32::from(reboots);
            outcome.acknowledged += done.acknowledged;
            let has_failed = !done.violations.is_empty();
            outcome.violations.extend(done.violations);
            if has_failed {
                // What follows on a broken directory says nothing.
                break;
            }
        }
        volume.unmount()?;
    }
    Ok(outcome)
}

fn new_boot_id(path: &Path, rng: &SeededRng) -> Result<(), Error> {
    let text = format!("{:016x}{:016x}\n", rng.next_u64(), rng.next_u64());
    std::fs::write(path, text).map_err(io("cannot write the boot id"))
}
