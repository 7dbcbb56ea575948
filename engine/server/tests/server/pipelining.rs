//! Many requests at once: their order, their concurrency and their bounds.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate_server::{Backend, Limits, MemoryBackend};
use tokio::io::AsyncWriteExt;

use crate::client::{PATIENCE, TestServer, request};
use crate::gated::GatedBackend;

#[tokio::test]
async fn a_long_pipeline_is_answered_in_order() {
    let server = TestServer::in_memory().await;
    let mut client = server.client().await;
    let (mut sent, mut expected) = (Vec::new(), String::new());
    for number in 0..5000 {
        let (key, value) = (format!("k{}", number % 7), format!("v{number}"));
        sent.extend(request(&["SET", &key, &value]));
        sent.extend(request(&["GET", &key]));
        sent.extend(request(&["PING", &value]));
        let bulk = format!("${}\r\n{value}\r\n", value.len());
        expected.extend(["+OK\r\n", &bulk, &bulk]);
    }
    let (mut reader, mut writer) = client.stream.split();
    let mut received = vec![0; expected.len()];
    let (sent, read) = tokio::join!(
        writer.write_all(&sent),
        tokio::io::AsyncReadExt::read_exact(&mut reader, &mut received)
    );
    sent.and(read).unwrap();
    assert!(received == expected.as_bytes());
}

#[tokio::test]
async fn a_read_overtakes_a_write_of_another_key_inside_but_not_on_the_wire() {
    let backend = Arc::new(GatedBackend::closed());
    let server = TestServer::start(Arc::clone(&backend) as Arc<dyn Backend>, Limits::default()).await;
    let mut client = server.client().await;
    client.send([request(&["SET", "a", "1"]), request(&["GET", "b"])].concat()).await;
    backend.reads.add_permits(1);
    // The read is carried out while the write still waits: its permit is gone.
    let read_done = async {
        while backend.reads.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, read_done).await.unwrap();
    assert_eq!(backend.memory.key_count(), 0);
    backend.writes.add_permits(1);
    client.expect("+OK\r\n$-1\r\n").await;
}

#[tokio::test]
async fn sixteen_sets_are_one_call_to_the_backend() {
    let backend = Arc::new(GatedBackend::closed());
    backend.writes.add_permits(1);
    let server = TestServer::start(Arc::clone(&backend) as Arc<dyn Backend>, Limits::default()).await;
    let mut client = server.client().await;
    client.send(request(&["SET", "same", "value"]).repeat(16)).await;
    client.expect("+OK\r\n".repeat(16)).await;
    assert_eq!(backend.write_calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_client_that_half_closes_still_gets_its_replies() {
    let server = TestServer::in_memory().await;
    let mut client = server.client().await;
    client.send("SET a 1\r\nGET a\r\nGET").await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.rest().await, "+OK\r\n$1\r\n1\r\n");
}

#[tokio::test]
async fn a_client_that_takes_no_replies_is_disconnected() {
    let limits = Limits { write_stall_max: Duration::from_millis(50), ..Limits::default() };
    let server = TestServer::start(Arc::new(MemoryBackend::new()), limits).await;
    let mut client = server.client().await;
    client.check(&["SET", "big", &"v".repeat(4 << 20)], "+OK\r\n").await;
    let flood = async {
        // Ends by the server closing the connection: a write fails.
        while client.stream.write_all(&request(&["GET", "big"]).repeat(64)).await.is_ok() {}
    };
    tokio::time::timeout(PATIENCE, flood).await.expect("the server gives up on a client that does not read");
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let server = TestServer::start(Arc::new(MemoryBackend::new()), limits).await;
    let mut first = server.client().await;
    first.check(&["PING"], "+PONG\r\n").await;
    let mut second = server.client().await;
    assert_eq!(second.rest().await, "-ERR max number of clients reached\r\n");
    first.check(&["PING"], "+PONG\r\n").await;
}

#[tokio::test]
async fn replies_beyond_the_reply_buffer_follow_without_another_request() {
    let limits = Limits { reply_buffer_bytes: 8, ..Limits::default() };
    let server = TestServer::start(Arc::new(MemoryBackend::new()), limits).await;
    let mut client = server.client().await;
    client.check(&["SET", "a", "0123456789"], "+OK\r\n").await;
    client.send(request(&["GET", "a"]).repeat(20)).await;
    client.expect("$10\r\n0123456789\r\n".repeat(20)).await;
}

#[tokio::test]
async fn a_connection_that_takes_the_listener_over_its_budget_is_told_so_and_closed() {
    let limits = Limits { buffered_bytes_max: 1 << 20, ..Limits::default() };
    let server = TestServer::start(Arc::new(MemoryBackend::new()), limits).await;
    let mut modest = server.client().await;
    modest.check(&["SET", "a", &"v".repeat(1 << 19)], "+OK\r\n").await;
    let mut greedy = server.client().await;
    let _ = greedy.stream.write_all(&request(&["SET", "b", &"v".repeat(3 << 20)])).await;
    let error = "-OOM all connections together hold more than 1048576 bytes of requests and replies\r\n";
    assert_eq!(greedy.rest().await, error);
    modest.check(&["EXISTS", "a", "b"], ":1\r\n").await;
    modest.check(&["SET", "a", &"v".repeat(1 << 19)], "+OK\r\n").await;
}
