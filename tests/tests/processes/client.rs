//! A Redis client of one node.

use std::time::Duration;

use quorate_tests::process::NodeSpec;
use redis::aio::MultiplexedConnection;

/// A request may have to wait for an election.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) async fn connect(spec: &NodeSpec) -> MultiplexedConnection {
    let client = redis::Client::open(format!("redis://{}/", spec.resp)).expect("an address of Redis");
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(RESPONSE_TIMEOUT));
    client.get_multiplexed_async_connection_with_config(&config).await.expect("a connection")
}
