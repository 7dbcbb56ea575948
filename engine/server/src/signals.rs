//! SIGTERM and SIGINT: the first asks for a stop, the second for an end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::StartError;

/// What the operator has asked for so far.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// Cancelled by the first signal: stop gracefully.
    pub stop: CancellationToken,
    /// Cancelled by the second: stop at once.
    pub abort: CancellationToken,
}

/// Begins to listen, on the current runtime. The signals no longer end the process by themselves.
///
/// # Errors
/// The system refused the handlers.
pub(crate) fn listen() -> Result<Signals, StartError> {
    let failed = |source: io::Error| StartError::Io { action: "listen for signals", source };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let signals = Signals::default();
    let Signals { stop, abort } = signals.clone();
    tokio::spawn(async move {
        for token in [stop, abort] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            token.cancel();
        }
    });
    Ok(signals)
}
