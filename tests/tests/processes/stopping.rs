//! SIGTERM: quick, and so clean that the next start finds nothing to repair.

use std::time::{Duration, Instant};

use quorate_tests::process::{Dev, DevSpec};
use redis::AsyncCommands as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What every stop may take.
const STOP_MAX: Duration = Duration::from_secs(10);

/// The JSON page of a group on a node.
async fn group_page(spec: &DevSpec, node: u16, group: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", spec.admin_port(node))).await.expect("an admin page");
    let request = format!("GET /groups/{group} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request is taken");
    let mut page = String::new();
    stream.read_to_string(&mut page).await.expect("a page ends");
    page
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_stops_in_time_and_leaves_no_torn_batch() {
    let dir = tempfile::tempdir().unwrap();
    let spec = DevSpec::new(dir.path());
    let dev = Dev::start(&spec);
    let client = redis::Client::open(format!("redis://127.0.0.1:{}/", spec.resp_port(0))).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    for at in 0..200 {
        connection.set::<_, _, ()>(format!("key-{at}"), at).await.unwrap();
    }
    let begun = Instant::now();
    assert!(dev.terminate().success(), "SIGTERM ends with exit code 0");
    assert!(begun.elapsed() < STOP_MAX, "the stop took {:?}", begun.elapsed());

    let dev = Dev::start(&spec);
    for node in 0..spec.nodes {
        for group in 0..=spec.groups {
            let page = group_page(&spec, node, group).await;
            assert!(page.contains("\"log_torn_batches\":0,"), "node {node}, group {group}: {page}");
        }
    }
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    for at in 0..200 {
        assert_eq!(connection.get::<_, Option<i32>>(format!("key-{at}")).await.unwrap(), Some(at));
    }
    assert!(dev.terminate().success());
}
