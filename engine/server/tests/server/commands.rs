//! Every command: raw requests and the exact replies.

use std::sync::Arc;

use quorate_server::{Limits, MemoryBackend};

use crate::client::{TestServer, request};

#[tokio::test]
async fn keys_are_set_read_counted_and_removed() {
    let server = TestServer::in_memory().await;
    let mut client = server.client().await;
    client.check(&["GET", "a"], "$-1\r\n").await;
    client.check(&["SET", "a", "1"], "+OK\r\n").await;
    client.check(&["get", "a"], "$1\r\n1\r\n").await;
    client.check(&["SET", "empty", ""], "+OK\r\n").await;
    client.check(&["GET", "empty"], "$0\r\n\r\n").await;
    client.check(&["MSET", "b", "2", "c", "3", "b", "4"], "+OK\r\n").await;
    client.check(&["MGET", "b", "none", "c", "b"], "*4\r\n$1\r\n4\r\n$-1\r\n$1\r\n3\r\n$1\r\n4\r\n").await;
    client.check(&["EXISTS", "a", "a", "none"], ":2\r\n").await;
    client.check(&["DEL", "a", "a", "none", "b"], ":2\r\n").await;
    client.check(&["EXISTS", "a", "b", "c"], ":1\r\n").await;
}

#[tokio::test]
async fn the_connection_commands_answer_as_redis_does() {
    let server = TestServer::in_memory().await;
    let mut client = server.client().await;
    client.check(&["PING"], "+PONG\r\n").await;
    client.check(&["PING", "a\r\nb"], "$4\r\na\r\nb\r\n").await;
    client.check(&["ECHO", "x"], "$1\r\nx\r\n").await;
    client.check(&["SELECT", "0"], "+OK\r\n").await;
    client.check(&["SELECT", "1"], "-ERR DB index is out of range\r\n").await;
    client.check(&["SELECT", "x"], "-ERR value is not an integer or out of range\r\n").await;
    client.check(&["CLIENT", "SETNAME", "me"], "+OK\r\n").await;
    client.check(&["CLIENT", "SETINFO", "LIB-NAME", "x"], "+OK\r\n").await;
    client.check(&["CONFIG", "GET", "save"], "*2\r\n$4\r\nsave\r\n$0\r\n\r\n").await;
    client.check(&["CONFIG", "GET", "APPENDO*"], "*2\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n").await;
    client.check(&["CONFIG", "GET", "none"], "*0\r\n").await;
    client.send("PING inline\r\nping\n").await;
    client.expect("$6\r\ninline\r\n+PONG\r\n").await;
    client.send([request(&["QUIT"]), request(&["PING"])].concat()).await;
    assert_eq!(client.rest().await, "+OK\r\n", "nothing is answered after QUIT");
}

#[tokio::test]
async fn wrong_requests_get_the_words_of_redis_and_the_connection_lives() {
    let server = TestServer::in_memory().await;
    let mut client = server.client().await;
    let cases: [(&[&str], &str); 14] = [
        (&["foo", "a", "b"], "ERR unknown command 'foo', with args beginning with: 'a' 'b' "),
        (&["FOO"], "ERR unknown command 'FOO', with args beginning with: "),
        (&["get"], "ERR wrong number of arguments for 'get' command"),
        (&["GET", "a", "b"], "ERR wrong number of arguments for 'get' command"),
        (&["SET", "a"], "ERR wrong number of arguments for 'set' command"),
        (&["SET", "a", "b", "NX"], "ERR syntax error"),
        (&["MSET", "a", "b", "c"], "ERR wrong number of arguments for 'mset' command"),
        (&["PING", "a", "b"], "ERR wrong number of arguments for 'ping' command"),
        (&["DEL"], "ERR wrong number of arguments for 'del' command"),
        (&["CONFIG"], "ERR wrong number of arguments for 'config' command"),
        (&["CONFIG", "GET"], "ERR wrong number of arguments for 'config|get' command"),
        (&["CONFIG", "SET", "a", "b"], "ERR unknown subcommand 'SET'. Try CONFIG HELP."),
        (&["CLIENT", "KILL"], "ERR unknown subcommand 'KILL'. Try CLIENT HELP."),
        (&["COMMAND", "x"], "ERR unknown subcommand 'x'. Try COMMAND HELP."),
    ];
    for (args, error) in cases {
        client.check(args, &format!("-{error}\r\n")).await;
    }
    client.check(&["PING"], "+PONG\r\n").await;
}

#[tokio::test]
async fn oversized_keys_and_values_are_refused_and_the_largest_are_kept() {
    let server = TestServer::in_memory().await;
    let mut client = server.client().await;
    let key = "k".repeat(32 * 1024 - 2);
    let value = "v".repeat(8 * 1024 * 1024);
    client.check(&["SET", &key, &value], "+OK\r\n").await;
    client.check(&["GET", &key], &format!("${}\r\n{value}\r\n", value.len())).await;
    client.check(&["GET", &format!("{key}k")], "-ERR key has 32767 bytes, the limit is 32766\r\n").await;
    let error = "-ERR value has 8388609 bytes, the limit is 8388608\r\n";
    client.check(&["SET", "a", &format!("{value}v")], error).await;
    client.check(&["EXISTS", "a"], ":0\r\n").await;
}

#[tokio::test]
async fn a_reply_over_its_budget_is_an_error_not_memory() {
    let limits = Limits { read_batch_bytes_max: 10, ..Limits::default() };
    let server = TestServer::start(Arc::new(MemoryBackend::new()), limits).await;
    let mut client = server.client().await;
    client.check(&["SET", "a", "123456"], "+OK\r\n").await;
    client.check(&["MGET", "a", "a"], "-ERR the reply would exceed 10 bytes\r\n").await;
    client.check(&["GET", "a"], "$6\r\n123456\r\n").await;
}

#[tokio::test]
async fn info_and_command_describe_this_server() {
    let server = TestServer::in_memory().await;
    let mut client = server.client().await;
    client.check(&["COMMAND", "COUNT"], ":14\r\n").await;
    let get =
        "*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*0\r\n*0\r\n";
    client.check(&["COMMAND", "INFO", "get", "none"], &format!("*2\r\n{get}$-1\r\n")).await;
    let docs = "*2\r\n$4\r\necho\r\n*6\r\n$7\r\nsummary\r\n$20\r\nReturns its argument\r\n$5\r\nsince\r\n$5\r\n1.0.0\r\n\
                $5\r\ngroup\r\n$10\r\nconnection\r\n";
    client.check(&["COMMAND", "DOCS", "echo"], docs).await;
    client.check(&["INFO", "keyspace"], "$44\r\n# Keyspace\r\ndb0:keys=0,expires=0,avg_ttl=0\r\n\r\n").await;
    client.send([request(&["INFO"]), request(&["QUIT"])].concat()).await;
    let info = client.rest().await;
    for line in
        ["# Server\r\n", "redis_mode:standalone\r\n", "connected_clients:1\r\n", "\r\n\r\n# Keyspace\r\n"]
    {
        assert!(info.contains(line), "{line:?} is not in {info}");
    }
}
