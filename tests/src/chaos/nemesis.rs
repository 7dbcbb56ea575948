//! Does harm to nodes, one fault after the other, and sees to it that each ends.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use quorate_telemetry::{Rng, SeededRng};
use tokio::time::sleep;

use super::fault::Kind;
use super::proxy::Proxy;
use super::sandbox::Sandbox;
use super::small_disk::SmallDisk;
use crate::process::{Node, NodeSpec};

/// Starts of a restart storm.
const STORM_STARTS: u64 = 4;

/// The nodes, and what stands before them.
pub(super) struct Nodes {
    pub(super) specs: Vec<NodeSpec>,
    pub(super) running: Vec<Option<Node>>,
    pub(super) proxies: Vec<Proxy>,
    /// Where nodes listen behind their proxies.
    pub(super) behind: Vec<SocketAddr>,
    /// Each node's own, where the machine has them.
    pub(super) disks: Vec<SmallDisk>,
    pub(super) sandbox: Sandbox,
    pub(super) rng: SeededRng,
    /// Whose files are flipped, and nobody else's: what is lost on two of three may be lost.
    pub(super) victim: usize,
    /// Files that were flipped.
    pub(super) flipped: Vec<String>,
    /// Nodes whose replicas may have been taken out of service.
    pub(super) harmed: BTreeSet<usize>,
}

/// What was done.
pub(super) struct Struck {
    /// To whom.
    pub(super) target: String,
    /// How often it was felt, where that can be counted.
    pub(super) felt: Option<u64>,
}

impl Nodes {
    /// One fault, from its beginning to its end.
    pub(super) async fn strike(&mut self, kind: Kind) -> io::Result<Struck> {
        let at = usize::try_from(self.rng.below(self.specs.len() as u64)).expect("a handful");
        let for_ms = Duration::from_millis(300 + self.rng.below(4_000));
        if kind.quarantines() {
            self.harmed.insert(if kind == Kind::Flip { self.victim } else { at });
        }
        let mut felt = None;
        match kind {
            Kind::Kill => {
                self.kill(at);
                sleep(for_ms).await;
                self.start(at);
            }
            Kind::KillAll => {
                (0..self.specs.len()).for_each(|at| self.kill(at));
                sleep(for_ms / 4).await;
                (0..self.specs.len()).for_each(|at| self.start(at));
                return Ok(Struck { target: "all".to_owned(), felt });
            }
            Kind::RestartStorm => {
                for _ in 0..STORM_STARTS {
                    self.kill(at);
                    self.start(at);
                    sleep(Duration::from_millis(20 + self.rng.below(300))).await;
                }
            }
            Kind::Pause => {
                self.with(at, Node::pause);
                sleep(for_ms * 2).await;
                self.with(at, Node::resume);
            }
            Kind::Mute => self.hold(at, for_ms, (true, false)).await,
            Kind::Deafen => self.hold(at, for_ms, (false, true)).await,
            Kind::Isolate => self.hold(at, for_ms, (true, true)).await,
            Kind::Delay => {
                let delay = Duration::from_millis(5 + self.rng.below(60));
                self.proxies[at].set(|mode| mode.delay = delay);
                sleep(for_ms).await;
                self.proxies[at].set(|mode| mode.delay = Duration::ZERO);
            }
            Kind::Reset => {
                for _ in 0..3 {
                    self.proxies[at].set(|mode| mode.round += 1);
                    sleep(for_ms / 3).await;
                }
            }
            Kind::Flip => {
                let victim = self.victim;
                self.kill(victim);
                let flipped = self.flip(victim);
                self.start(victim);
                let felt = Some(u64::from(flipped.is_some()));
                let file = flipped.unwrap_or_else(|| "nothing to flip".to_owned());
                return Ok(Struck { target: format!("node {}: {file}", victim + 1), felt });
            }
            Kind::LosePackets
            | Kind::DropPackets
            | Kind::FillDisk
            | Kind::FillInodes
            | Kind::LoseDisk
            | Kind::FailSyncs
            | Kind::SlowSyncs
            | Kind::StarveCpu
            | Kind::StarveMemory => felt = self.strike_machine(kind, at, for_ms).await?,
        }
        Ok(Struck { target: format!("node {}", at + 1), felt })
    }

    async fn hold(&self, at: usize, time: Duration, (inwards, outwards): (bool, bool)) {
        self.proxies[at].set(|mode| (mode.holds_in, mode.holds_out) = (inwards, outwards));
        sleep(time).await;
        self.proxies[at].set(|mode| (mode.holds_in, mode.holds_out) = (false, false));
    }

    fn with(&self, at: usize, what: impl Fn(&Node)) {
        if let Some(node) = &self.running[at] {
            what(node);
        }
    }

    pub(super) fn kill(&mut self, at: usize) {
        if let Some(node) = self.running[at].take() {
            node.kill();
        }
    }

    pub(super) fn start(&mut self, at: usize) {
        self.running[at] = Some(Node::spawn(&self.specs[at]));
    }

    /// One bit of one file of a replica's log, snapshots or state.
    fn flip(&mut self, at: usize) -> Option<String> {
        let mut files = Vec::new();
        list(&self.specs[at].data.join("groups"), &mut files);
        files.sort();
        let file = files.get(usize::try_from(self.rng.below(files.len().max(1) as u64)).ok()?)?.clone();
        let mut bytes = fs::read(&file).ok()?;
        let offset = usize::try_from(self.rng.below(bytes.len().max(1) as u64)).ok()?;
        *bytes.get_mut(offset)? ^= 1 << self.rng.below(8);
        fs::write(&file, bytes).ok()?;
        let told = format!("{} at byte {offset}", file.strip_prefix(&self.specs[at].data).ok()?.display());
        self.flipped.push(told.clone());
        Some(told)
    }
}

/// All files below a directory, replicas that were put aside excepted.
fn list(dir: &PathBuf, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_aside = path.to_string_lossy().contains(".quarantined-");
        if path.is_dir() && !is_aside {
            list(&path, files);
        } else if path.is_file() && fs::metadata(&path).is_ok_and(|meta| meta.len() > 0) {
            files.push(path);
        }
    }
}
