//! Log lines: on standard error, pretty on a terminal and JSON otherwise, filtered by `RUST_LOG`.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Without `RUST_LOG`: what a human should know of, and nothing of what goes as planned.
const FILTER: &str = "warn";

/// Installs the process's subscriber. Keeps the one that is there, if there is one.
pub(crate) fn install() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(FILTER));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let is_terminal = std::io::stderr().is_terminal();
    let installed = if is_terminal { builder.try_init() } else { builder.with_ansi(false).json().try_init() };
    if let Err(error) = installed {
        tracing::debug!(error, "another subscriber is installed already");
    }
}
