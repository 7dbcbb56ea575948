//! How far a verification is: a bar on a terminal, else a line now and then. Both on standard error.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use quorate::storage::offline::VerifyProgress;
use quorate_telemetry::Clock;

/// Time between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

const TEMPLATE: &str = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left{msg}";

/// Tells how far it is.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    clock: Arc<dyn Clock>,
    /// When the last line was written, or the work began.
    told_at: Duration,
}

impl Progress {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let style = ProgressStyle::with_template(TEMPLATE).ok();
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            style.map_or(bar.clone(), |style| bar.with_style(style))
        });
        let told_at = clock.monotonic();
        Self { bar, clock, told_at }
    }

    pub(super) fn tell(&mut self, now: &VerifyProgress) {
        if let Some(bar) = &self.bar {
            bar.set_length(now.bytes_total.max(now.bytes));
            bar.set_position(now.bytes);
            if now.findings > 0 {
                bar.set_message(format!(", {} findings", now.findings));
            }
            return;
        }
        let time = self.clock.monotonic();
        if time.saturating_sub(self.told_at) >= LINE_INTERVAL {
            self.told_at = time;
            let _ = writeln!(io::stderr(), "{}", line(now));
        }
    }

    /// Removes the bar.
    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn line(now: &VerifyProgress) -> String {
    let percent = now.bytes.saturating_mul(100) / now.bytes_total.max(now.bytes).max(1);
    let mebibytes = [now.bytes, now.bytes_total].map(|bytes| bytes >> 20);
    let [done, total] = mebibytes;
    format!("quorate: {percent} % checked, {done} of {total} MiB, {} findings", now.findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        let now = VerifyProgress { bytes: 3 << 20, bytes_total: 12 << 20, files: 4, findings: 1 };
        assert_eq!(line(&now), "quorate: 25 % checked, 3 of 12 MiB, 1 findings");
        assert_eq!(line(&VerifyProgress::default()), "quorate: 0 % checked, 0 of 0 MiB, 0 findings");
    }
}
