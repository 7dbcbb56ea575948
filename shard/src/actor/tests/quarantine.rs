//! A group that is out of service says so, and others take over.

use std::time::Duration;

use quorate_telemetry::stats::QuarantineReason;
use tokio::time::Instant;

use super::node::{TestNode, cluster, config, leader, put_anyhow};
use crate::actor::{Lifecycle, ReadLevel};

fn is_quarantined(node: &TestNode) -> bool {
    matches!(node.handle.status().lifecycle, Lifecycle::Quarantined(_))
}

/// Has the leader's log fail, and waits until another replica leads; how long that took.
async fn depose(nodes: &mut Vec<TestNode>) -> Duration {
    let old = leader(nodes).await.id;
    let at = nodes.iter().position(|node| node.id == old).unwrap();
    let failing = nodes.remove(at);
    failing.disk.fail_sync(1);
    failing.put("b=1").await.unwrap_err();
    let since = Instant::now();
    assert!(is_quarantined(&failing));
    assert_eq!(failing.handle.stats().quarantine_reason(), Some(QuarantineReason::Io));
    leader(nodes).await;
    since.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_quarantined_leader_is_succeeded_before_an_election_timeout() {
    let config = config();
    let (_network, mut nodes) = cluster(3, &config).await;
    put_anyhow(&nodes, "a=1").await;
    let took = depose(&mut nodes).await;
    assert!(took < config.tick * config.core.election_ticks_min, "{took:?}");
    put_anyhow(&nodes, "c=1").await;
    assert_eq!(leader(&nodes).await.get("a", ReadLevel::Linearizable).await.unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn without_the_notice_the_silence_tells() {
    let config = config();
    let (network, mut nodes) = cluster(3, &config).await;
    put_anyhow(&nodes, "a=1").await;
    network.refuse_requests();
    let took = depose(&mut nodes).await;
    assert!(took >= config.tick * (config.core.election_ticks_min - 2), "{took:?}");
    put_anyhow(&nodes, "c=1").await;
}

#[tokio::test(start_paused = true)]
async fn a_notice_is_believed_only_of_the_leaders_own_node() {
    use crate::actor::QUARANTINE_NOTICE;
    use crate::repair::QuarantineNotice;

    let (_network, nodes) = cluster(3, &config()).await;
    put_anyhow(&nodes, "a=1").await;
    let lead = leader(&nodes).await;
    let follower = nodes.iter().find(|node| node.id != lead.id).unwrap();
    let liar = nodes.iter().find(|node| ![lead.id, follower.id].contains(&node.id)).unwrap();
    let status = lead.handle.status();
    let notice = QuarantineNotice {
        group: status.group,
        uid: status.descriptor.uid,
        replica: status.replica,
        incarnation: status.incarnation,
        term: status.role.term,
    };
    let older = QuarantineNotice { term: quorate_storage::Term(status.role.term.get() - 1), ..notice };
    for (from, notice) in [(liar.id, notice), (lead.id, older)] {
        let served = follower.handle.serve_group(from.into(), QUARANTINE_NOTICE, notice.encode());
        assert!(served.await.is_empty());
        put_anyhow(&nodes, "b=1").await;
        assert_eq!(follower.handle.role().leader, Some(status.replica));
    }
    assert_eq!(leader(&nodes).await.handle.role().term, status.role.term, "nobody campaigned");
}
