//! A graceful stop: what was begun is finished and answered, nothing else is accepted.

use std::sync::Arc;

use quorate_server::{Backend, Limits};
use tokio::net::TcpStream;

use crate::client::{PATIENCE, TestServer, request};
use crate::gated::GatedBackend;

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight_and_closes() {
    let backend = Arc::new(GatedBackend::closed());
    let server = TestServer::start(Arc::clone(&backend) as Arc<dyn Backend>, Limits::default()).await;
    let mut idle = server.client().await;
    idle.check(&["PING"], "+PONG\r\n").await;
    let mut busy = server.client().await;
    busy.send(request(&["SET", "a", "1"])).await;
    let begun = async {
        while backend.write_calls.load(std::sync::atomic::Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.unwrap();
    server.stop.cancel();
    assert_eq!(idle.rest().await, "", "an idle connection is closed at once");
    assert!(TcpStream::connect(server.address).await.is_err(), "nothing more is accepted");
    backend.writes.add_permits(1);
    assert_eq!(busy.rest().await, "+OK\r\n");
    tokio::time::timeout(PATIENCE, server.task).await.unwrap().unwrap();
    assert_eq!(backend.memory.key_count(), 1);
}
