//! Timestamps of a group, asked for on every node.

use quorate::{Error, GroupError, Timestamp};

use crate::cluster::{Cluster, GROUP};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_gets_timestamps_of_the_leader_and_brings_its_own_along() {
    let cluster = Cluster::of_three().await;
    let mut last = Timestamp(0);
    for id in (1..=3).cycle().take(30) {
        let group = cluster.node(id).group(GROUP);
        let given = group.timestamp().await.unwrap();
        assert!(given > last, "{given} after {last}");
        last = given;
    }
    let remote = Timestamp::of_millis(last.millis() + 200);
    cluster.node(1).group(GROUP).observe(remote).await.unwrap();
    assert!(cluster.node(2).group(GROUP).timestamp().await.unwrap() > remote);

    let far = Timestamp::of_millis(last.millis() + 3_600_000);
    let error = cluster.node(3).group(GROUP).observe(far).await.unwrap_err();
    assert!(matches!(error, Error::Group(GroupError::TimestampAhead { .. })), "{error}");
    for id in 1..=3 {
        let offset_ms = cluster.node(id).clock_offset_ms();
        assert!(offset_ms.abs() < 500, "one clock, {offset_ms} ms from itself");
        assert!(cluster.node(id).group(GROUP).timestamp().await.unwrap() < far);
    }
}
