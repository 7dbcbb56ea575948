//! What of this machine a run may use: a network and mounts of its own, file systems, a tracer, control groups.
//!
//! Everything of it that lasts is in namespaces, which end with the run.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use super::fault::Need;
use super::{control_group, packet_filter, small_disk, tracer};

/// Set in a process that runs in namespaces of its own.
const INSIDE: &str = "QUORATE_CHAOS_INSIDE";

/// What a machine lets a run do.
#[derive(Debug, Default)]
pub(super) struct Sandbox {
    /// What it lacks, and why.
    lacks: BTreeMap<Need, String>,
}

impl Sandbox {
    /// Tries everything once. `scratch` is a directory that may be used for it.
    pub(super) fn probe(scratch: &Path) -> Self {
        let is_inside = std::env::var_os(INSIDE).is_some();
        let in_namespaces = |probe: &dyn Fn() -> io::Result<()>| {
            if is_inside {
                return probe();
            }
            Err(io::Error::other("no namespaces of its own (root and unshare make them)"))
        };
        let tries = [
            (Need::PacketFilter, in_namespaces(&packet_filter::probe)),
            (Need::SmallDisks, in_namespaces(&|| small_disk::probe(scratch))),
            (Need::Tracer, tracer::probe()),
            (Need::ControlGroups, control_group::probe()),
        ];
        let lacks = tries.into_iter().filter_map(|(need, tried)| Some((need, tried.err()?.to_string())));
        Self { lacks: lacks.collect() }
    }

    /// Why `need` is not to be had, if it is not.
    pub(super) fn lacks(&self, need: Need) -> Option<&str> {
        self.lacks.get(&need).map(String::as_str)
    }
}

/// Runs this very program again in a network and with mounts of its own, and waits for its end. `None` if this is that
/// program, or the machine does not let us.
pub fn run_inside() -> Option<io::Result<ExitStatus>> {
    let unshare = ["--net", "--mount", "--propagation", "private"];
    if std::env::var_os(INSIDE).is_some() || tool("unshare", unshare.into_iter().chain(["true"])).is_err() {
        return None;
    }
    let run = || {
        let mut command = Command::new("unshare");
        command.args(unshare).args(["sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""]);
        command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1));
        command.env(INSIDE, "1").status()
    };
    Some(run())
}

/// Runs a tool of the system. What it says.
pub(super) fn tool<A: AsRef<std::ffi::OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = A>,
) -> io::Result<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program}: {}: {}", output.status, said.trim())))
}
