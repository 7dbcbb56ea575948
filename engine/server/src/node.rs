//! `quorate node`: one node of a cluster as a process.

use std::io::Write;

use crate::admin;
use crate::cluster::Cluster;
use crate::config::{LoadedConfig, Printed};
use crate::exit::StartError;
use crate::serve::{self, Listeners, Plan};
use crate::signals::Signals;

/// Runs the node of `config` until a signal: starts it, prints `node 1 resp=… admin=… peer=…` and, when its groups have
/// leaders, `ready node=1 groups=8 in=412ms` to `out`; then stops it. The other nodes may come hours later.
///
/// # Errors
/// What made the start or the stop fail. Whatever was started has been stopped, as far as the time sufficed.
pub async fn run(
    config: &LoadedConfig,
    cluster: &dyn Cluster,
    signals: Signals,
    out: &mut (dyn Write + Send),
) -> Result<(), StartError> {
    let settings = &config.settings;
    let page = config.to_toml(Printed::Effective);
    let admin = admin::Settings {
        token: settings.admin.token.clone(),
        plaintext: settings.admin.plaintext,
        config: Some(page.into()),
    };
    let listeners = Listeners {
        name: settings.node,
        resp: settings.listen_resp().map(|address| (address, settings.resp())),
        admin: settings.listen_admin().map(|address| (address, admin)),
    };
    if let Some(address) = settings.listen_peer().filter(|address| !address.ip().to_canonical().is_loopback())
    {
        tracing::warn!(%address, "whoever reaches the peer address can read and change the data: there is no TLS yet");
    }
    let plan = Plan {
        data: settings.data_dir.display().to_string(),
        nodes: vec![listeners],
        ready: format!("node={} groups={}", settings.node, settings.bootstrap.groups),
    };
    serve::run(plan, cluster.start_node(settings), signals, out).await
}
