//! `quorate node`: one node of a cluster.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::block_on;
use crate::cluster::Cluster;
use crate::config::{self, FlagValue, LoadedConfig, Sources};
use crate::exit::StartError;
use crate::{logging, node, signals};

/// Options of `quorate node`.
#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

impl NodeArgs {
    /// Runs the node until a signal.
    pub(super) fn run(self, cluster: &dyn Cluster) -> Result<(), StartError> {
        let config = self.config.load()?;
        logging::install(&config.settings.log);
        block_on(async {
            let signals = signals::listen()?;
            node::run(&config, cluster, signals, &mut std::io::stdout()).await
        })
    }
}

/// A configuration file, and what wins over it. Every key can also be set in the environment: raft.tick is
/// QUORATE_RAFT__TICK.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// The TOML file; `quorate config template` prints one.
    #[arg(long, value_name = "FILE", env = "QUORATE_CONFIG")]
    config: PathBuf,
    /// Id of this node.
    #[arg(long, value_name = "ID")]
    node: Option<String>,
    /// Name of the cluster.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Directory of this node's data.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Where to listen for other nodes.
    #[arg(long, value_name = "ADDRESS")]
    listen_peer: Option<String>,
    /// Where to serve the Redis protocol.
    #[arg(long, value_name = "ADDRESS")]
    listen_resp: Option<String>,
    /// Where to serve the admin pages.
    #[arg(long, value_name = "ADDRESS")]
    listen_admin: Option<String>,
    /// What a client gets for a key that another node leads: `cluster` (MOVED) or `proxy` (the answer).
    #[arg(long, value_name = "MODE")]
    routing: Option<String>,
    /// Store of the state machines: `lsm`, `sled` or `memory`.
    #[arg(long)]
    store: Option<String>,
    /// Sets any key of the file, as raft.tick=100ms. May be given again and again.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

impl ConfigArgs {
    /// Reads file, environment and flags.
    pub(super) fn load(self) -> Result<LoadedConfig, StartError> {
        Ok(config::load(&self.sources(std::env::vars_os().collect()))?)
    }

    fn sources(self, environment: Vec<(OsString, OsString)>) -> Sources {
        let named = [
            ("--node", "node", self.node),
            ("--cluster", "cluster", self.cluster),
            ("--data-dir", "data_dir", self.data_dir),
            ("--listen-peer", "listen.peer", self.listen_peer),
            ("--listen-resp", "listen.resp", self.listen_resp),
            ("--listen-admin", "listen.admin", self.listen_admin),
            ("--routing", "routing", self.routing),
            ("--store", "store", self.store),
        ];
        let named = named.into_iter().filter_map(|(flag, path, value)| {
            Some(FlagValue { flag: flag.to_owned(), path: path.to_owned(), value: value? })
        });
        let set = self.set.into_iter().map(|(path, value)| FlagValue {
            flag: format!("--set {path}"),
            path,
            value,
        });
        Sources { file: self.config, environment, flags: named.chain(set).collect() }
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
