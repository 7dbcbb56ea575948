//! SIGTERM: quick, and so clean that the next start finds nothing to repair.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use quorate_tests::process::{Dev, DevSpec, page};
use redis::AsyncCommands as _;

/// What every stop may take.
const STOP_MAX: Duration = Duration::from_secs(10);

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
            let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, spec.admin_port(node)));
            let page = page(admin, &format!("/groups/{group}"));
            assert!(page.contains("\"log_torn_batches\":0,"), "node {node}, group {group}: {page}");
        }
    }
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    for at in 0..200 {
        assert_eq!(connection.get::<_, Option<i32>>(format!("key-{at}")).await.unwrap(), Some(at));
    }
    assert!(dev.terminate().success());
}
