//! Every node knows who leads every group, and where the others are to be reached.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use quorate::config::uniform_ranges;
use quorate::{GroupId, KeyRange, Node, NodeId, Op, ReadLevel};

use crate::cluster::{Cluster, GROUP, PATIENCE, replica_on, until};

/// The leader of each group, once all of `nodes` name the same one for every group, and it is one of them.
async fn agreed(nodes: &[&Node]) -> BTreeMap<GroupId, NodeId> {
    let leaders = |node: &Node| -> Option<BTreeMap<GroupId, NodeId>> {
        let topology = node.topology();
        topology.version?;
        let led = topology.groups.iter().map(|group| Some((group.group, group.leader?)));
        led.collect()
    };
    until("agreement on all leaders", || {
        let first = leaders(nodes[0])?;
        let is_running = |leader: &NodeId| nodes.iter().any(|node| node.id() == *leader);
        let agree = nodes.iter().all(|node| leaders(node).as_ref() == Some(&first));
        (!first.is_empty() && agree && first.values().all(is_running)).then_some(first)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_agree_on_leaders_after_a_start_a_transfer_and_the_loss_of_a_node() {
    let mut cluster = Cluster::open(3, |config| config.bootstrap.ranges = uniform_ranges(3)).await;
    let all = [cluster.node(1), cluster.node(2), cluster.node(3)];
    let leaders = agreed(&all).await;
    assert_eq!(leaders.len(), 3);
    for (&group, &leader) in &leaders {
        assert!(all.iter().all(|node| node.group(group).leader() == Some(leader)));
        let status = cluster.node(leader.get()).group(group).local_status().unwrap();
        assert!(status.role.is_leader, "who is told to lead group {group} does");
    }

    let from = leaders[&GROUP].get();
    let to = from % 3 + 1;
    let group = cluster.node(from).group(GROUP);
    group.transfer_leader(replica_on(&group, to).unwrap()).await.unwrap();
    until("the new leader on every node", || {
        all.iter().all(|node| node.group(GROUP).leader() == Some(NodeId(to))).then_some(())
    })
    .await;

    cluster.kill(to);
    let (a, b) = (cluster.node(from), cluster.node(6 - from - to));
    assert_eq!(agreed(&[a, b]).await.len(), 3);
    until("the connection to the lost node to be down", || {
        let topology = a.topology();
        let node = topology.node(NodeId(to)).unwrap();
        (!node.is_connected).then_some(())
    })
    .await;

    let back = cluster.restart(to).await;
    agreed(&[cluster.node(1), cluster.node(2), cluster.node(3)]).await;
    assert!(back.topology().node(NodeId(to)).unwrap().is_connected, "to itself");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_replica_knows_the_leader_also_a_new_one() {
    let mut cluster = Cluster::open(5, |_| {}).await;
    let all: Vec<&Node> = (1..=5).map(|id| cluster.node(id)).collect();
    let leader = agreed(&all).await[&GROUP];
    let outside = all.iter().find(|node| node.group(GROUP).local_status().is_none()).unwrap().id().get();
    let outsider = cluster.node(outside).clone();
    let topology = outsider.topology();
    let group = &topology.groups[0];
    assert_eq!(group.leader, Some(leader));
    assert_eq!(group.followers.len(), 2);
    assert!(!group.followers.contains(&leader) && !group.followers.contains(&outsider.id()));
    assert_eq!(outsider.placement(b"k").unwrap().leader, Some(leader));

    cluster.kill(leader.get());
    let next = until("another leader", || {
        outsider.group(GROUP).leader().filter(|&next| next != leader && next != outsider.id())
    })
    .await;
    let status = cluster.node(next.get()).group(GROUP).local_status().unwrap();
    assert!(status.role.is_leader);
    drop(outsider);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_of_a_group_without_a_quorum_is_unknown_once_its_node_is_gone() {
    let mut cluster = Cluster::open(5, |_| {}).await;
    let all: Vec<&Node> = (1..=5).map(|id| cluster.node(id)).collect();
    let leader = agreed(&all).await[&GROUP];
    let has_replica = |id: &u64| cluster.node(*id).group(GROUP).local_status().is_some();
    let outsider = (1..=5).find(|id| !has_replica(id)).unwrap();
    let follower = (1..=5).find(|id| has_replica(id) && *id != leader.get()).unwrap();
    cluster.kill(follower);
    cluster.kill(leader.get());
    let outsider = cluster.node(outsider).clone();
    until("doubt", || outsider.group(GROUP).leader().is_none().then_some(())).await;
    let place = outsider.await_leader(b"k", std::time::Duration::from_millis(1)).await;
    assert_eq!(place.unwrap().leader, None, "the wait for a leader ends");

    let held = tokio::spawn({
        let outsider = outsider.clone();
        async move { outsider.await_leader(b"k", PATIENCE).await }
    });
    cluster.restart(follower).await;
    let place = held.await.unwrap().unwrap();
    assert!(place.leader.is_some(), "who waits is told of the next leader");
    drop(outsider);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_back_with_another_redis_port_is_told_under_it() {
    let mut cluster = Cluster::of_three().await;
    let seen = |node: &Node| node.topology().node(NodeId(2)).and_then(|node| node.resp);
    assert_eq!(seen(cluster.node(1)), None);
    for port in [6001, 6002] {
        let resp = SocketAddr::from(([127, 0, 0, 1], port));
        cluster.take(2).shutdown().await.unwrap();
        cluster.set_resp(2, resp);
        cluster.restart(2).await;
        for id in 1..=3 {
            until("the new address", || (seen(cluster.node(id)) == Some(resp)).then_some(())).await;
        }
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_counted_and_listed_from_any_node() {
    let cluster = Cluster::of_three().await;
    let key = |n: u32| Bytes::from(format!("key-{n:04}"));
    let puts: Vec<Op> = (0..500).map(|n| Op::Put(key(n), Bytes::from(vec![0; 100]))).collect();
    assert!(cluster.node(1).write_each(&puts).await.iter().all(Result::is_ok));
    for id in 1..=3 {
        let group = cluster.node(id).group(GROUP);
        assert_eq!(group.count(ReadLevel::Linearizable).await.unwrap(), 500);
        let mut found = Vec::new();
        let mut next = Some(key(100));
        while let Some(start) = next {
            let range = KeyRange { start, end: Some(key(400)) };
            let page = group.keys(range, 70, ReadLevel::Linearizable).await.unwrap();
            assert!(page.keys.len() <= 70);
            found.extend(page.keys);
            next = page.next;
        }
        assert_eq!(found, (100..400).map(key).collect::<Vec<_>>());
    }
    cluster.node(2).delete(key(7)).await.unwrap();
    assert_eq!(cluster.node(3).group(GROUP).count(ReadLevel::Linearizable).await.unwrap(), 499);
    cluster.shutdown().await;
}
