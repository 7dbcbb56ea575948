//! Work of a node that takes longer than a request should: asked for again and again, with a word of how far it is.

use std::io::{self, Write as _};
use std::time::Duration;

use clap::Args;
use quorate_telemetry::Clock as _;
use quorate_telemetry::clock::SystemClock;
use serde_json::Value;

use super::target::failed;
use crate::client::{AdminClient, ClientError};
use crate::config::TimeSpan;
use crate::exit::StartError;
use crate::operator::OperatorCode;

/// How long one request has the node work: how often something is told meanwhile.
const STEP: Duration = Duration::from_secs(5);
/// Before a node is asked again that was busy.
const BUSY_PAUSE: Duration = Duration::from_millis(250);

/// How long a command waits.
#[derive(Clone, Copy, Debug, Args)]
pub(in crate::cli) struct Waiting {
    /// How long to wait until it is done.
    #[arg(long, value_name = "TIME", default_value = "10min")]
    timeout: TimeSpan,
}

impl Waiting {
    /// Has the node do what `path` names, and tells on standard error what `progress` says meanwhile.
    ///
    /// # Errors
    /// [`StartError::Failed`] with the node's last word.
    pub(in crate::cli) fn ask(
        self,
        client: &AdminClient,
        path: &str,
        mut progress: impl FnMut() -> String,
    ) -> Result<Value, StartError> {
        let clock = SystemClock::new();
        let began = clock.monotonic();
        let mut asked = path.to_owned();
        loop {
            let waited = clock.monotonic().saturating_sub(began);
            let left = self.timeout.0.saturating_sub(waited);
            let error = match client.post(&asked, left.min(STEP)) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !may_go_on(&error) || left <= STEP {
                return Err(failed(error));
            }
            // What was asked for first stays what is asked for, whatever is written meanwhile.
            if let Some(at_least) = error.at_least() {
                asked = format!("{path}?at_least={at_least}");
            }
            if error.is(OperatorCode::Busy) {
                std::thread::sleep(BUSY_PAUSE);
            } else {
                let waited_s = clock.monotonic().saturating_sub(began).as_secs();
                let _ = writeln!(io::stderr(), "quorate: {} ({waited_s} s)", progress());
            }
        }
    }
}

fn may_go_on(error: &ClientError) -> bool {
    error.is(OperatorCode::Deadline) || error.is(OperatorCode::Busy)
}
