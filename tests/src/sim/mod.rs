//! The full stack on a simulated network, disk and clock: real actors, transport, log and snapshots.

mod host;
mod net;
mod trace;

pub use host::{DATA, NODES, Setup, SimHost, hosts};
pub use net::TurmoilNet;
pub use trace::{Trace, TraceSum};

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use parking_lot::Mutex;
    use tokio::sync::watch;

    const TASKS: usize = 64;

    /// In which order tasks that wait on a `watch` are woken.
    fn woken(seed: u64) -> Vec<usize> {
        let order = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&order);
        let mut sim = turmoil::Builder::new().rng_seed(seed).build();
        sim.client("node", async move {
            let sender = watch::Sender::new(0);
            let tasks = (0..TASKS).map(|at| {
                let (mut receiver, told) = (sender.subscribe(), Arc::clone(&told));
                tokio::spawn(async move { receiver.changed().await.map(|()| told.lock().push(at)) })
            });
            let tasks: Vec<_> = tasks.collect();
            tokio::time::sleep(Duration::from_millis(1)).await;
            sender.send(1)?;
            for task in tasks {
                task.await??;
            }
            Ok(())
        });
        sim.run().unwrap();
        order.lock().clone()
    }

    /// It does only where tokio is built with `tokio_unstable`: `.cargo/config.toml`.
    #[test]
    fn the_seed_decides_in_which_order_tasks_are_woken() {
        let orders = [1, 1, 2].map(woken);
        assert!(orders.iter().all(|order| order.len() == TASKS));
        assert_eq!(orders[0], orders[1]);
        assert_ne!(orders[0], orders[2]);
    }
}
