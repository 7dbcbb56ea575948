//! The load generator: `redis-benchmark`, once per measurement.

use std::process::Command;

use super::servers::Server;
use crate::Error;

/// One setting of the load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) clients: u32,
    pub(super) pipeline: u32,
    pub(super) requests: u64,
    pub(super) keys: u64,
    pub(super) value_bytes: usize,
}

/// Requests per second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    pub(super) set_per_s: f64,
    pub(super) get_per_s: f64,
}

impl Load {
    /// `SET`s, then `GET`s. The generator counts error replies as answers, so the servers are asked for them.
    pub(super) fn run(&self, server: &dyn Server) -> Result<Rates, Error> {
        let errors_before = server.error_replies()?;
        let mut command = Command::new("redis-benchmark");
        command.args(["-h", "127.0.0.1", "-p", &server.port().to_string(), "--csv", "-t", "set,get"]);
        command.args(["-c", &self.clients.to_string(), "-P", &self.pipeline.to_string()]);
        command.args(["-n", &self.requests.to_string(), "-r", &self.keys.to_string()]);
        command.args(["-d", &self.value_bytes.to_string()]);
        if server.is_cluster() {
            command.arg("--cluster");
        }
        let output = command.output().map_err(|source| Error::Io { what: "redis-benchmark", source })?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::Load(format!("redis-benchmark ended with {}: {complaint}", output.status)));
        }
        let errors = server.error_replies()? - errors_before;
        if errors > 0 {
            return Err(Error::Load(format!("{} answered {errors} requests with errors", server.name())));
        }
        Ok(Rates { set_per_s: rate(&text, "SET")?, get_per_s: rate(&text, "GET")? })
    }
}

/// The second field of the line `"SET","76335.88",...`.
fn rate(csv: &str, operation: &str) -> Result<f64, Error> {
    let fields =
        |line: &str| line.split(',').map(|field| field.trim_matches('"').to_owned()).collect::<Vec<_>>();
    let rate = csv.lines().map(fields).find(|fields| fields.first().is_some_and(|name| name == operation));
    rate.and_then(|fields| fields.get(1)?.parse().ok())
        .ok_or_else(|| Error::Load(format!("redis-benchmark printed no rate of {operation}: {csv}")))
}
