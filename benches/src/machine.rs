//! What the machine is, measured beside every figure.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the sync rate is measured.
const SYNC_PROBE: Duration = Duration::from_secs(1);
/// One write of the sync probe.
const PROBE_BYTES: usize = 4096;

/// Syncs per second of one thread that rewrites and syncs 4 KiB of a preallocated file in `dir`.
pub(crate) fn fdatasync_per_s(dir: &Path) -> io::Result<f64> {
    let path = dir.join("sync-probe");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    file.write_all_at(&vec![0; 64 * PROBE_BYTES], 0)?;
    file.sync_all()?;
    let started = Instant::now();
    let mut syncs: u64 = 0;
    while started.elapsed() < SYNC_PROBE {
        file.write_all_at(&[0xa5; PROBE_BYTES], (syncs % 64) * PROBE_BYTES as u64)?;
        file.sync_data()?;
        syncs += 1;
    }
    let rate = syncs as f64 / started.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    Ok(rate)
}

/// The type of the file system that holds `dir`, as the kernel names it.
pub(crate) fn filesystem(dir: &Path) -> io::Result<String> {
    let dir = dir.canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let best = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (_, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
            dir.starts_with(point).then_some((point.len(), kind))
        })
        .max();
    Ok(best.map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned()))
}

/// User and system time of this process so far.
pub(crate) fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Highest resident memory of this process so far, in MiB.
pub(crate) fn peak_rss_mib() -> io::Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok());
    Ok(kib.unwrap_or(f64::NAN) / 1024.0)
}

/// Writes `text` to `path` and syncs it.
pub(crate) fn write_report(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    File::open(path)?.sync_all()
}
