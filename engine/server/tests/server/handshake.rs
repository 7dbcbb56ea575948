//! HELLO, AUTH, and what a connection tells of itself.

use std::sync::Arc;

use quorate_server::{MemoryBackend, Routing, Settings};
use tokio::io::AsyncWriteExt;

use crate::client::{TestServer, request};

const NOAUTH: &str = "-NOAUTH Authentication required.\r\n";
const WRONGPASS: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

async fn with_password() -> TestServer {
    let password = Some("secret".to_owned().into());
    let settings = Settings { password, ..Settings::new(Routing::Cluster) };
    TestServer::start_with(Arc::new(MemoryBackend::new()), settings).await
}

fn greeting(header: &str, protocol: u8, id: u64, mode: &str) -> String {
    format!(
        "{header}\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.0\r\n$5\r\nproto\r\n:{protocol}\r\n\
         $2\r\nid\r\n:{id}\r\n$4\r\nmode\r\n${}\r\n{mode}\r\n$4\r\nrole\r\n$6\r\nmaster\r\n\
         $7\r\nmodules\r\n*0\r\n",
        mode.len()
    )
}

#[tokio::test]
async fn hello_chooses_the_protocol_and_tells_about_the_server() {
    let server = TestServer::in_memory().await;
    let mut client = server.client().await;
    client.check(&["HELLO"], &greeting("*14", 2, 1, "standalone")).await;
    client.check(&["GET", "none"], "$-1\r\n").await;
    client.check(&["HELLO", "3", "SETNAME", "me"], &greeting("%7", 3, 1, "standalone")).await;
    client.check(&["GET", "none"], "_\r\n").await;
    client.check(&["CLIENT", "GETNAME"], "$2\r\nme\r\n").await;
    client.check(&["HELLO", "4"], "-NOPROTO unsupported protocol version\r\n").await;
    client.check(&["HELLO", "x"], "-ERR Protocol version is not an integer or out of range\r\n").await;
    client.check(&["HELLO", "2", "FOO"], "-ERR Syntax error in HELLO option 'FOO'\r\n").await;
    client.check(&["HELLO", "2", "AUTH", "default"], "-ERR Syntax error in HELLO option 'AUTH'\r\n").await;
    let bad_name = "-ERR Client names cannot contain spaces, newlines or special characters.\r\n";
    client.check(&["HELLO", "2", "SETNAME", "a b"], bad_name).await;
    client.check(&["GET", "none"], "_\r\n").await;
    client.check(&["HELLO", "2", "AUTH", "default", "any"], &greeting("*14", 2, 1, "standalone")).await;
    client.check(&["GET", "none"], "$-1\r\n").await;
}

#[tokio::test]
async fn hello_in_the_middle_of_a_pipeline_changes_the_replies_after_it_only() {
    let server = TestServer::in_memory().await;
    let mut client = server.client().await;
    let get = request(&["GET", "none"]);
    let hello = |version| request(&["HELLO", version]);
    client.send([&get[..], &hello("3"), &get, &request(&["INFO", "none"]), &hello("2"), &get].concat()).await;
    let (three, two) = (greeting("%7", 3, 1, "standalone"), greeting("*14", 2, 1, "standalone"));
    client.expect(format!("$-1\r\n{three}_\r\n=4\r\ntxt:\r\n{two}$-1\r\n")).await;
}

#[tokio::test]
async fn without_the_password_only_the_handshake_is_answered() {
    let server = with_password().await;
    let mut client = server.client().await;
    let no_auth = "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH \
                   <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
                   the same time\r\n";
    for args in [&["GET", "a"][..], &["PING"], &["INFO"], &["CLUSTER", "SLOTS"], &["nothing"], &["get"]] {
        client.check(args, NOAUTH).await;
    }
    client.check(&["HELLO", "3"], no_auth).await;
    client.check(&["HELLO", "5"], "-NOPROTO unsupported protocol version\r\n").await;
    for args in [&["AUTH", "wrong"][..], &["AUTH", "secret2"], &["AUTH", "other", "secret"], &["AUTH", ""]] {
        client.check(args, WRONGPASS).await;
    }
    client.check(&["HELLO", "3", "AUTH", "default", "wrong"], WRONGPASS).await;
    client.check(&["AUTH", "a", "b", "c"], "-ERR syntax error\r\n").await;
    client.check(&["GET", "a"], NOAUTH).await;
    client.check(&["AUTH", "secret"], "+OK\r\n").await;
    client.check(&["GET", "a"], "$-1\r\n").await;
    client.check(&["AUTH", "wrong"], WRONGPASS).await;
    client.check(&["GET", "a"], "$-1\r\n").await;
    client.check(&["RESET"], "+RESET\r\n").await;
    client.check(&["GET", "a"], NOAUTH).await;
    client.check(&["HELLO", "3", "AUTH", "default", "secret"], &greeting("%7", 3, 1, "cluster")).await;
    client.check(&["GET", "a"], "_\r\n").await;
    client.check(&["QUIT"], "+OK\r\n").await;
}

#[tokio::test]
async fn a_password_in_a_pipeline_counts_for_what_follows_it() {
    let server = with_password().await;
    let mut client = server.client().await;
    let value = "v".repeat(20_000);
    let requests = [&["GET", "a"][..], &["AUTH", "secret"], &["SET", "a", &value], &["STRLEN", "a"]];
    client.send(requests.map(request).concat()).await;
    client.expect(format!("{NOAUTH}+OK\r\n+OK\r\n:20000\r\n")).await;
}

#[tokio::test]
async fn a_stranger_may_send_small_requests_only() {
    let server = with_password().await;
    for (bytes, error) in [
        ("*11\r\n", "unauthenticated multibulk length"),
        ("*2\r\n$4\r\nAUTH\r\n$16385\r\n", "unauthenticated bulk length"),
    ] {
        let mut client = server.client().await;
        client.send(bytes).await;
        assert_eq!(client.rest().await, format!("-ERR Protocol error: {error}\r\n"));
    }
}

#[tokio::test]
async fn a_password_where_none_is_set_is_told_to_be_a_mistake() {
    let server = TestServer::in_memory().await;
    let mut client = server.client().await;
    let error = "-ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?\r\n";
    client.check(&["AUTH", "x"], error).await;
    client.check(&["AUTH", "default", "x"], "+OK\r\n").await;
    client.check(&["AUTH", "other", "x"], WRONGPASS).await;
}

#[tokio::test]
async fn clients_are_listed_as_they_named_themselves_until_they_leave() {
    let server = TestServer::in_memory().await;
    let mut first = server.client().await;
    first.check(&["CLIENT", "ID"], ":1\r\n").await;
    first.check(&["CLIENT", "GETNAME"], "$-1\r\n").await;
    first.check(&["CLIENT", "SETNAME", "first"], "+OK\r\n").await;
    first.check(&["CLIENT", "SETINFO", "LIB-NAME", "lib"], "+OK\r\n").await;
    first.check(&["CLIENT", "SETINFO", "lib-ver", "1.2"], "+OK\r\n").await;
    first.check(&["CLIENT", "SETINFO", "x", "1.2"], "-ERR Unrecognized option 'x'\r\n").await;
    first.check(&["CLIENT", "NO-EVICT", "on"], "+OK\r\n").await;
    first.check(&["CLIENT", "NO-TOUCH", "off"], "+OK\r\n").await;
    first.check(&["CLIENT", "NO-TOUCH", "maybe"], "-ERR syntax error\r\n").await;
    let long = "n".repeat(257);
    let error = "-ERR Client names cannot be longer than 256 bytes.\r\n";
    first.check(&["CLIENT", "SETNAME", &long], error).await;

    let mut second = server.client().await;
    second.hello3().await;
    second.send(request(&["CLIENT", "LIST"])).await;
    let list = second.text().await;
    let lines: Vec<_> = list.lines().collect();
    assert!(lines[0].starts_with("txt:id=1 addr=127.0.0.1:") && lines[0].contains(" name=first "), "{list}");
    assert!(lines[0].ends_with(" user=default lib-name=lib lib-ver=1.2 resp=2"), "{list}");
    assert!(lines[1].starts_with("id=2 ") && lines[1].ends_with(" resp=3") && lines.len() == 2, "{list}");
    second.send(request(&["CLIENT", "LIST", "ID", "2", "9"])).await;
    assert!(second.text().await.starts_with("txt:id=2 "));
    second.check(&["CLIENT", "LIST", "TYPE", "pubsub"], "=4\r\ntxt:\r\n").await;

    first.stream.shutdown().await.unwrap();
    assert_eq!(first.rest().await, "");
    loop {
        second.send(request(&["CLIENT", "LIST"])).await;
        if !second.text().await.contains("id=1 ") {
            break;
        }
    }
}
