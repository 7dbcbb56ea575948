//! Several replicas of one group.

use std::time::Duration;

use quorate_storage::{ConfChange, ConfChangeOp, NodeId, ReplicaDescriptor, ReplicaId};

use super::node::{DEADLINE, TestNode, cluster, config, incarnation, leader, put_anyhow};
use crate::actor::{ReadLevel, StopMode};
use crate::error::Error;

#[tokio::test(start_paused = true)]
async fn writes_go_on_when_the_leader_is_killed() {
    let (_network, mut nodes) = cluster(3, &config()).await;
    let first = put_anyhow(&nodes, "a=1").await;
    let at = nodes.iter().position(|node| node.id == 1).unwrap();
    let old = leader(&nodes).await.id;
    assert_eq!(old, 1, "the first voter of a new group campaigns at once");
    let mut killed = nodes.remove(at);
    killed.kill().await;
    let second = put_anyhow(&nodes, "b=2").await;
    assert!(second.id.term > first.id.term);
    killed.restart().await;
    killed.applies(second.id.index).await;
    assert_eq!(killed.get("b", ReadLevel::Local).await.unwrap(), "2");
    assert_eq!(leader(&nodes).await.get("a", ReadLevel::Linearizable).await.unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_serves_no_linearizable_read() {
    let (network, nodes) = cluster(3, &config()).await;
    put_anyhow(&nodes, "a=1").await;
    let old = leader(&nodes).await;
    network.cut(old.id);
    let rest: Vec<_> = nodes.iter().filter(|node| node.id != old.id).collect();
    let read = old.handle.read(ReadLevel::Linearizable, Duration::from_secs(5)).await;
    assert!(read.is_err(), "{read:?}");
    let mut roles: Vec<_> = rest.iter().map(|node| node.handle.watch_role()).collect();
    let (one, two) = roles.split_at_mut(1);
    tokio::select! {
        biased;
        role = one[0].wait_for(|role| role.is_serving) => drop(role.unwrap()),
        role = two[0].wait_for(|role| role.is_serving) => drop(role.unwrap()),
    }
    network.heal(old.id);
    put_anyhow(&nodes, "a=2").await;
    assert_eq!(leader(&nodes).await.get("a", ReadLevel::Linearizable).await.unwrap(), "2");
}

#[tokio::test(start_paused = true)]
async fn followers_refuse_with_a_hint() {
    let (_network, nodes) = cluster(3, &config()).await;
    put_anyhow(&nodes, "a=1").await;
    let lead = leader(&nodes).await;
    let follower = nodes.iter().find(|node| node.id != lead.id).unwrap();
    let error = follower.put("a=2").await.unwrap_err();
    let Error::NotLeader { hint: Some(hint), .. } = error else { panic!("{error:?}") };
    assert_eq!(hint.node, NodeId(lead.id));
}

#[tokio::test(start_paused = true)]
async fn leadership_is_handed_over_on_request_and_at_a_graceful_stop() {
    let (_network, nodes) = cluster(3, &config()).await;
    put_anyhow(&nodes, "a=1").await;
    let old = leader(&nodes).await;
    let heir = nodes.iter().find(|node| node.id != old.id).unwrap();
    old.handle.transfer_leader(ReplicaId(heir.id), DEADLINE).await.unwrap();
    heir.serves().await;
    heir.handle.stop(StopMode::Graceful { deadline: DEADLINE }).await;
    assert!(heir.log().clean);
    let rest: Vec<_> = nodes.into_iter().filter(|node| node.id != 1).collect();
    drop(rest);
}

#[tokio::test(start_paused = true)]
async fn a_joining_replica_is_seeded_by_a_snapshot_and_promoted() {
    let mut config = config();
    config.snapshots.trailing_entries = 1;
    let (network, mut nodes) = cluster(1, &config).await;
    nodes[0].serves().await;
    for i in 0..50 {
        nodes[0].put(&format!("k{i}={i}")).await.unwrap();
    }
    let joining = TestNode::joining(4, 1, &config, &network).await;
    let learner = ReplicaDescriptor { replica: ReplicaId(4), node: NodeId(4), incarnation: incarnation(4) };
    let change = |epoch, op| ConfChange { expected_epoch: epoch, ops: vec![op] };
    let epoch = nodes[0].handle.status().descriptor.conf_epoch;
    let added = nodes[0]
        .handle
        .change_conf(change(epoch, ConfChangeOp::AddLearner(learner)), DEADLINE)
        .await
        .unwrap();
    assert!(added.replica(ReplicaId(4)).is_some());
    let last = nodes[0].put("x=y").await.unwrap();
    joining.applies(last.id.index).await;
    assert_eq!(joining.get("k49", ReadLevel::Local).await.unwrap(), "49");
    let stale =
        nodes[0].handle.change_conf(change(epoch, ConfChangeOp::Promote(ReplicaId(4))), DEADLINE).await;
    assert!(matches!(stale, Err(Error::ConfEpochMismatch { .. })), "{stale:?}");
    let promote = change(added.conf_epoch, ConfChangeOp::Promote(ReplicaId(4)));
    nodes[0].handle.change_conf(promote, DEADLINE).await.unwrap();
    nodes.push(joining);
    put_anyhow(&nodes, "z=1").await;
}
