//! `quorate dev`: a whole cluster in this process.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::block_on;
use crate::cluster::Cluster;
use crate::dev::{self, DataDir};
use crate::exit::StartError;
use crate::options::{DevOptions, RoutingMode, Store};
use crate::signals;

/// Options of `quorate dev`. Node i, from 0, takes port + i of each listener, all on 127.0.0.1.
#[derive(Debug, Args)]
pub(super) struct DevArgs {
    /// Nodes, 1 to 9.
    #[arg(long, default_value_t = 3)]
    nodes: u16,
    /// Raft groups that share the keys, 1 to 4096. Fixed for a data directory.
    #[arg(long, default_value_t = 8)]
    groups: u32,
    /// Data directory. Without it: a fresh temporary one, removed at a clean stop.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// First port of the Redis protocol; 0 takes any free ports.
    #[arg(long, default_value_t = 6380)]
    resp_port: u16,
    /// First port of the admin pages; 0 takes any free ports.
    #[arg(long, default_value_t = 9180)]
    admin_port: u16,
    /// First port between nodes; 0 takes any free ports.
    #[arg(long, default_value_t = 7380)]
    peer_port: u16,
    /// Store of the state machines.
    #[arg(long, value_enum, default_value_t)]
    store: Store,
    /// What a client gets for a key that another node leads: MOVED, or the answer.
    #[arg(long, value_enum, default_value_t = RoutingMode::Proxy)]
    routing: RoutingMode,
    /// Entries applied between two snapshots.
    #[arg(long, hide = true)]
    snapshot_entries: Option<u64>,
}

impl DevArgs {
    /// Runs the cluster until a signal.
    pub(super) fn run(self, cluster: &dyn Cluster) -> Result<(), StartError> {
        let data = match self.data.clone() {
            Some(path) => DataDir::Kept(path),
            None => DataDir::temporary()?,
        };
        if let DataDir::Temporary(path) = &data {
            let path = path.display();
            let _ = writeln!(
                std::io::stderr(),
                "quorate: {path} is removed at a clean stop; --data DIR keeps the data"
            );
        }
        let options = self.options(data.path().to_path_buf());
        let result = block_on(async {
            let signals = signals::listen()?;
            dev::run(options, cluster, signals, &mut std::io::stdout()).await
        });
        if result.is_ok() {
            data.remove_temporary();
        }
        result
    }

    fn options(self, data: PathBuf) -> DevOptions {
        DevOptions {
            nodes: self.nodes,
            groups: self.groups,
            data,
            resp_port: self.resp_port,
            admin_port: self.admin_port,
            peer_port: self.peer_port,
            store: self.store,
            routing: self.routing,
            snapshot_entries: self.snapshot_entries,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Cli, Command};
    use super::*;

    fn parse(args: &[&str]) -> Result<DevOptions, clap::Error> {
        let args = ["quorate", "dev"].iter().chain(args);
        let Command::Dev(dev) = Cli::try_parse_from(args)?.command else { unreachable!("dev was asked for") };
        let data = dev.data.clone().unwrap_or_default();
        Ok(dev.options(data))
    }

    #[test]
    fn dev_without_options_is_three_nodes_and_eight_groups() {
        let options = parse(&[]).unwrap();
        assert_eq!((options.nodes, options.groups), (3, 8));
        assert_eq!((options.resp_port, options.admin_port, options.peer_port), (6380, 9180, 7380));
        assert_eq!((options.store, options.routing), (Store::Lsm, RoutingMode::Proxy));
        assert!(options.check().is_ok());
    }

    #[test]
    fn every_option_reaches_its_setting() {
        let args = "--nodes 1 --groups 64 --data d --resp-port 1 --admin-port 2 --peer-port 3 --store sled --routing cluster \
                    --snapshot-entries 9";
        let options = parse(&args.split_whitespace().collect::<Vec<_>>()).unwrap();
        let expected = DevOptions {
            nodes: 1,
            groups: 64,
            data: PathBuf::from("d"),
            resp_port: 1,
            admin_port: 2,
            peer_port: 3,
            store: Store::Sled,
            routing: RoutingMode::Cluster,
            snapshot_entries: Some(9),
        };
        assert_eq!(options, expected);
        assert!(parse(&["--store", "other"]).is_err() && parse(&["--nodes", "x"]).is_err());
    }
}
