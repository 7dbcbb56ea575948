//! What the kernel does under a cut, without the engine: blocks appended to reserved room, each synced once or twice
//! before it counts. Shows why the log syncs twice there (`docs/decisions/0007-sync-twice-in-new-room.md`).

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use quorate_telemetry::Rng as _;
use quorate_telemetry::rng::SeededRng;
use rustix::fs::{FallocateFlags, fallocate};

use super::volume::{Kind, Volume};
use super::{Error, io};

/// Bytes of one block, as of a batch too large for zeroed room.
const BLOCK_BYTES: usize = 64 << 10;
/// Blocks there is room for; a cut comes long before.
const BLOCKS: u64 = 4096;
/// Blocks before a cut: at least one, and fewer than so many more.
const BLOCKS_BEFORE_CUT: u64 = 20;

/// What to do.
#[derive(Clone, Debug, clap::Args)]
pub struct KernelPlan {
    /// Cuts for each file system.
    #[arg(long, default_value_t = 30)]
    pub cycles: u32,
    /// Syncs after each block: with one there are losses, with two there are none.
    #[arg(long, default_value_t = 1)]
    pub syncs: u32,
    /// Seed of the moments of the cuts.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// What the appending child is told.
#[derive(Clone, Debug, clap::Args)]
pub struct AppendArgs {
    /// The file to make.
    #[arg(long)]
    pub file: PathBuf,
    /// Syncs after each block.
    #[arg(long)]
    pub syncs: u32,
}

/// What came of one file system.
#[derive(Clone, Debug)]
pub struct KernelOutcome {
    /// The file system.
    pub filesystem: &'static str,
    /// Blocks whose last sync returned success.
    pub synced: u64,
    /// Those of them that were gone after the cut.
    pub lost: u64,
}

/// Runs the plan in `dir`. Needs root.
///
/// # Errors
/// The system refuses to make, mount or cut file systems.
pub fn kernel(plan: &KernelPlan, dir: &Path) -> Result<Vec<KernelOutcome>, Error> {
    let rng = SeededRng::new(plan.seed);
    let outcome = |kind: Kind| {
        let mut outcome = KernelOutcome { filesystem: kind.name(), synced: 0, lost: 0 };
        for _ in 0..plan.cycles {
            let blocks = 1 + rng.below(BLOCKS_BEFORE_CUT);
            let (synced, lost) = cut(plan, dir, kind, blocks)?;
            outcome.synced += synced;
            outcome.lost += lost;
        }
        Ok(outcome)
    };
    [Kind::Ext4, Kind::Xfs].map(outcome).into_iter().collect()
}

/// Blocks that were synced, and those of them that are not there after the cut.
fn cut(plan: &KernelPlan, dir: &Path, kind: Kind, blocks: u64) -> Result<(u64, u64), Error> {
    let mut volume = Volume::make(dir, kind)?;
    let file = volume.path().join("blocks");
    let own = std::env::current_exe().map_err(io("own path"))?;
    let mut child = Command::new(own)
        .args(["append", "--syncs", &plan.syncs.to_string(), "--file"])
        .arg(&file)
        .stdout(Stdio::piped())
        // It ends with the first error, by itself.
        .stderr(Stdio::null())
        .spawn()
        .map_err(io("cannot start a child"))?;
    let mut synced = 0;
    for line in BufReader::new(child.stdout.take().expect("stdout is piped")).lines() {
        let line = line.map_err(io("cannot read from the child"))?;
        synced = line.parse().map_err(|_| Error::Protocol { line })?;
        if synced == blocks {
            volume.cut()?;
        }
    }
    child.wait().map_err(io("cannot wait for a child"))?;
    volume.unmount()?;
    volume.mount()?;
    let lost = count_lost(&file, synced)?;
    volume.unmount()?;
    Ok((synced, lost))
}

fn count_lost(file: &Path, synced: u64) -> Result<u64, Error> {
    let file = File::open(file).map_err(io("cannot open the blocks"))?;
    let mut lost = 0;
    for number in 0..synced {
        let mut found = vec![0; BLOCK_BYTES];
        file.read_exact_at(&mut found, number * BLOCK_BYTES as u64).map_err(io("cannot read a block"))?;
        lost += u64::from(found != block(number));
    }
    Ok(lost)
}

/// Appends until the file system is gone; prints how many blocks are synced, after each.
///
/// # Errors
/// The file system is gone.
pub fn append(args: &AppendArgs) -> Result<(), Error> {
    let file = File::create_new(&args.file).map_err(io("cannot make the file"))?;
    fallocate(&file, FallocateFlags::empty(), 0, BLOCKS * BLOCK_BYTES as u64)
        .map_err(|error| io("cannot reserve room")(error.into()))?;
    file.sync_all().map_err(io("cannot sync the file"))?;
    let mut out = std::io::stdout().lock();
    for number in 0..BLOCKS {
        file.write_all_at(&block(number), number * BLOCK_BYTES as u64).map_err(io("cannot write"))?;
        for _ in 0..args.syncs {
            file.sync_data().map_err(io("cannot sync"))?;
        }
        let told = writeln!(out, "{}", number + 1).and_then(|()| out.flush());
        told.map_err(io("cannot write to the parent"))?;
    }
    Ok(())
}

fn block(number: u64) -> Vec<u8> {
    (number + 1).to_le_bytes().repeat(BLOCK_BYTES / size_of::<u64>())
}
