//! A node of a cluster: what it tells of the topology, and what it refuses.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quorate_server::{Backend, MemoryBackend, Routing, Settings, SlotRange, Topology, TopologyNode};

use crate::client::{Client, TestServer, request};
use crate::gated::GatedBackend;

fn node(node: u64, is_connected: bool) -> TopologyNode {
    TopologyNode {
        node,
        name: format!("{node:040x}"),
        resp: Some(format!("10.0.0.{node}:6380").parse().unwrap()),
        peer: format!("10.0.0.{node}:7380").parse().unwrap(),
        is_connected,
    }
}

fn range(first: u16, last: u16, leader: Option<u64>, followers: &[u64]) -> SlotRange {
    SlotRange { first, last, group: u64::from(first) + 1, leader, followers: followers.to_vec() }
}

/// Three nodes, of which the third is down and leads nothing; asked is the second.
fn topology() -> Topology {
    Topology {
        version: 9,
        own_node: 2,
        nodes: vec![node(1, true), node(2, true), node(3, false)],
        ranges: vec![range(0, 8191, Some(2), &[1, 3]), range(8192, 16383, Some(1), &[2, 3])],
    }
}

async fn client_of(topology: Topology) -> (TestServer, Client) {
    let server = TestServer::in_cluster(MemoryBackend::new().with_topology(topology)).await;
    let client = server.client().await;
    (server, client)
}

async fn text(client: &mut Client, args: &[&str]) -> String {
    client.send(request(args)).await;
    client.text().await
}

fn name(node: u64) -> String {
    format!("$40\r\n{node:040x}\r\n")
}

fn place(node: u64) -> String {
    format!("*4\r\n$8\r\n10.0.0.{node}\r\n:6380\r\n{}*0\r\n", name(node))
}

#[tokio::test]
async fn slots_name_the_leader_and_then_the_followers() {
    let (_server, mut client) = client_of(topology()).await;
    let first = format!("*5\r\n:0\r\n:8191\r\n{}{}{}", place(2), place(1), place(3));
    let second = format!("*5\r\n:8192\r\n:16383\r\n{}{}{}", place(1), place(2), place(3));
    client.check(&["CLUSTER", "SLOTS"], &format!("*2\r\n{first}{second}")).await;
    client.hello3().await;
    client.send(request(&["CLUSTER", "SLOTS"])).await;
    client.expect(format!("*2\r\n{first}{second}").replace("*0\r\n", "%0\r\n")).await;
}

#[tokio::test]
async fn shards_are_ranges_with_roles_and_health() {
    let (_server, mut client) =
        client_of(Topology { ranges: vec![range(0, 5, Some(2), &[3])], ..topology() }).await;
    let node = |node: u64, role: &str, health: &str| {
        format!(
            "*14\r\n$2\r\nid\r\n{}$4\r\nport\r\n:6380\r\n$2\r\nip\r\n$8\r\n10.0.0.{node}\r\n\
             $8\r\nendpoint\r\n$8\r\n10.0.0.{node}\r\n$4\r\nrole\r\n${}\r\n{role}\r\n\
             $18\r\nreplication-offset\r\n:0\r\n$6\r\nhealth\r\n$6\r\n{health}\r\n",
            name(node),
            role.len(),
        )
    };
    let nodes = format!("*2\r\n{}{}", node(2, "master", "online"), node(3, "replica", "failed"));
    let shard = format!("*4\r\n$5\r\nslots\r\n*2\r\n:0\r\n:5\r\n$5\r\nnodes\r\n{nodes}");
    client.check(&["CLUSTER", "SHARDS"], &format!("*1\r\n{shard}")).await;
}

#[tokio::test]
async fn every_node_is_a_master_and_the_one_asked_is_myself() {
    let (_server, mut client) = client_of(topology()).await;
    let expected = "\
        0000000000000000000000000000000000000001 10.0.0.1:6380@7380 master - 0 0 9 connected 8192-16383\n\
        0000000000000000000000000000000000000002 10.0.0.2:6380@7380 myself,master - 0 0 9 connected 0-8191\n\
        0000000000000000000000000000000000000003 10.0.0.3:6380@7380 master - 0 0 9 disconnected\n";
    assert_eq!(text(&mut client, &["CLUSTER", "NODES"]).await, expected);
    client.check(&["CLUSTER", "MYID"], &name(2)).await;
    client.hello3().await;
    assert_eq!(text(&mut client, &["CLUSTER", "NODES"]).await, format!("txt:{expected}"));
}

#[tokio::test]
async fn the_state_is_ok_when_every_slot_has_a_leader() {
    let (_server, mut client) = client_of(topology()).await;
    let expected = "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\n\
                    cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:3\r\ncluster_size:2\r\n\
                    cluster_current_epoch:9\r\ncluster_my_epoch:9\r\ncluster_stats_messages_sent:0\r\n\
                    cluster_stats_messages_received:0\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n";
    assert_eq!(text(&mut client, &["CLUSTER", "INFO"]).await, expected);
    let gap = vec![range(0, 0, Some(2), &[]), range(2, 16383, Some(1), &[])];
    let (_server, mut client) = client_of(Topology { ranges: gap, ..topology() }).await;
    let info = text(&mut client, &["CLUSTER", "INFO"]).await;
    assert!(info.starts_with("cluster_state:fail\r\ncluster_slots_assigned:16383\r\n"), "{info}");
}

#[tokio::test]
async fn a_connected_replica_stands_in_for_a_leader_that_is_not_elected_yet() {
    let ranges = vec![range(0, 8191, Some(1), &[2]), range(8192, 16383, None, &[1, 2, 3])];
    let nodes = vec![node(1, false), node(2, true), node(3, true)];
    let (_server, mut client) = client_of(Topology { nodes, ranges, ..topology() }).await;
    let first = format!("*4\r\n:0\r\n:8191\r\n{}{}", place(1), place(2));
    let second = format!("*5\r\n:8192\r\n:16383\r\n{}{}{}", place(2), place(1), place(3));
    client.check(&["CLUSTER", "SLOTS"], &format!("*2\r\n{first}{second}")).await;
    let info = text(&mut client, &["CLUSTER", "INFO"]).await;
    assert!(
        info.starts_with("cluster_state:fail\r\n") && info.contains("cluster_slots_ok:8192\r\n"),
        "{info}"
    );
    assert!(
        text(&mut client, &["CLUSTER", "NODES"])
            .await
            .contains("myself,master - 0 0 9 connected 8192-16383\n")
    );
}

#[tokio::test]
async fn nodes_without_the_protocol_are_left_out_and_the_one_asked_never_is() {
    let nodes =
        vec![TopologyNode { resp: None, ..node(1, true) }, TopologyNode { resp: None, ..node(2, true) }];
    let ranges = vec![range(0, 16383, Some(1), &[2])];
    let (server, mut client) = client_of(Topology { nodes, ranges, ..topology() }).await;
    let expected = format!("{:040x} {}@7380 myself,master - 0 0 9 connected 0-16383\n", 2, server.address);
    assert_eq!(text(&mut client, &["CLUSTER", "NODES"]).await, expected);
    let (_server, mut client) = client_of(Topology::default()).await;
    client.check(&["CLUSTER", "SLOTS"], "*0\r\n").await;
    client.check(&["CLUSTER", "MYID"], &name(0)).await;
}

#[tokio::test]
async fn keys_of_different_slots_are_refused_by_a_node_and_served_by_a_proxy() {
    let (server, mut client) = client_of(topology()).await;
    let crossing: [&[&str]; 4] =
        [&["MSET", "a", "1", "b", "2"], &["MGET", "a", "b"], &["DEL", "a", "b"], &["EXISTS", "a", "b"]];
    for args in crossing {
        client.check(args, "-CROSSSLOT Keys in request don't hash to the same slot\r\n").await;
    }
    client.check(&["MSET", "{t}a", "1", "{t}b", "2"], "+OK\r\n").await;
    client.check(&["MGET", "{t}a", "{t}b", "{t}a"], "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n1\r\n").await;
    client.check(&["SELECT", "1"], "-ERR SELECT is not allowed in cluster mode\r\n").await;
    assert!(text(&mut client, &["INFO"]).await.contains("redis_mode:cluster\r\n"));
    drop(server);
    let proxy = TestServer::in_memory().await;
    proxy.client().await.check(&["MSET", "a", "1", "b", "2"], "+OK\r\n").await;
}

#[tokio::test]
async fn the_keys_of_a_slot_are_counted_and_listed() {
    let (_server, mut client) = client_of(topology()).await;
    client.check(&["CLUSTER", "KEYSLOT", "{foo}x"], ":12182\r\n").await;
    for key in ["{foo}1", "{foo}2", "{foo}3", "bar"] {
        client.check(&["SET", key, "x"], "+OK\r\n").await;
    }
    client.check(&["CLUSTER", "COUNTKEYSINSLOT", "12182"], ":3\r\n").await;
    client.check(&["CLUSTER", "COUNTKEYSINSLOT", "0"], ":0\r\n").await;
    client.check(&["CLUSTER", "GETKEYSINSLOT", "12182", "2"], "*2\r\n$6\r\n{foo}1\r\n$6\r\n{foo}2\r\n").await;
    client.check(&["CLUSTER", "GETKEYSINSLOT", "12182", "0"], "*0\r\n").await;
    client.check(&["CLUSTER", "COUNTKEYSINSLOT", "16384"], "-ERR Invalid slot\r\n").await;
    let error = "-ERR Invalid slot or number of keys\r\n";
    client.check(&["CLUSTER", "GETKEYSINSLOT", "16384", "1"], error).await;
    client.check(&["CLUSTER", "GETKEYSINSLOT", "0", "-1"], error).await;
}

#[tokio::test]
async fn wait_tells_how_many_replicas_every_answered_write_is_on() {
    let smallest_of_three = topology();
    let (_server, mut client) = client_of(smallest_of_three).await;
    client.check(&["WAIT", "2", "0"], ":1\r\n").await;
}

#[tokio::test]
async fn readonly_counts_for_the_reads_after_it_on_nodes_but_not_on_proxies() {
    for (routing, expected) in [(Routing::Cluster, vec![false, true, false]), (Routing::Proxy, vec![false])] {
        let backend = Arc::new(GatedBackend::closed());
        backend.reads.add_permits(9);
        let shared = Arc::clone(&backend) as Arc<dyn Backend>;
        let server = TestServer::start_with(shared, Settings::new(routing)).await;
        let mut client = server.client().await;
        let requests = [&["GET", "a"][..], &["READONLY"], &["GET", "a"], &["READWRITE"], &["GET", "a"]];
        client.send(requests.map(request).concat()).await;
        client.expect("$-1\r\n+OK\r\n$-1\r\n+OK\r\n$-1\r\n").await;
        let seen: Vec<_> = backend.accesses.lock().iter().map(|access| access.reads_from_followers).collect();
        // Where access does not differ, all travel in one call.
        assert_eq!(seen, expected, "{routing:?}");
        assert_eq!(backend.write_calls.load(Ordering::Relaxed), 0);
    }
}
