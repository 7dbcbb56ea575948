//! How far a command is: a bar on a terminal, else a line now and then. Both on standard error.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use quorate_telemetry::Clock;

/// Time between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Where it is known how much it will be.
const BAR: &str = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left{msg}";
/// Where it is not.
const SPINNER: &str = "{spinner} {bytes} {bytes_per_sec}{msg}";

/// Tells how far it is.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    clock: Arc<dyn Clock>,
    /// What is done to the bytes: `checked`.
    done: &'static str,
    /// When the last line was written, or the work began.
    told_at: Duration,
}

impl Progress {
    /// `done` says what is done to the bytes, as `checked`.
    pub(super) fn new(clock: Arc<dyn Clock>, done: &'static str) -> Self {
        let bar = io::stderr().is_terminal().then(|| ProgressBar::no_length().with_style(style(SPINNER)));
        let told_at = clock.monotonic();
        Self { bar, clock, done, told_at }
    }

    /// So many `bytes` are done, of `total` if that is known; `note` says more, or is empty.
    pub(super) fn tell(&mut self, bytes: u64, total: Option<u64>, note: &dyn Fn() -> String) {
        if let Some(bar) = &self.bar {
            if let Some(total) = total {
                if bar.length().is_none() {
                    bar.set_style(style(BAR));
                }
                bar.set_length(total.max(bytes));
            }
            bar.set_position(bytes);
            let note = note();
            if !note.is_empty() {
                bar.set_message(format!(", {note}"));
            }
            return;
        }
        let time = self.clock.monotonic();
        if time.saturating_sub(self.told_at) >= LINE_INTERVAL {
            self.told_at = time;
            let _ = writeln!(io::stderr(), "{}", line(self.done, bytes, total, &note()));
        }
    }

    /// Removes the bar.
    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn line(done: &str, bytes: u64, total: Option<u64>, note: &str) -> String {
    let comma = if note.is_empty() { "" } else { ", " };
    let mebibytes = bytes >> 20;
    match total {
        Some(total) => {
            let percent = bytes.saturating_mul(100) / total.max(bytes).max(1);
            format!("quorate: {percent} % {done}, {mebibytes} of {} MiB{comma}{note}", total >> 20)
        }
        None => format!("quorate: {mebibytes} MiB {done}{comma}{note}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        let told = line("checked", 3 << 20, Some(12 << 20), "1 findings");
        assert_eq!(told, "quorate: 25 % checked, 3 of 12 MiB, 1 findings");
        assert_eq!(line("checked", 0, Some(0), ""), "quorate: 0 % checked, 0 of 0 MiB");
        assert_eq!(
            line("backed up", 3 << 20, None, "1 of 9 groups"),
            "quorate: 3 MiB backed up, 1 of 9 groups"
        );
    }
}
