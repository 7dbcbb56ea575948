//! How long a request may take to arrive. Real time, because the clock of a paused runtime does not wait for sockets; no
//! assertion depends on how long anything took.

use std::sync::Arc;
use std::time::Duration;

use quorate_server::{Backend, Limits, MemoryBackend};
use tokio::io::AsyncWriteExt;

use crate::client::{PATIENCE, TestServer};
use crate::gated::GatedBackend;

const TOLD: &str = "-ERR a request has not arrived as a whole within 50ms\r\n";

async fn impatient(backend: Arc<dyn Backend>) -> TestServer {
    let limits = Limits { request_arrival_max: Duration::from_millis(50), ..Limits::default() };
    TestServer::start(backend, limits).await
}

#[tokio::test]
async fn a_request_that_stops_half_way_ends_its_connection_after_the_replies_that_are_due() {
    let server = impatient(Arc::new(MemoryBackend::new())).await;
    for begun in ["*1\r\n", "*2\r\n$3\r\nGET\r\n$1000\r\nxx", "GET a", "*"] {
        let mut client = server.client().await;
        client.send(["PING\r\n", begun].concat()).await;
        assert_eq!(client.rest().await, format!("+PONG\r\n{TOLD}"), "{begun:?}");
    }
}

#[tokio::test]
async fn single_bytes_that_keep_coming_do_not_put_the_end_off() {
    let server = impatient(Arc::new(MemoryBackend::new())).await;
    let mut client = server.client().await;
    client.send("*2\r\n$3\r\nGET\r\n$4194304\r\n").await;
    let (mut reader, mut writer) = client.stream.split();
    let drip = async {
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let mut told = String::new();
    let end = tokio::io::AsyncReadExt::read_to_string(&mut reader, &mut told);
    let end = async {
        tokio::select! {
            biased;
            end = end => end.map(drop),
            () = drip => Ok(()),
        }
    };
    tokio::time::timeout(PATIENCE, end).await.expect("the server closes").expect("a clean close");
    assert_eq!(told, TOLD);
}

#[tokio::test]
async fn neither_silence_between_requests_nor_a_wait_for_the_engine_counts() {
    let backend = Arc::new(GatedBackend::closed());
    let server = impatient(Arc::clone(&backend) as Arc<dyn Backend>).await;
    let (mut silent, mut waiting) = (server.client().await, server.client().await);
    // The second write waits for the first, which the engine has not carried out.
    waiting.send("SET a 1\r\nGET a\r\n").await;
    silent.check(&["PING"], "+PONG\r\n").await;
    // Its whole time passes for a third client, which began after both.
    let mut late = server.client().await;
    late.send("*1\r\n").await;
    assert_eq!(late.rest().await, TOLD);
    silent.check(&["PING"], "+PONG\r\n").await;
    backend.writes.add_permits(1);
    backend.reads.add_permits(1);
    waiting.expect("+OK\r\n$1\r\n1\r\n").await;
}
