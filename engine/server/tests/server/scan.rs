//! SCAN: every key that stays is returned, whatever happens in between.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use quorate_server::key::engine_key;
use quorate_server::{Access, Backend, MemoryBackend, Routing, Write};

use crate::client::{Client, TestServer, request};

const ACCESS: Access = Access { routing: Routing::Proxy, reads_from_followers: false };

async fn put(backend: &MemoryBackend, key: &str) {
    let write = Write::Put { key: engine_key(key.as_bytes()), value: Bytes::from("x") };
    backend.write(vec![write], ACCESS).await.pop().unwrap().unwrap();
}

async fn delete(backend: &MemoryBackend, key: &str) {
    let write = Write::Delete { key: engine_key(key.as_bytes()) };
    backend.write(vec![write], ACCESS).await.pop().unwrap().unwrap();
}

/// The next cursor and the keys.
async fn scan(client: &mut Client, cursor: &str, options: &[&str]) -> (String, Vec<String>) {
    client.send(request(&[&["SCAN", cursor], options].concat())).await;
    client.expect("*2\r\n").await;
    let cursor = client.text().await;
    let header = client.until("\r\n").await;
    let mut keys = Vec::new();
    for _ in 0..header[1..].trim_end().parse::<usize>().unwrap() {
        keys.push(client.text().await);
    }
    (cursor, keys)
}

/// From cursor 0 to cursor 0.
async fn scan_all(client: &mut Client, options: &[&str]) -> Vec<String> {
    let (mut cursor, mut keys) = scan(client, "0", options).await;
    while cursor != "0" {
        let more;
        (cursor, more) = scan(client, &cursor, options).await;
        keys.extend(more);
    }
    keys
}

#[tokio::test]
async fn a_quiet_database_is_returned_exactly_once_whatever_the_count() {
    let backend = MemoryBackend::new();
    let mut expected = BTreeSet::new();
    for number in 0..700 {
        // A third in one slot, so that scans stop in its middle.
        let key = if number % 3 == 0 { format!("{{t}}{number}") } else { format!("k{number}") };
        put(&backend, &key).await;
        expected.insert(key);
    }
    let server = TestServer::in_cluster(backend).await;
    let mut client = server.client().await;
    for count in ["1", "7", "10", "100", "1000", "9223372036854775807"] {
        let keys = scan_all(&mut client, &["COUNT", count]).await;
        assert_eq!(keys.len(), expected.len(), "COUNT {count}");
        assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), expected, "COUNT {count}");
    }
}

#[tokio::test]
async fn match_and_type_filter_what_is_returned() {
    let backend = MemoryBackend::new();
    for key in ["user:1", "user:2", "user:x", "other", "User:1", ""] {
        put(&backend, key).await;
    }
    let server = TestServer::in_cluster(backend).await;
    let mut client = server.client().await;
    let sorted = |mut keys: Vec<String>| {
        keys.sort_unstable();
        keys
    };
    assert_eq!(sorted(scan_all(&mut client, &["MATCH", "user:[0-9]"]).await), ["user:1", "user:2"]);
    assert_eq!(scan_all(&mut client, &["match", "[^u]*", "count", "1"]).await.len(), 2);
    assert_eq!(scan_all(&mut client, &["TYPE", "String", "MATCH", "o?her"]).await, ["other"]);
    assert!(scan_all(&mut client, &["TYPE", "list"]).await.is_empty());
    assert_eq!(scan_all(&mut client, &[]).await.len(), 6);
}

#[tokio::test]
async fn a_cursor_of_another_listener_repeats_but_never_omits() {
    let backend = MemoryBackend::new();
    let expected: BTreeSet<_> = (0..300).map(|number| format!("{{t}}{number:03}")).collect();
    for key in &expected {
        put(&backend, key).await;
    }
    let (first, second) =
        (TestServer::in_cluster(backend.clone()).await, TestServer::in_cluster(backend).await);
    let (mut one, mut other) = (first.client().await, second.client().await);
    let (cursor, keys) = scan(&mut one, "0", &["COUNT", "10"]).await;
    assert!(cursor.parse::<u64>().unwrap() > 16_384, "in the middle of a slot");
    assert!(cursor.parse::<u64>().unwrap() < 1 << 53, "a double holds it");
    let (again, repeated) = scan(&mut other, &cursor, &["COUNT", "10"]).await;
    assert_eq!(keys, repeated, "it begins the slot anew");
    let mut all: BTreeSet<_> = repeated.into_iter().collect();
    let mut at = again;
    while at != "0" {
        let more;
        (at, more) = scan(&mut other, &at, &["COUNT", "10"]).await;
        all.extend(more);
    }
    assert_eq!(all, expected);
    let (_, retried) = scan(&mut one, &cursor, &["COUNT", "10"]).await;
    assert_eq!(scan(&mut one, &cursor, &["COUNT", "10"]).await.1, retried, "a cursor may be used again");
}

/// What happens between two requests of a scan.
#[derive(Clone, Debug)]
enum Change {
    Put(u8),
    Delete(u8),
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![any::<u8>().prop_map(Change::Put), any::<u8>().prop_map(Change::Delete)]
}

/// Half of the keys stay, the others come and go; many share a slot.
fn key_of(number: u8) -> String {
    if number.is_multiple_of(4) { format!("k{number}") } else { format!("{{{}}}{number}", number % 3) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn keys_that_stay_are_returned_although_others_come_and_go(
        changes in prop::collection::vec(prop::collection::vec(any_change(), 0..20), 60),
        counts in prop::collection::vec(1..40u8, 60),
        restart_at in 0..60usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let returned = runtime.block_on(async {
            let backend = MemoryBackend::new();
            for number in (0..=255).filter(|number| number % 2 == 0) {
                put(&backend, &key_of(number)).await;
            }
            let server = TestServer::in_cluster(backend.clone()).await;
            let mut client = server.client().await;
            let after_restart = TestServer::in_cluster(backend.clone()).await;
            let (mut cursor, mut returned) = ("0".to_owned(), BTreeMap::new());
            for (step, changes) in changes.iter().enumerate() {
                if step == restart_at {
                    client = after_restart.client().await;
                }
                // Towards the end in larger steps, so that the scan does end.
                let count = if step > 40 { 1000 } else { u32::from(counts[step]) };
                let keys;
                (cursor, keys) = scan(&mut client, &cursor, &["COUNT", &count.to_string()]).await;
                for key in keys {
                    *returned.entry(key).or_insert(0) += 1;
                }
                if cursor == "0" {
                    return returned;
                }
                for change in changes {
                    match change {
                        Change::Put(number) => put(&backend, &key_of(number | 1)).await,
                        Change::Delete(number) => delete(&backend, &key_of(number | 1)).await,
                    }
                }
            }
            panic!("a scan of 256 keys does not end");
        });
        for number in (0..=255).filter(|number| number % 2 == 0) {
            prop_assert!(returned.contains_key(&key_of(number)), "{} was left out", key_of(number));
        }
    }
}
