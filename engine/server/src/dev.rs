//! `quorate dev`: all nodes of a cluster in one process, each with its own listeners.

use std::io::Write;

use crate::admin;
use crate::cluster::Cluster;
use crate::exit::StartError;
use crate::options::DevOptions;
use crate::resp;
use crate::serve::{self, Listeners, Plan};
use crate::signals::Signals;

mod data_dir;

pub use data_dir::DataDir;

/// Runs a cluster until a signal: starts it, prints one line per node and then
/// `ready nodes=3 groups=8 in=412ms` to `out`, and stops it.
///
/// # Errors
/// What made the start or the stop fail. Whatever was started has been stopped, as far as the time sufficed.
pub async fn run(
    options: DevOptions,
    cluster: &dyn Cluster,
    signals: Signals,
    out: &mut (dyn Write + Send),
) -> Result<(), StartError> {
    options.check()?;
    let listeners = |node| Listeners {
        name: u64::from(node),
        resp: Some((options.resp_addr(node), resp::Settings::new(options.routing.into()))),
        admin: Some((options.admin_addr(node), admin::Settings::default())),
    };
    let plan = Plan {
        data: options.data.display().to_string(),
        nodes: (0..options.nodes).map(listeners).collect(),
        ready: format!("nodes={} groups={}", options.nodes, options.groups),
    };
    serve::run(plan, cluster.start(&options), signals, out).await
}
