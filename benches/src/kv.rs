//! `bench kv`: closed-loop clients, uniform keys, unique values.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use quorate::{Node, ReadLevel, StoreKind};
use quorate_telemetry::Rng as _;
use quorate_telemetry::rng::SeededRng;
use serde::Serialize;

use crate::cluster::Cluster;
use crate::{Error, machine};

/// Distinct keys.
const KEYS: u64 = 1_000_000;
/// Longest latency told apart, in microseconds.
const LATENCY_US_MAX: u64 = 60_000_000;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Groups beside group 0.
    #[arg(long, default_value_t = 8)]
    groups: u16,
    /// Clients; each has one operation under way.
    #[arg(long, default_value_t = 64)]
    clients: u64,
    /// Bytes of a value, at least 16.
    #[arg(long, default_value_t = 128)]
    value_bytes: usize,
    /// Seconds of writing, and again of reading.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Nodes in this process.
    #[arg(long, default_value_t = 3)]
    nodes: u64,
    /// State store: lsm, sled or memory.
    #[arg(long, default_value = "lsm")]
    store: StoreKind,
    /// Where the nodes' directories are made, and removed afterwards; on the disk that is to be measured.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Also writes the report here.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Seed of the keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The report. Latencies are those of writes.
#[derive(Serialize)]
struct Report {
    groups: u16,
    clients: u64,
    value_bytes: usize,
    seconds: u64,
    nodes: u64,
    store: String,
    writes_per_s: f64,
    reads_per_s: f64,
    p50_us: u64,
    p99_us: u64,
    p999_us: u64,
    read_p50_us: u64,
    read_p99_us: u64,
    write_errors: u64,
    read_errors: u64,
    syncs_per_s: f64,
    writes_per_sync: f64,
    bytes_written_per_payload_byte: f64,
    cpu_s_per_100k_writes: f64,
    cpu_s_per_100k_reads: f64,
    peak_rss_mib: f64,
    fdatasync_per_s: f64,
    filesystem: String,
}

/// What one phase measured.
struct Phase {
    operations: u64,
    errors: u64,
    elapsed: Duration,
    cpu: Duration,
    latency: Histogram<u64>,
}

impl Phase {
    fn per_s(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64()
    }

    fn cpu_s_per_100k(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e5 / self.operations.max(1) as f64
    }

    fn quantile_us(&self, quantile: f64) -> u64 {
        self.latency.value_at_quantile(quantile)
    }
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let io = |what| move |source| Error::Io { what, source };
    let dir = tempfile::Builder::new().prefix("quorate-bench-").tempdir_in(&options.dir);
    let dir = dir.map_err(io("cannot make a directory"))?;
    let fdatasync_per_s = machine::fdatasync_per_s(dir.path()).map_err(io("cannot probe the disk"))?;
    let filesystem = machine::filesystem(dir.path()).map_err(io("cannot read the mounts"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(io("cannot start the runtime"))?;
    let report = runtime.block_on(async {
        let cluster = Cluster::start(dir.path(), options.nodes, options.groups, options.store).await?;
        let (syncs_before, bytes_before) = cluster.disk_counts();
        let writes = phase(&cluster.nodes, options, Operation::Write).await;
        let (syncs, bytes) = cluster.disk_counts();
        let reads = phase(&cluster.nodes, options, Operation::Read).await;
        cluster.stop().await?;
        let syncs = syncs - syncs_before;
        let payload_bytes = writes.operations * (options.value_bytes as u64 + 8);
        Ok::<_, Error>(Report {
            groups: options.groups,
            clients: options.clients,
            value_bytes: options.value_bytes,
            seconds: options.seconds,
            nodes: options.nodes,
            store: options.store.to_string(),
            writes_per_s: writes.per_s(),
            reads_per_s: reads.per_s(),
            p50_us: writes.quantile_us(0.5),
            p99_us: writes.quantile_us(0.99),
            p999_us: writes.quantile_us(0.999),
            read_p50_us: reads.quantile_us(0.5),
            read_p99_us: reads.quantile_us(0.99),
            write_errors: writes.errors,
            read_errors: reads.errors,
            syncs_per_s: syncs as f64 / writes.elapsed.as_secs_f64(),
            writes_per_sync: writes.operations as f64 / syncs.max(1) as f64,
            bytes_written_per_payload_byte: (bytes - bytes_before) as f64 / payload_bytes.max(1) as f64,
            cpu_s_per_100k_writes: writes.cpu_s_per_100k(),
            cpu_s_per_100k_reads: reads.cpu_s_per_100k(),
            peak_rss_mib: machine::peak_rss_mib().map_err(io("cannot read the memory"))?,
            fdatasync_per_s,
            filesystem,
        })
    })?;
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

#[derive(Clone, Copy)]
enum Operation {
    Write,
    Read,
}

async fn phase(nodes: &[Node], options: &Options, operation: Operation) -> Phase {
    let unique = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let end = started + Duration::from_secs(options.seconds);
    let cpu = machine::cpu_time();
    let clients: Vec<_> = (0..options.clients)
        .map(|client| {
            let node = nodes[usize::try_from(client).expect("clients fit") % nodes.len()].clone();
            let rng = SeededRng::new(options.seed.wrapping_mul(1_000_003).wrapping_add(client));
            let value_bytes = options.value_bytes.max(16);
            tokio::spawn(run_client(node, rng, Arc::clone(&unique), value_bytes, end, operation))
        })
        .collect();
    let mut latency = empty_histogram();
    let mut errors = 0;
    for client in clients {
        let (part, failed) = client.await.expect("a client does not panic");
        latency.add(part).expect("equal bounds");
        errors += failed;
    }
    Phase {
        operations: latency.len(),
        errors,
        elapsed: started.elapsed(),
        cpu: machine::cpu_time().saturating_sub(cpu),
        latency,
    }
}

#[expect(clippy::too_many_arguments, reason = "one client's whole setting, named at its one call")]
async fn run_client(
    node: Node,
    rng: SeededRng,
    unique: Arc<AtomicU64>,
    value_bytes: usize,
    end: Instant,
    operation: Operation,
) -> (Histogram<u64>, u64) {
    let mut latency = empty_histogram();
    let mut errors = 0;
    while Instant::now() < end {
        let key = key(rng.below(KEYS));
        let started = Instant::now();
        let succeeded = match operation {
            Operation::Write => {
                let value = value(unique.fetch_add(1, Ordering::Relaxed), value_bytes);
                node.put(key, value).await.is_ok()
            }
            Operation::Read => node.get(key, ReadLevel::Linearizable).await.is_ok(),
        };
        if succeeded {
            let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(LATENCY_US_MAX);
            latency.saturating_record(micros);
        } else {
            errors += 1;
        }
    }
    (latency, errors)
}

fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_US_MAX, 3).expect("bounds are constants")
}

/// Keys spread over all first bytes, so that uniform ranges share them evenly.
fn key(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes())
}

fn value(unique: u64, bytes: usize) -> Bytes {
    let mut value = vec![b'v'; bytes];
    value[..8].copy_from_slice(&unique.to_le_bytes());
    value.into()
}
