//! Takes CPU time or memory from a node, with a control group (version 1).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";
/// In 100 ms of each CPU.
const CPU_MICROS: &str = "4000";
/// Memory beyond what it has, file cache included.
const MEMORY_BYTES: &str = "131072";

/// What is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Cpu,
    Memory,
}

impl Limit {
    fn controller(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }

    fn file(self) -> (&'static str, &'static str) {
        match self {
            Self::Cpu => ("cpu.cfs_quota_us", CPU_MICROS),
            Self::Memory => ("memory.limit_in_bytes", MEMORY_BYTES),
        }
    }
}

/// A process in a group of its own.
#[derive(Debug)]
pub(super) struct Limited {
    limit: Limit,
    group: PathBuf,
    pid: u32,
}

impl Limited {
    /// Limits the process.
    pub(super) fn begin(pid: u32, limit: Limit) -> io::Result<Self> {
        let group = Path::new(ROOT).join(limit.controller()).join(format!("quorate-chaos-{pid}"));
        fs::create_dir(&group)?;
        let this = Self { limit, group, pid };
        let (file, value) = limit.file();
        fs::write(this.group.join(file), value)?;
        fs::write(this.group.join("cgroup.procs"), pid.to_string())?;
        Ok(this)
    }

    /// The process goes back, if it still runs. How often it was held up.
    pub(super) fn end(self) -> io::Result<u64> {
        let proof = match self.limit {
            Limit::Cpu => {
                let stat = fs::read_to_string(self.group.join("cpu.stat"))?;
                let line = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "));
                line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
            }
            Limit::Memory => {
                let count = fs::read_to_string(self.group.join("memory.failcnt"))?;
                count.trim().parse().unwrap_or(0)
            }
        };
        // Gone already if the system has killed it.
        let all = Path::new(ROOT).join(self.limit.controller()).join("cgroup.procs");
        drop(fs::write(all, self.pid.to_string()));
        fs::remove_dir(&self.group)?;
        Ok(proof)
    }
}

/// Whether that works here.
pub(super) fn probe() -> io::Result<()> {
    for limit in [Limit::Cpu, Limit::Memory] {
        let group = Path::new(ROOT)
            .join(limit.controller())
            .join(format!("quorate-chaos-probe-{}", std::process::id()));
        fs::create_dir(&group)?;
        let (file, value) = limit.file();
        let set = fs::write(group.join(file), value);
        fs::remove_dir(&group)?;
        set?;
    }
    Ok(())
}
