//! How far a start is: a bar on a terminal, else a line in the log now and then.

use std::convert::Infallible;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use quorate::StartProgress;
use tokio::time::{Instant, sleep};

use crate::cluster::RunningCluster;

/// Time between two lines in the log.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Time between two looks while there is a bar.
const BAR_INTERVAL: Duration = Duration::from_millis(200);
/// A start that takes no longer shows no bar.
const BAR_AFTER: Duration = Duration::from_secs(1);

const TEMPLATE: &str = "{bar:30} {pos}/{len} groups ready{msg}";

/// Tells it on standard error until it is dropped.
pub(crate) async fn tell(running: &dyn RunningCluster) -> Infallible {
    if io::stderr().is_terminal() { draw(running).await } else { log(running).await }
}

async fn log(running: &dyn RunningCluster) -> Infallible {
    let begun = Instant::now();
    loop {
        sleep(LINE_INTERVAL).await;
        let StartProgress { opening, restoring, replaying, leaderless, ready, out_of_service } =
            running.progress();
        tracing::info!(
            waited_s = begun.elapsed().as_secs(),
            opening,
            restoring,
            replaying,
            leaderless,
            ready,
            out_of_service,
            "starting"
        );
    }
}

/// Removes the bar when the wait has ended, whichever way.
struct Shown(ProgressBar);

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

async fn draw(running: &dyn RunningCluster) -> Infallible {
    sleep(BAR_AFTER).await;
    let style = ProgressStyle::with_template(TEMPLATE);
    let bar = ProgressBar::new(0);
    let shown = Shown(style.map_or(bar.clone(), |style| bar.with_style(style)));
    loop {
        let progress = running.progress();
        shown.0.set_length(progress.total() as u64);
        shown.0.set_position((progress.ready + progress.out_of_service) as u64);
        shown.0.set_message(stages(&progress));
        sleep(BAR_INTERVAL).await;
    }
}

/// The stages in which there are groups.
pub(crate) fn stages(progress: &StartProgress) -> String {
    let StartProgress { opening, restoring, replaying, leaderless, out_of_service, .. } = *progress;
    let stages = [
        (opening, "opening"),
        (restoring, "restoring"),
        (replaying, "replaying"),
        (leaderless, "without a leader"),
        (out_of_service, "out of service"),
    ];
    let told = stages.iter().filter(|(groups, _)| *groups > 0);
    told.fold(String::new(), |text, (groups, stage)| text + &format!(", {groups} {stage}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stages_with_groups_are_told() {
        let progress = StartProgress { restoring: 2, replaying: 1, ready: 5, ..StartProgress::default() };
        assert_eq!(stages(&progress), ", 2 restoring, 1 replaying");
        assert_eq!(stages(&StartProgress::default()), "");
    }
}
