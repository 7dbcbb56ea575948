//! `bench resp`: the Redis frontend of a replicated cluster against one Redis server that syncs every write, both
//! under the same load generator, `redis-benchmark`, in alternating rounds.

mod load;
mod servers;

use std::path::PathBuf;

use serde::Serialize;

use self::load::Load;
use self::servers::{Quorate, RedisServer, Server};
use crate::{Error, machine};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Groups of the cluster beside group 0.
    #[arg(long, default_value_t = 8)]
    groups: u16,
    /// Nodes of the cluster, each a process.
    #[arg(long, default_value_t = 3)]
    nodes: u16,
    /// Connections of the load generator.
    #[arg(long, default_value_t = 50)]
    clients: u32,
    /// Requests a connection has under way: one figure for each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16])]
    pipelines: Vec<u32>,
    /// Requests of one measurement.
    #[arg(long, default_value_t = 100_000)]
    requests: u64,
    /// Distinct keys.
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 128)]
    value_bytes: usize,
    /// Rounds; each measures both servers, the first one alternating.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// State store: lsm, sled or memory.
    #[arg(long, default_value = "lsm")]
    store: String,
    /// Where the servers' directories are made, and removed afterwards; on the disk that is to be measured.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Also writes the report here.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    nodes: u16,
    groups: u16,
    store: String,
    clients: u32,
    requests: u64,
    keys: u64,
    value_bytes: usize,
    rounds: usize,
    results: Vec<Comparison>,
    fdatasync_per_s: f64,
    filesystem: String,
    redis_version: String,
}

/// One operation at one depth of pipelining. A ratio is Quorate's rate by Redis's of the same round.
#[derive(Serialize)]
struct Comparison {
    operation: &'static str,
    pipeline: u32,
    ratio_median: f64,
    ratio_min: f64,
    ratio_max: f64,
    quorate_per_s: Vec<f64>,
    redis_per_s: Vec<f64>,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let io = |what| move |source| Error::Io { what, source };
    let dir = tempfile::Builder::new().prefix("quorate-bench-").tempdir_in(&options.dir);
    let dir = dir.map_err(io("cannot make a directory"))?;
    let fdatasync_per_s = machine::fdatasync_per_s(dir.path()).map_err(io("cannot probe the disk"))?;
    let filesystem = machine::filesystem(dir.path()).map_err(io("cannot read the mounts"))?;
    let redis = RedisServer::start(dir.path())?;
    let quorate = Quorate::start(dir.path(), options.nodes, options.groups, &options.store)?;
    let report = Report {
        nodes: options.nodes,
        groups: options.groups,
        store: options.store.clone(),
        clients: options.clients,
        requests: options.requests,
        keys: options.keys,
        value_bytes: options.value_bytes,
        rounds: options.rounds,
        results: compare(options, &quorate, &redis)?,
        fdatasync_per_s,
        filesystem,
        redis_version: redis.version()?,
    };
    let text = serde_json::to_string_pretty(&report)?;
    if let Some(path) = &options.json {
        machine::write_report(path, &text).map_err(io("cannot write the report"))?;
    }
    #[expect(clippy::print_stdout, reason = "the report is what this tool is for")]
    {
        println!("{text}");
    }
    Ok(())
}

fn compare(options: &Options, quorate: &dyn Server, redis: &dyn Server) -> Result<Vec<Comparison>, Error> {
    let mut results = Vec::new();
    for &pipeline in &options.pipelines {
        let load = Load {
            clients: options.clients,
            pipeline,
            requests: options.requests,
            keys: options.keys,
            value_bytes: options.value_bytes,
        };
        let empty = |operation| Comparison {
            operation,
            pipeline,
            ratio_median: f64::NAN,
            ratio_min: f64::NAN,
            ratio_max: f64::NAN,
            quorate_per_s: Vec::new(),
            redis_per_s: Vec::new(),
        };
        let (mut set, mut get) = (empty("SET"), empty("GET"));
        for round in 0..options.rounds {
            // Who comes first alternates, so that a drift of the machine favours nobody.
            let order = if round % 2 == 0 { [true, false] } else { [false, true] };
            for is_quorate in order {
                let rates = load.run(if is_quorate { quorate } else { redis })?;
                let pick = |comparison: &mut Comparison, rate| {
                    let rates =
                        if is_quorate { &mut comparison.quorate_per_s } else { &mut comparison.redis_per_s };
                    rates.push(rate);
                };
                pick(&mut set, rates.set_per_s);
                pick(&mut get, rates.get_per_s);
            }
        }
        results.extend([set, get].map(Comparison::with_ratios));
    }
    Ok(results)
}

impl Comparison {
    fn with_ratios(mut self) -> Self {
        let pairs = self.quorate_per_s.iter().zip(&self.redis_per_s);
        let mut ratios: Vec<f64> = pairs.map(|(quorate, redis)| quorate / redis).collect();
        ratios.sort_by(f64::total_cmp);
        if let (Some(&min), Some(&max)) = (ratios.first(), ratios.last()) {
            (self.ratio_min, self.ratio_max) = (min, max);
            self.ratio_median = ratios[ratios.len() / 2];
        }
        self
    }
}
