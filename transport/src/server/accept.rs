//! Takes connections and bounds those whose other side is not known yet.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::net::{Connection, Listener};
use crate::server::incoming::Incoming;
use crate::server::registry::Registry;
use crate::shared::{Alive, Shared};
use crate::stats::add;

/// Pause after a failed accept (out of descriptors, mostly), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the transport stops.
pub(crate) async fn serve(mut listener: Box<dyn Listener>, shared: Arc<Shared>, alive: Alive) {
    let half_open = Arc::new(Semaphore::new(shared.config.handshakes_max));
    let registry = Arc::new(Registry::default());
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.draining.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let Ok(permit) = half_open.clone().try_acquire_owned() else {
                    add(&shared.stats.half_open_refused, 1);
                    continue;
                };
                let connection = Accepted { stream, permit, registry: registry.clone() };
                tokio::spawn(connection.run(shared.clone(), alive.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // In this order: once the transport has stopped, its address can be listened on again.
    drop(listener);
    drop(alive);
}

#[derive(Debug)]
struct Accepted {
    stream: Box<dyn Connection>,
    permit: OwnedSemaphorePermit,
    registry: Arc<Registry>,
}

impl Accepted {
    async fn run(self, shared: Arc<Shared>, _alive: Alive) {
        let Self { stream, permit, registry } = self;
        let work = async {
            let connection = shared.handshake().accept(stream).await?;
            drop(permit);
            add(&shared.stats.accepts, 1);
            Incoming::new(&shared, connection.node).run(connection, &registry).await
        };
        let end = tokio::select! {
            biased;
            () = shared.stopped.cancelled() => return,
            end = work => end,
        };
        if let Err(error) = end {
            shared.stats.count_end(&error);
            tracing::debug!(%error, "accepted connection ended");
        }
    }
}
