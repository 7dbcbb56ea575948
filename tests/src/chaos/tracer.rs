//! Changes what system calls of a node return, with strace.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::sandbox::tool;

/// How every sync ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syncs {
    /// With an error of the device.
    Fail,
    /// As it does, and this much later.
    Late {
        /// By so much.
        micros: u64,
    },
}

/// A node that is traced.
#[derive(Debug)]
pub(super) struct Tracing {
    strace: Child,
    told: PathBuf,
}

impl Tracing {
    /// From now on every sync of the process ends like this. `told` is a file that may be written for it.
    pub(super) fn begin(pid: u32, syncs: Syncs, told: PathBuf) -> io::Result<Self> {
        let how = match syncs {
            Syncs::Fail => "error=EIO".to_owned(),
            Syncs::Late { micros } => format!("delay_exit={micros}"),
        };
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", "trace=fdatasync,fsync", "-e"]);
        command.arg(format!("inject=fdatasync,fsync:{how}")).arg("-o").arg(&told);
        command.arg("-p").arg(pid.to_string()).stdin(Stdio::null()).stderr(Stdio::null());
        Ok(Self { strace: command.spawn()?, told })
    }

    /// Syncs end as they do again. How many did not.
    pub(super) fn end(mut self) -> io::Result<u64> {
        // It lets go of the process, and ends. Gone already if that was killed.
        let _ = kill_process(Pid::from_child(&self.strace), Signal::INT);
        self.strace.wait()?;
        let told = fs::read_to_string(&self.told)?;
        Ok(told.lines().filter(|line| line.ends_with("(INJECTED)") || line.ends_with("(DELAYED)")).count()
            as u64)
    }
}

/// Whether that works here.
pub(super) fn probe() -> io::Result<()> {
    let traced = ["-qq", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO", "true"];
    tool("strace", traced).map(drop)
}
