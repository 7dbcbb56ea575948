//! How long a group has no leader when its leader is killed.

use std::path::Path;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use serde::Serialize;
use serde_json::Value as Json;
use tokio::time::sleep;

use super::clients::connect;
use super::report::quantiles;
use super::run::serves;
use super::{Error, picture};
use crate::process::{ClusterSettings, Node, NodeSpec, page};

/// Between two attempts at a write: the resolution.
const ATTEMPT: Duration = Duration::from_millis(2);
/// Of the default configuration: the longest election timeout.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Kills.
    pub kills: usize,
    /// From SIGKILL of the leader until the next write of its group was acknowledged through another node: median, 99th
    /// percentile, worst, in milliseconds.
    pub without_leader_ms: [f64; 3],
    /// The aim for the 99th percentile: two election timeouts (their longest).
    pub aim_ms: f64,
    /// All of them, shortest first.
    pub all_ms: Vec<f64>,
}

/// Kills the leader of the one group of three nodes, again and again.
///
/// # Errors
/// [`Error::Io`]: no directory, or no report in `out`.
pub async fn run(kills: usize, out: &Path) -> Result<Report, Error> {
    let io = |what| move |source| Error::Io { what, source };
    let dir = tempfile::tempdir().map_err(io("make a directory"))?;
    let settings =
        ClusterSettings { groups: 1, keys: "routing = \"proxy\"".to_owned(), ..ClusterSettings::default() };
    let specs = NodeSpec::cluster(dir.path(), &settings);
    let mut nodes: Vec<Option<Node>> =
        tokio::task::block_in_place(|| Node::start_all(&specs)).into_iter().map(Some).collect();
    let mut all_ms = Vec::new();
    while all_ms.len() < kills {
        let leader = find_leader(&specs).await;
        let mut through = connect_to(&specs[(leader + 1) % specs.len()]).await;
        write(&mut through).await;
        let killed = Instant::now();
        nodes[leader].take().expect("it runs").kill();
        while !write(&mut through).await {
            sleep(ATTEMPT).await;
        }
        all_ms.push(killed.elapsed().as_secs_f64() * 1_000.0);
        nodes[leader] = Some(tokio::task::block_in_place(|| Node::start(&specs[leader])));
    }
    let without_leader_ms = quantiles(&mut all_ms);
    let aim_ms = 2.0 * ELECTION_TIMEOUT.as_secs_f64() * 1_000.0;
    let report = Report { kills, without_leader_ms, aim_ms, all_ms };
    std::fs::create_dir_all(out).map_err(io("make the directory of the report"))?;
    let text = serde_json::to_string_pretty(&report)
        .map_err(|error| Error::Io { what: "write the report", source: error.into() })?;
    std::fs::write(out.join("failover.json"), text).map_err(io("write the report"))?;
    std::fs::write(out.join("failover.svg"), picture::times(&report.all_ms, aim_ms))
        .map_err(io("write the picture"))?;
    Ok(report)
}

/// The node that leads group 1, once all three are in service.
async fn find_leader(specs: &[NodeSpec]) -> usize {
    loop {
        let mut leader = None;
        let mut ready = 0;
        for (at, spec) in specs.iter().enumerate() {
            let status: Json = serde_json::from_str(&page(spec.admin, "/status")).unwrap_or_default();
            let groups = status["groups"].as_array().cloned().unwrap_or_default();
            let is_ready = groups.len() == 2 && groups.iter().all(serves);
            ready += usize::from(is_ready);
            if groups.iter().any(|group| group["group"] == 1 && group["state"] == "leader") {
                leader = Some(at);
            }
        }
        if let Some(leader) = leader.filter(|_| ready == specs.len()) {
            return leader;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn connect_to(spec: &NodeSpec) -> MultiplexedConnection {
    loop {
        if let Some(connection) = connect(spec.resp).await {
            return connection;
        }
        sleep(ATTEMPT).await;
    }
}

/// Whether a write was acknowledged.
async fn write(connection: &mut MultiplexedConnection) -> bool {
    redis::cmd("SET").arg("key").arg("value").query_async::<()>(connection).await.is_ok()
}
