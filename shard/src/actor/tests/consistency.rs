//! The replicas' states compared, and what becomes of one that differs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate_storage::identity::Divergence;
use quorate_storage::state::StateDigest;
use quorate_storage::{ConfChange, ConfChangeOp, Index, NodeId, ReplicaDescriptor, ReplicaId};
use quorate_telemetry::stats::QuarantineReason;

use super::kv::{convert, kv_cluster, put_kv};
use super::node::{DEADLINE, TestNode, config, incarnation, leader};
use crate::actor::consistency::DivergenceNotice;
use crate::actor::{
    ConsistencyReport, DIVERGENCE_NOTICE, GroupConfig, Lifecycle, Remedy, ReplicaAnswer, StartError, Verdict,
};
use crate::error::Error;

async fn check(nodes: &[TestNode]) -> ConsistencyReport {
    leader(nodes).await.handle.check_consistency(DEADLINE).await.unwrap()
}

/// Writes on whoever leads, and waits until all have it.
async fn fill(nodes: &[TestNode], count: u64) -> Index {
    let lead = leader(nodes).await;
    let mut last = Index(0);
    for i in 0..count {
        last = put_kv(lead, &format!("k{i}"), &format!("v{i}")).await.unwrap().id.index;
    }
    for node in nodes {
        node.applies(last).await;
    }
    last
}

fn reason(node: &TestNode) -> Option<QuarantineReason> {
    node.handle.stats().quarantine_reason()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still not so after a minute: {what}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_group_is_compared_at_what_all_have_applied_and_nothing_is_written_for_it() {
    let (_network, nodes, _) = kv_cluster(3, &config()).await;
    let last = fill(&nodes, 20).await;
    let report = check(&nodes).await;
    assert_eq!((report.index, &report.verdict), (last, &Verdict::Consistent));
    let digests: Vec<_> = report.replicas.iter().map(|replica| replica.answer).collect();
    assert!(matches!(digests[0], ReplicaAnswer::Digest(digest) if digest != StateDigest::EMPTY));
    assert!(digests.iter().all(|digest| *digest == digests[0]) && digests.len() == 3, "{report:?}");
    let lead = leader(&nodes).await;
    assert_eq!(lead.handle.status().last, last, "nothing was written");
    assert_eq!(lead.handle.status().last_check.as_deref(), Some(&report));
}

#[tokio::test(start_paused = true)]
async fn a_check_finds_an_index_while_writes_go_on() {
    let (_network, nodes, _) = kv_cluster(3, &config()).await;
    let lead = leader(&nodes).await.clone();
    let writer = lead.clone();
    let writing = tokio::spawn(async move {
        for i in 0..2_000 {
            let (one, two) = (format!("k{}", i % 50), i.to_string());
            let (a, b) = tokio::join!(put_kv(&writer, &one, &two), put_kv(&writer, &two, &one));
            a.and(b).unwrap();
        }
    });
    for _ in 0..10 {
        let before = lead.handle.status().applied;
        let report = lead.handle.check_consistency(DEADLINE).await.unwrap();
        assert_eq!(report.verdict, Verdict::Consistent, "{report:?}");
        assert!(report.index >= before);
        let has_digest = |answer| matches!(answer, ReplicaAnswer::Digest(_));
        assert!(report.replicas.iter().all(|replica| has_digest(replica.answer)), "{report:?}");
    }
    writing.abort();
}

#[tokio::test(start_paused = true)]
async fn a_divergent_follower_is_quarantined_and_stays_so_over_a_restart() {
    let (_network, mut nodes, defects) = kv_cluster(3, &config()).await;
    fill(&nodes, 5).await;
    let lead = leader(&nodes).await.id;
    let at = nodes.iter().position(|node| node.id != lead).unwrap();
    defects[at].misapplies.store(true, Ordering::Relaxed);
    fill(&nodes, 5).await;
    defects[at].misapplies.store(false, Ordering::Relaxed);
    let report = check(&nodes).await;
    let divergent = vec![ReplicaId(nodes[at].id)];
    let Verdict::Diverged { divergent: found, majority } = &report.verdict else { panic!("{report:?}") };
    assert_eq!(*found, divergent);
    let node = nodes.remove(at);
    until("the follower to be quarantined", || reason(&node).is_some()).await;
    assert_eq!(reason(&node), Some(QuarantineReason::StateDiverged));
    assert_eq!(node.handle.remedy(), Some(Remedy::Repair), "no start of its own helps");
    let Lifecycle::Quarantined(text) = node.handle.status().lifecycle else { panic!() };
    assert!(text.contains(&format!("{:032x}", majority.0)) && text.contains("replaced"), "{text}");
    fill(&nodes, 5).await;
    assert_eq!(check(&nodes).await.verdict, Verdict::Consistent, "the others go on");
    let report = check(&nodes).await;
    let own = report.replicas.iter().find(|replica| replica.replica.get() == node.id).unwrap();
    assert_eq!(own.answer, ReplicaAnswer::Refused);

    let mut node = node;
    node.kill().await;
    let error = node.try_restart().await.unwrap_err();
    assert!(
        matches!(&error, StartError::StateDiverged { divergence, .. } if divergence.majority == *majority)
    );
    assert_eq!(error.reason(), QuarantineReason::StateDiverged);
    assert_eq!(error.remedy(), Remedy::Repair);
}

#[tokio::test(start_paused = true)]
async fn a_divergent_leader_is_quarantined_and_another_leads() {
    let (_network, mut nodes, defects) = kv_cluster(3, &config()).await;
    let lead = leader(&nodes).await.id;
    let at = nodes.iter().position(|node| node.id == lead).unwrap();
    defects[at].misapplies.store(true, Ordering::Relaxed);
    fill(&nodes, 5).await;
    let report = check(&nodes).await;
    assert!(
        matches!(&report.verdict, Verdict::Diverged { divergent, .. } if *divergent == [ReplicaId(lead)])
    );
    let deposed = nodes.remove(at);
    until("the leader to be quarantined", || reason(&deposed).is_some()).await;
    assert_eq!(reason(&deposed), Some(QuarantineReason::StateDiverged));
    fill(&nodes, 5).await;
    assert_eq!(check(&nodes).await.verdict, Verdict::Consistent);
}

#[tokio::test(start_paused = true)]
async fn two_that_differ_are_reported_and_nobody_is_quarantined() {
    let (network, nodes, defects) = kv_cluster(3, &config()).await;
    let lead = leader(&nodes).await.id;
    let at = nodes.iter().position(|node| node.id != lead).unwrap();
    let away = nodes.iter().find(|node| node.id != lead && node.id != nodes[at].id).unwrap();
    network.cut(away.id);
    defects[at].misapplies.store(true, Ordering::Relaxed);
    let running: Vec<_> = nodes.iter().filter(|node| node.id != away.id).cloned().collect();
    fill(&running, 5).await;
    let report = check(&running).await;
    assert_eq!(report.verdict, Verdict::Divided, "{report:?}");
    let said = |id| report.replicas.iter().find(|replica| replica.replica.get() == id).unwrap().answer;
    assert_eq!(said(away.id), ReplicaAnswer::Away);
    assert!(running.iter().all(|node| matches!(said(node.id), ReplicaAnswer::Digest(_))));
    let stats = &leader(&running).await.handle.stats().consistency;
    assert_eq!((stats.divided.get(), stats.diverged.get()), (1, 0));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(nodes.iter().all(|node| reason(node).is_none()));
    // The third knows, once it is back.
    network.heal(away.id);
    fill(&nodes, 1).await;
    assert!(matches!(check(&nodes).await.verdict, Verdict::Diverged { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_replica_seeded_by_a_snapshot_holds_the_same() {
    let mut config = config();
    config.snapshots.trailing_entries = 1;
    let (network, mut nodes, _) = kv_cluster(3, &config).await;
    fill(&nodes, 30).await;
    leader(&nodes).await.handle.publish_snapshot(DEADLINE).await.unwrap();
    let mut joining = TestNode::joining(4, 3, &config, &network).await;
    convert(&mut joining).await;
    let learner = ReplicaDescriptor { replica: ReplicaId(4), node: NodeId(4), incarnation: incarnation(4) };
    let lead = leader(&nodes).await;
    let expected_epoch = lead.handle.status().descriptor.conf_epoch;
    let change = ConfChange { expected_epoch, ops: vec![ConfChangeOp::AddLearner(learner)] };
    lead.handle.change_conf(change, DEADLINE).await.unwrap();
    nodes.push(joining);
    fill(&nodes, 3).await;
    until("the learner to know the others", || nodes[3].handle.descriptor().replicas.len() == 4).await;
    let report = check(&nodes).await;
    assert_eq!(report.verdict, Verdict::Consistent, "{report:?}");
    let learner = report.replicas[3];
    assert!(!learner.is_voter && matches!(learner.answer, ReplicaAnswer::Digest(_)), "{report:?}");
    assert_eq!(nodes[3].handle.stats().snapshots.installed.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn replicas_are_compared_by_themselves_and_by_their_leader_only() {
    let interval = Duration::from_secs(60);
    let mut config = GroupConfig { ..config() };
    config.background.consistency_interval = interval;
    let (_network, nodes, defects) = kv_cluster(3, &config).await;
    fill(&nodes, 3).await;
    let checks = |node: &TestNode| node.handle.stats().consistency.checks.get();
    tokio::time::sleep(interval * 5).await;
    let lead = leader(&nodes).await;
    assert!((3..=5).contains(&checks(lead)), "{}", checks(lead));
    assert!(nodes.iter().all(|node| node.id == lead.id || checks(node) == 0));
    let error = nodes.iter().find(|node| node.id != lead.id).unwrap();
    let error = error.handle.check_consistency(DEADLINE).await.unwrap_err();
    assert!(matches!(error, Error::NotLeader { hint: Some(hint), .. } if hint.node == NodeId(lead.id)));
    let at = nodes.iter().position(|node| node.id != lead.id).unwrap();
    defects[at].misapplies.store(true, Ordering::Relaxed);
    fill(&nodes, 3).await;
    tokio::time::sleep(interval * 2).await;
    assert_eq!(reason(&nodes[at]), Some(QuarantineReason::StateDiverged));
}

#[tokio::test(start_paused = true)]
async fn a_notice_is_believed_only_of_a_member_and_only_about_what_was_said() {
    let (_network, nodes, _) = kv_cluster(3, &config()).await;
    let index = fill(&nodes, 3).await;
    let report = check(&nodes).await;
    let ReplicaAnswer::Digest(own) = report.replicas[0].answer else { panic!("{report:?}") };
    let target = nodes.iter().find(|node| node.id == 1).unwrap();
    let sender = nodes.iter().find(|node| node.id == 2).unwrap().handle.status();
    let divergence = Divergence { index, own, majority: StateDigest(1) };
    let notice = DivergenceNotice {
        group: sender.group,
        uid: sender.descriptor.uid,
        from: sender.replica,
        incarnation: sender.incarnation,
        to: ReplicaId(1),
        divergence,
    };
    let other = Divergence { own: StateDigest(9), ..divergence };
    let lies = [
        (3, notice),
        (2, DivergenceNotice { to: ReplicaId(3), ..notice }),
        (2, DivergenceNotice { divergence: other, ..notice }),
        (2, DivergenceNotice { incarnation: incarnation(3), ..notice }),
    ];
    for (from, lie) in lies {
        let served = target.handle.serve_group(NodeId(from), DIVERGENCE_NOTICE, lie.encode());
        assert!(served.await.is_empty());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(reason(target), None);
    drop(target.handle.serve_group(NodeId(2), DIVERGENCE_NOTICE, notice.encode()).await);
    until("the replica to believe it", || reason(target).is_some()).await;
}
