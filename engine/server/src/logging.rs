//! Log lines on standard error: their form, and what of them is shown. `RUST_LOG` wins over what is asked for here.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Of commands that people run: what they should know of, and nothing of what goes as planned.
const COMMAND_LEVEL: &str = "warn";

/// Puts another filter in the place of the one there is.
type Reload = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

/// One subscriber per process, so one way to change it.
static RELOAD: OnceLock<Reload> = OnceLock::new();

/// Installs the subscriber of a command.
pub(crate) fn install_for_command() {
    install(&Log { level: COMMAND_LEVEL.to_owned(), format: LogFormat::Auto });
}

/// Installs the process's subscriber. Keeps the one that is there, if there is one.
pub(crate) fn install(log: &Log) {
    let filter = EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(&log.level));
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(COMMAND_LEVEL));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let is_terminal = std::io::stderr().is_terminal();
    let is_text = match log.format {
        LogFormat::Auto => is_terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let (installed, reload): (_, Reload) = if is_text {
        let builder = builder.with_ansi(is_terminal).with_filter_reloading();
        let handle = builder.reload_handle();
        let reload = move |filter| handle.reload(filter).map_err(|error| error.to_string());
        (builder.try_init(), Box::new(reload))
    } else {
        let builder = builder.with_ansi(false).json().with_filter_reloading();
        let handle = builder.reload_handle();
        let reload = move |filter| handle.reload(filter).map_err(|error| error.to_string());
        (builder.try_init(), Box::new(reload))
    };
    match installed {
        Ok(()) => drop(RELOAD.set(reload)),
        Err(error) => tracing::debug!(error, "another subscriber is installed already"),
    }
}

/// Shows from now on what `directives` say: a level, or what `RUST_LOG` takes.
///
/// # Errors
/// They are not understood, or the subscriber is not ours.
pub(crate) fn set_level(directives: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(directives).map_err(|error| error.to_string())?;
    let reload = RELOAD.get().ok_or("this process does not keep its log here")?;
    reload(filter)
}
