//! One run, from an empty directory to a verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use quorate_telemetry::{Rng, SeededRng, SystemClock};
use serde_json::Value as Json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Error;
use super::clients::{Load, read_all, work};
use super::fault::{Kind, Need};
use super::nemesis::{Nodes, Struck};
use super::picture;
use super::proxy::Proxy;
use super::report::{Injected, Report, quantiles};
use super::sandbox::Sandbox;
use super::small_disk::SmallDisk;
use crate::checker::{Limits, Recorder, Verdict, check};
use crate::process::{ClusterSettings, Node, NodeSpec, quorate_binary};

/// Clients of a run.
const CLIENTS: u32 = 48;
/// After a fault: for every key to be served again.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// Between two faults.
const CALM: Duration = Duration::from_millis(1_500);
/// At the end: for all replicas to be in service.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a run is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long clients work and faults happen.
    pub time: Duration,
    /// Nodes.
    pub nodes: u16,
    /// Groups beside group 0.
    pub groups: u16,
    /// Decides faults and what clients ask.
    pub seed: u64,
    /// Where the report, the pictures and the nodes' logs are written.
    pub out: PathBuf,
}

/// Runs it.
///
/// # Errors
/// [`Error`] if there is no verdict; what is wrong with the cluster is in the report.
pub async fn run(options: &Options) -> Result<Report, Error> {
    let io = |what| move |source| Error::Io { what, source };
    fs::create_dir_all(&options.out).map_err(io("make the directory of the report"))?;
    let dir = tempfile::tempdir().map_err(io("make a directory"))?;
    let mut nodes = start(options, dir.path()).await.map_err(io("start the proxies"))?;
    let load = Load::new(Recorder::new(Arc::new(SystemClock::new())));
    let addresses: Vec<_> = nodes.specs.iter().map(|spec| spec.resp).collect();
    let mut clients = JoinSet::new();
    for id in 0..CLIENTS {
        clients.spawn(work(Arc::clone(&load), id, addresses.clone(), options.seed));
    }
    let watching = Arc::clone(&load);
    let watch = tokio::spawn(async move { count_seconds(&watching).await });
    let mut violations = Vec::new();
    let injected = disturb(&mut nodes, &load, options.time, &mut violations).await;
    let quarantined = settle(&nodes).await;
    let seconds = load.began.elapsed().as_secs_f64();
    load.stop();
    clients.join_all().await;
    let all_read = read_all(&load, CLIENTS, addresses[0]).await;
    watch.abort();
    let seen = Seen { load: &load, injected, quarantined, seconds, all_read };
    let report = conclude(options, &nodes, seen, violations)?;
    write(options, &report, &nodes).map_err(io("write the report"))?;
    Ok(report)
}

/// What was seen of a run.
struct Seen<'a> {
    load: &'a Load,
    injected: Vec<Injected>,
    quarantined: Vec<String>,
    seconds: f64,
    /// Whether every key was read at the end.
    all_read: bool,
}

fn conclude(
    options: &Options,
    nodes: &Nodes,
    seen: Seen<'_>,
    mut violations: Vec<String>,
) -> Result<Report, Error> {
    let Seen { load, injected, quarantined, seconds, all_read } = seen;
    let judged = check(&load.recorder.history(), &Limits::default())?;
    let verdict = match &judged.verdict {
        Verdict::Linearizable => "linearizable".to_owned(),
        Verdict::Violation(violation) => violation.to_string(),
        Verdict::Undecided { key, why } => format!("undecided, {key:?}: {why}"),
    };
    if !judged.verdict.is_linearizable() {
        violations.push(verdict.clone());
    }
    if !all_read {
        violations.push("not every key could be read at the end".to_owned());
    }
    let quarantines = quarantines(nodes);
    let unharmed = quarantines.iter().filter(|(at, count)| **count > 0 && !nodes.harmed.contains(*at));
    violations.extend(unharmed.map(|(at, count)| {
        format!("{count} replicas of node {} were taken out of service, to which nothing was done", at + 1)
    }));
    violations.extend(out_of_service(nodes).iter().map(|out| format!("still out of service: {out}")));
    violations.extend(injected.iter().filter(|fault| fault.recovered_s.is_none()).map(|fault| {
        let Injected { kind, target, at_s, .. } = fault;
        format!("after {kind:?} of {target} at {at_s:.1} s not every key was served")
    }));
    let mut recovered: Vec<f64> = injected.iter().filter_map(|fault| fault.recovered_s).collect();
    let mut faults: BTreeMap<Kind, u64> = BTreeMap::new();
    for fault in injected.iter().filter(|fault| fault.felt != Some(0)) {
        *faults.entry(fault.kind).or_default() += 1;
    }
    let impossible = impossible(nodes);
    if injected.len() >= 2 * Kind::ALL.len() {
        let never = Kind::ALL.into_iter().filter(|kind| !faults.contains_key(kind));
        violations.extend(
            never
                .filter(|kind| !impossible.contains_key(kind))
                .map(|kind| format!("{kind:?} was never felt")),
        );
    }
    let acknowledged = load.acknowledged.load(Ordering::Relaxed);
    let per_second = load.per_second();
    Ok(Report {
        seed: options.seed,
        nodes: options.nodes,
        groups: options.groups,
        seconds,
        acknowledged,
        acknowledged_per_second: acknowledged as f64 / seconds,
        judged: judged.operations,
        open_ended: judged.open_ended,
        verdict,
        violations,
        faults,
        impossible,
        recovery_s: quantiles(&mut recovered),
        seconds_without_service: per_second.iter().filter(|count| **count == 0).count(),
        quarantined,
        quarantines: quarantines.into_iter().map(|(at, count)| (at as u64 + 1, count)).collect(),
        flipped: nodes.flipped.clone(),
        proxied_bytes: nodes.proxies.iter().map(Proxy::passed).sum(),
        injected,
        per_second,
    })
}

/// The nodes, each behind a proxy: the others know its address only as the proxy's.
async fn start(options: &Options, dir: &std::path::Path) -> std::io::Result<Nodes> {
    let settings = ClusterSettings {
        nodes: options.nodes,
        groups: options.groups,
        keys: "routing = \"proxy\"".to_owned(),
        sections:
            "[snapshots]\nentries = 3000\ntrailing_entries = 500\n\n[consistency]\ninterval = \"20s\"\n"
                .to_owned(),
        ..ClusterSettings::default()
    };
    let sandbox = tokio::task::block_in_place(|| Sandbox::probe(dir));
    let mut specs = NodeSpec::cluster(dir, &settings);
    let (mut proxies, mut all_behind, mut disks) = (Vec::new(), Vec::new(), Vec::new());
    for spec in &mut specs {
        // The same port of another loopback address.
        let behind = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 2).into(), spec.peer.port());
        let mut text = fs::read_to_string(&spec.config)?;
        if sandbox.lacks(Need::SmallDisks).is_none() {
            let mount = dir.join(format!("disk-{}", spec.id));
            disks.push(tokio::task::block_in_place(|| SmallDisk::make(&mount))?);
            let data = mount.join("data");
            text = text.replace(&*spec.data.to_string_lossy(), &data.to_string_lossy());
            spec.data = data;
        }
        // In front of the first section.
        fs::write(&spec.config, format!("listen.peer = \"{behind}\"\n{text}"))?;
        proxies.push(Proxy::start(spec.peer, behind).await?);
        all_behind.push(behind);
    }
    let rng = SeededRng::new(options.seed);
    let victim = usize::try_from(rng.below(u64::from(options.nodes))).expect("a handful");
    let running = tokio::task::block_in_place(|| Node::start_all(&specs)).into_iter().map(Some).collect();
    let (behind, flipped, harmed) = (all_behind, Vec::new(), BTreeSet::new());
    Ok(Nodes { specs, running, proxies, behind, disks, sandbox, rng, victim, flipped, harmed })
}

/// Kinds that this machine does not let happen, and why.
fn impossible(nodes: &Nodes) -> BTreeMap<Kind, String> {
    let lacking = |kind: Kind| Some((kind, nodes.sandbox.lacks(kind.need()?)?.to_owned()));
    Kind::ALL.into_iter().filter_map(lacking).collect()
}

/// How often each node has taken a replica out of service, by its log.
fn quarantines(nodes: &Nodes) -> BTreeMap<usize, u64> {
    let count = |spec: &NodeSpec| {
        let log = fs::read(&spec.log).unwrap_or_default();
        String::from_utf8_lossy(&log).lines().filter(|line| line.contains("group quarantined")).count() as u64
    };
    nodes.specs.iter().map(count).enumerate().collect()
}

/// Fault after fault, every kind in turn, in an order that is drawn anew each time.
async fn disturb(
    nodes: &mut Nodes,
    load: &Load,
    time: Duration,
    violations: &mut Vec<String>,
) -> Vec<Injected> {
    let mut injected = Vec::new();
    let impossible = impossible(nodes);
    let possible: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| !impossible.contains_key(kind)).collect();
    let mut waiting: Vec<Kind> = Vec::new();
    while load.began.elapsed() < time {
        sleep(CALM).await;
        if waiting.is_empty() {
            waiting = possible.clone();
        }
        let at = usize::try_from(nodes.rng.below(waiting.len() as u64)).expect("a few kinds");
        let kind = waiting.swap_remove(at);
        let at_s = load.began.elapsed().as_secs_f64();
        let struck = nodes.strike(kind).await;
        let (end_s, end_ms) = (load.began.elapsed().as_secs_f64(), load.elapsed_ms());
        let end = Instant::now();
        while !load.is_served_since(end_ms) && end.elapsed() < RECOVERY_MAX {
            sleep(Duration::from_millis(5)).await;
        }
        let recovered_s = (end.elapsed() < RECOVERY_MAX).then(|| end.elapsed().as_secs_f64());
        match struck {
            Ok(Struck { target, felt }) => {
                injected.push(Injected { at_s, end_s, kind, target, felt, recovered_s });
            }
            Err(error) => violations.push(format!("{kind:?} could not be done at {at_s:.1} s: {error}")),
        }
    }
    injected
}

/// Waits until all replicas are in service; those that are not by themselves are told and repaired.
async fn settle(nodes: &Nodes) -> Vec<String> {
    let mut told = Vec::new();
    let end = Instant::now() + PATIENCE;
    sleep(Duration::from_secs(5)).await;
    loop {
        let out = out_of_service(nodes);
        if out.is_empty() || Instant::now() > end {
            return told;
        }
        for (at, group, reason) in broken(nodes) {
            let line = format!("node {} group {group}: {reason}", at + 1);
            if !told.contains(&line) {
                told.push(line);
            }
            let url = format!("http://{}", nodes.specs[at].admin);
            let mut repair = Command::new(quorate_binary());
            repair.args(["repair", "--node", &url, &group.to_string(), "--yes"]);
            // Asked again in the next round if it fails.
            drop(tokio::task::spawn_blocking(move || repair.output()).await);
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// What a node says of its groups; nothing if it does not answer.
fn groups(spec: &NodeSpec) -> Option<Vec<Json>> {
    let page = std::panic::catch_unwind(|| crate::process::page(spec.admin, "/status")).ok()?;
    serde_json::from_str::<Json>(&page).ok()?["groups"].as_array().cloned()
}

/// Whether a replica is in service and knows its leader, by its line of the status page.
pub(super) fn serves(group: &Json) -> bool {
    let state = group["state"].as_str().unwrap_or_default();
    matches!(state, "leader" | "follower" | "learner") && group["leader_node"].is_number()
}

/// Every replica that is not in service, for people.
fn out_of_service(nodes: &Nodes) -> Vec<String> {
    let mut out = Vec::new();
    for (at, spec) in nodes.specs.iter().enumerate() {
        match groups(spec) {
            None => out.push(format!("node {} does not answer", at + 1)),
            Some(groups) => {
                let bad = groups.iter().filter(|group| !serves(group));
                out.extend(bad.map(|group| format!("node {}: {group}", at + 1)));
            }
        }
    }
    out
}

/// Replicas that do not come back by themselves: where, which, why.
fn broken(nodes: &Nodes) -> Vec<(usize, u64, String)> {
    let mut broken = Vec::new();
    for (at, spec) in nodes.specs.iter().enumerate() {
        for group in groups(spec).unwrap_or_default() {
            let state = group["state"].as_str().unwrap_or_default();
            if matches!(state, "quarantined" | "lost" | "repairing")
                && let Some(id) = group["group"].as_u64()
            {
                broken.push((at, id, group.to_string()));
            }
        }
    }
    broken
}

/// Notes what is acknowledged in each second.
async fn count_seconds(load: &Load) {
    let mut before = 0;
    loop {
        sleep(Duration::from_secs(1)).await;
        let now = load.acknowledged.load(Ordering::Relaxed);
        load.note_second(now - before);
        before = now;
    }
}

fn write(options: &Options, report: &Report, nodes: &Nodes) -> std::io::Result<()> {
    let out = &options.out;
    fs::write(out.join("report.json"), serde_json::to_string_pretty(report)?)?;
    let picture = picture::availability(&report.per_second, &report.injected);
    fs::write(out.join("availability.svg"), picture)?;
    for spec in &nodes.specs {
        fs::copy(&spec.log, out.join(format!("node-{}.log", spec.id)))?;
    }
    Ok(())
}
