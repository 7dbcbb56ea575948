//! `quorate dev`: all nodes of a cluster in one process, each with its own listeners, from start to stop.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admin::AdminServer;
use crate::backend::{Backend, BoxFuture, Routing};
use crate::exit::StartError;
use crate::options::DevOptions;
use crate::resp::{RespServer, Settings};
use crate::signals::Signals;

mod data_dir;

pub use data_dir::DataDir;

/// A stop that takes longer is given up.
pub const STOP_MAX: Duration = Duration::from_secs(10);

const STOP_TIMEOUT: StartError = StartError::StopTimeout { seconds: STOP_MAX.as_secs() };

/// Starts the engine's nodes. The engine's side of the `dev` command.
pub trait Cluster: Send + Sync {
    /// Starts every node of `options`, as far as that they listen for each other and serve. Groups may still be
    /// without a leader.
    ///
    /// # Errors
    /// Nothing runs any more.
    fn start<'a>(
        &'a self,
        options: &'a DevOptions,
    ) -> BoxFuture<'a, Result<Box<dyn RunningCluster>, StartError>>;
}

/// The nodes of a started cluster.
pub trait RunningCluster: fmt::Debug + Send + Sync {
    /// One per node, in order.
    fn nodes(&self) -> Vec<ClusterNode>;

    /// Ends when every group has a leader.
    ///
    /// # Errors
    /// A group failed to start.
    fn ready(&self) -> BoxFuture<'_, Result<(), StartError>>;

    /// Transfers leaderships, drains proposals, persists and closes. Ends when all is on disk.
    ///
    /// # Errors
    /// What could not be closed cleanly; everything has been given up.
    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<(), StartError>>;
}

/// One node of a running cluster.
#[derive(Clone, Debug)]
pub struct ClusterNode {
    /// What its frontends talk to.
    pub backend: Arc<dyn Backend>,
    /// Where it listens for the other nodes.
    pub peer_addr: SocketAddr,
}

/// Runs a cluster until a signal: starts it, prints one line per node and then
/// `ready nodes=3 groups=8 in=412ms` to `out`, and stops it.
///
/// # Errors
/// See [`StartError`]. After an error nothing is served any more, but tasks of the engine may still run.
pub async fn run(
    options: DevOptions,
    cluster: &dyn Cluster,
    signals: Signals,
    out: &mut (dyn Write + Send),
) -> Result<(), StartError> {
    options.check()?;
    let work = async {
        let begun = Instant::now();
        let running = tokio::select! {
            biased;
            started = cluster.start(&options) => started?,
            () = stop_is_late(&signals.stop) => return Err(STOP_TIMEOUT),
        };
        let result = serve(&options, running.as_ref(), &signals.stop, begun, out).await;
        let (frontends, served) = match result {
            Ok(frontends) => (Some(frontends), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let stopped = stop_within_limit(frontends, running).await;
        served.and(stopped)
    };
    tokio::select! {
        biased;
        () = signals.abort.cancelled() => Err(StartError::Interrupted),
        result = work => result,
    }
}

/// The listeners of all nodes.
struct Frontends {
    stopping: CancellationToken,
    stop_admin: CancellationToken,
    resp: JoinSet<()>,
    admin: JoinSet<()>,
}

/// Serves until `stop`, which also ends the wait for leaders. Returns what has to be stopped.
async fn serve(
    options: &DevOptions,
    running: &dyn RunningCluster,
    stop: &CancellationToken,
    begun: Instant,
    out: &mut (dyn Write + Send),
) -> Result<Frontends, StartError> {
    let frontends = open_frontends(options, running, stop, out).await?;
    tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(frontends),
        ready = running.ready() => ready?,
    }
    let (nodes, groups) = (options.nodes, options.groups);
    print(out, format_args!("ready nodes={nodes} groups={groups} in={}ms\n", begun.elapsed().as_millis()))?;
    stop.cancelled().await;
    Ok(frontends)
}

async fn open_frontends(
    options: &DevOptions,
    running: &dyn RunningCluster,
    stop: &CancellationToken,
    out: &mut (dyn Write + Send),
) -> Result<Frontends, StartError> {
    let stop_admin = CancellationToken::new();
    let mut frontends =
        Frontends { stopping: stop.clone(), stop_admin, resp: JoinSet::new(), admin: JoinSet::new() };
    print(out, format_args!("data {}\n", options.data.display()))?;
    for (node, parts) in (0..options.nodes).zip(running.nodes()) {
        let ClusterNode { backend, peer_addr } = parts;
        let resp =
            RespServer::bind(options.resp_addr(node), Arc::clone(&backend), Settings::new(Routing::Proxy))
                .await?;
        let admin = AdminServer::bind(options.admin_addr(node), backend).await?;
        let (resp_addr, admin_addr) = (resp.local_addr(), admin.local_addr());
        print(
            out,
            format_args!("node {node} resp={resp_addr} admin=http://{admin_addr} peer={peer_addr}\n"),
        )?;
        frontends.resp.spawn(resp.serve(stop.clone()));
        let (stopping, stop_admin) = (frontends.stopping.clone(), frontends.stop_admin.clone());
        frontends.admin.spawn(async move {
            if let Err(error) = admin.serve(stopping, stop_admin).await {
                tracing::error!(%error, "the admin pages have ended");
            }
        });
    }
    Ok(frontends)
}

/// Readiness went with the signal; then connections finish, then the engine stops. The admin
/// pages go last, so that a stop can be watched.
async fn stop_within_limit(
    frontends: Option<Frontends>,
    running: Box<dyn RunningCluster>,
) -> Result<(), StartError> {
    let stop = async {
        let mut frontends = frontends;
        if let Some(frontends) = &mut frontends {
            while frontends.resp.join_next().await.is_some() {}
        }
        let stopped = running.stop().await;
        if let Some(mut frontends) = frontends {
            frontends.stop_admin.cancel();
            while frontends.admin.join_next().await.is_some() {}
        }
        stopped
    };
    tokio::time::timeout(STOP_MAX, stop).await.map_err(|_| STOP_TIMEOUT)?
}

/// Ends [`STOP_MAX`] after `stop`: for a start that is not done by then.
async fn stop_is_late(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(STOP_MAX).await;
}

fn print(out: &mut (dyn Write + Send), line: fmt::Arguments<'_>) -> Result<(), StartError> {
    let printed: io::Result<()> = out.write_fmt(line).and_then(|()| out.flush());
    printed.map_err(|source| StartError::Io { action: "write to standard output", source })
}
