//! The nodes of a process, each with its listeners, from start to stop: what `dev` and `node` share.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, AdminServer};
use crate::backend::BoxFuture;
use crate::cluster::{ClusterNode, RunningCluster, Started};
use crate::exit::StartError;
use crate::progress;
use crate::resp::{self, RespServer};
use crate::signals::Signals;

/// A stop that takes longer is given up.
const STOP_MAX: Duration = Duration::from_secs(10);

const STOP_TIMEOUT: StartError = StartError::StopTimeout { seconds: STOP_MAX.as_secs() };

/// What is opened for the nodes, and what is said of them.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What the first line says: where the data is.
    pub(crate) data: String,
    /// The listeners of each node.
    pub(crate) nodes: Vec<Listeners>,
    /// What the last line says between `ready` and the time: `nodes=3 groups=8`.
    pub(crate) ready: String,
}

/// The listeners of one node.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// What it is called in its line.
    pub(crate) name: u64,
    /// For Redis clients, if it serves any.
    pub(crate) resp: Option<(SocketAddr, resp::Settings)>,
    /// For operators, if it has admin pages.
    pub(crate) admin: Option<(SocketAddr, admin::Settings)>,
}

/// Runs nodes until a signal: awaits `start`, opens the listeners, prints `data …`, one line per node and, when the
/// groups have leaders, `ready … in=412ms` to `out`; and stops them.
///
/// # Errors
/// What made the start or the stop fail. Whatever was started has been stopped, as far as the time sufficed.
pub(crate) async fn run(
    plan: Plan,
    start: BoxFuture<'_, Started>,
    signals: Signals,
    out: &mut (dyn Write + Send),
) -> Result<(), StartError> {
    let work = async {
        let begun = Instant::now();
        let running = tokio::select! {
            biased;
            started = start => started?,
            () = stop_is_late(&signals.stop) => return Err(STOP_TIMEOUT),
        };
        let result = serve(plan, running.as_ref(), &signals.stop, begun, out).await;
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
    plan: Plan,
    running: &dyn RunningCluster,
    stop: &CancellationToken,
    begun: Instant,
    out: &mut (dyn Write + Send),
) -> Result<Frontends, StartError> {
    print(out, format_args!("data {}\n", plan.data))?;
    let frontends = open_frontends(plan.nodes, running, stop, out).await?;
    tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(frontends),
        ready = running.ready() => ready?,
        never = progress::tell(running) => match never {},
    }
    print(out, format_args!("ready {} in={}ms\n", plan.ready, begun.elapsed().as_millis()))?;
    stop.cancelled().await;
    Ok(frontends)
}

async fn open_frontends(
    listeners: Vec<Listeners>,
    running: &dyn RunningCluster,
    stop: &CancellationToken,
    out: &mut (dyn Write + Send),
) -> Result<Frontends, StartError> {
    let stop_admin = CancellationToken::new();
    let mut frontends =
        Frontends { stopping: stop.clone(), stop_admin, resp: JoinSet::new(), admin: JoinSet::new() };
    for (listeners, node) in listeners.into_iter().zip(running.nodes()) {
        let name = listeners.name;
        let peer_addr = node.peer_addr;
        let (resp_addr, admin_addr) = frontends.open(listeners, node).await?;
        let resp_addr = resp_addr.map_or_else(|| "-".to_owned(), |addr| addr.to_string());
        let admin_addr = admin_addr.map_or_else(|| "-".to_owned(), |addr| format!("http://{addr}"));
        print(out, format_args!("node {name} resp={resp_addr} admin={admin_addr} peer={peer_addr}\n"))?;
    }
    Ok(frontends)
}

impl Frontends {
    /// Opens the listeners of one node and tells where they are.
    async fn open(
        &mut self,
        listeners: Listeners,
        node: ClusterNode,
    ) -> Result<(Option<SocketAddr>, Option<SocketAddr>), StartError> {
        let (mut resp_addr, mut admin_addr) = (None, None);
        if let Some((address, settings)) = listeners.resp {
            let resp = RespServer::bind(address, Arc::clone(&node.backend), settings).await?;
            resp_addr = Some(resp.local_addr());
            self.resp.spawn(resp.serve(self.stopping.clone()));
        }
        if let Some((address, settings)) = listeners.admin {
            let admin = AdminServer::bind(address, node.backend, settings).await?;
            admin_addr = Some(admin.local_addr());
            let (stopping, stop_admin) = (self.stopping.clone(), self.stop_admin.clone());
            self.admin.spawn(async move {
                if let Err(error) = admin.serve(stopping, stop_admin).await {
                    tracing::error!(%error, "the admin pages have ended");
                }
            });
        }
        Ok((resp_addr, admin_addr))
    }
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
            let finished = async { while frontends.admin.join_next().await.is_some() {} };
            // Somebody's unfinished request must not turn a clean stop into a failed one.
            let _late = tokio::time::timeout(ADMIN_DRAIN_MAX, finished).await;
            frontends.admin.shutdown().await;
        }
        stopped
    };
    tokio::time::timeout(STOP_MAX, stop).await.map_err(|_| STOP_TIMEOUT)?
}

/// For the admin requests that are under way when all else has stopped.
const ADMIN_DRAIN_MAX: Duration = Duration::from_secs(1);

/// Ends [`STOP_MAX`] after `stop`: for a start that is not done by then.
async fn stop_is_late(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(STOP_MAX).await;
}

fn print(out: &mut (dyn Write + Send), line: fmt::Arguments<'_>) -> Result<(), StartError> {
    let printed: io::Result<()> = out.write_fmt(line).and_then(|()| out.flush());
    printed.map_err(|source| StartError::Io { action: "write to standard output", source })
}
