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
async fn every_command_on_a_string_answers_as_redis_does() {
    let server = TestServer::in_memory().await;
    let mut client = server.client().await;
    client.check(&["SETNX", "a", "1"], ":1\r\n").await;
    client.check(&["SETNX", "a", "2"], ":0\r\n").await;
    client.check(&["GETSET", "a", "3"], "$1\r\n1\r\n").await;
    client.check(&["GETSET", "new", "x"], "$-1\r\n").await;
    client.check(&["STRLEN", "a"], ":1\r\n").await;
    client.check(&["STRLEN", "none"], ":0\r\n").await;
    client.check(&["TYPE", "a"], "+string\r\n").await;
    client.check(&["TYPE", "none"], "+none\r\n").await;
    client.check(&["INCR", "a"], ":4\r\n").await;
    client.check(&["INCRBY", "a", "-10"], ":-6\r\n").await;
    client.check(&["DECR", "a"], ":-7\r\n").await;
    client.check(&["DECRBY", "a", "3"], ":-10\r\n").await;
    client.check(&["INCR", "counter"], ":1\r\n").await;
    client.check(&["APPEND", "new", "yz"], ":3\r\n").await;
    client.check(&["APPEND", "other", "yz"], ":2\r\n").await;
    client.check(&["GETDEL", "new"], "$3\r\nxyz\r\n").await;
    client.check(&["GETDEL", "new"], "$-1\r\n").await;
    client.check(&["DBSIZE"], ":3\r\n").await;
}

#[tokio::test]
async fn the_options_of_set_decide_whether_and_what_is_answered() {
    let server = TestServer::in_memory().await;
    let mut client = server.client().await;
    client.check(&["SET", "a", "1", "XX"], "$-1\r\n").await;
    client.check(&["SET", "a", "1", "nx"], "+OK\r\n").await;
    client.check(&["SET", "a", "2", "NX"], "$-1\r\n").await;
    client.check(&["SET", "a", "3", "XX", "KEEPTTL"], "+OK\r\n").await;
    client.check(&["SET", "a", "4", "GET"], "$1\r\n3\r\n").await;
    client.check(&["SET", "a", "5", "NX", "GET"], "$1\r\n4\r\n").await;
    client.check(&["SET", "b", "5", "GET", "NX"], "$-1\r\n").await;
    client.check(&["MGET", "a", "b"], "*2\r\n$1\r\n4\r\n$1\r\n5\r\n").await;
    client.check(&["SET", "a", "1", "NX", "XX"], "-ERR syntax error\r\n").await;
    client.check(&["SET", "a", "1", "FOO"], "-ERR syntax error\r\n").await;
    for option in ["EX", "px", "EXAT", "PXAT"] {
        let error = "-ERR keys cannot expire: EX, PX, EXAT and PXAT are not supported\r\n";
        client.check(&["SET", "a", "1", option, "10"], error).await;
    }
    client.check(&["GET", "a"], "$1\r\n4\r\n").await;
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
    client.check(&["READONLY"], "+OK\r\n").await;
    client.check(&["READWRITE"], "+OK\r\n").await;
    client.check(&["ASKING"], "+OK\r\n").await;
    client.check(&["WAIT", "1", "100"], ":0\r\n").await;
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
    client.check(&["MSET", "text", "x", "most", "9223372036854775807"], "+OK\r\n").await;
    let no_integer = "ERR value is not an integer or out of range";
    let cases: [(&[&str], &str); 28] = [
        (&["foo", "a", "b"], "ERR unknown command 'foo', with args beginning with: 'a' 'b' "),
        (&["FOO"], "ERR unknown command 'FOO', with args beginning with: "),
        (&["get"], "ERR wrong number of arguments for 'get' command"),
        (&["GET", "a", "b"], "ERR wrong number of arguments for 'get' command"),
        (&["SET", "a"], "ERR wrong number of arguments for 'set' command"),
        (&["MSET", "a", "b", "c"], "ERR wrong number of arguments for 'mset' command"),
        (&["PING", "a", "b"], "ERR wrong number of arguments for 'ping' command"),
        (&["DEL"], "ERR wrong number of arguments for 'del' command"),
        (&["CONFIG"], "ERR wrong number of arguments for 'config' command"),
        (&["CONFIG", "GET"], "ERR wrong number of arguments for 'config|get' command"),
        (&["CONFIG", "SET", "a", "b"], "ERR unknown subcommand 'SET'. Try CONFIG HELP."),
        (&["CLIENT", "KILL"], "ERR unknown subcommand 'KILL'. Try CLIENT HELP."),
        (&["CLUSTER", "RESET"], "ERR unknown subcommand 'RESET'. Try CLUSTER HELP."),
        (&["COMMAND", "x"], "ERR unknown subcommand 'x'. Try COMMAND HELP."),
        (&["INCRBY", "a", "x"], no_integer),
        (&["INCRBY", "a", "01"], no_integer),
        (&["INCR", "text"], no_integer),
        (&["INCR", "most"], "ERR increment or decrement would overflow"),
        (&["DECRBY", "a", "-9223372036854775808"], "ERR decrement would overflow"),
        (&["SCAN", "x"], "ERR invalid cursor"),
        (&["SCAN", "-1"], "ERR invalid cursor"),
        (&["SCAN", "0", "COUNT", "0"], "ERR syntax error"),
        (&["SCAN", "0", "COUNT", "x"], no_integer),
        (&["SCAN", "0", "MATCH"], "ERR syntax error"),
        (&["WAIT", "x", "0"], no_integer),
        (&["WAIT", "1", "-1"], "ERR timeout is negative"),
        (&["WAIT", "1", "x"], "ERR timeout is not an integer or out of range"),
        (&["COMMAND", "GETKEYS", "PING", "a"], "ERR The command has no key arguments"),
    ];
    for (args, error) in cases {
        client.check(args, &format!("-{error}\r\n")).await;
    }
    let pattern = "x".repeat(1025);
    let error = "-ERR pattern has 1025 bytes, the limit is 1024\r\n";
    client.check(&["SCAN", "0", "MATCH", &pattern], error).await;
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
async fn command_describes_each_command_in_both_protocols() {
    let server = TestServer::in_memory().await;
    let mut client = server.client().await;
    client.check(&["COMMAND", "COUNT"], ":34\r\n").await;
    let key_specification = "$5\r\nflags\r\n*2\r\n+RO\r\n+access\r\n\
        $12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n\
        $9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n\
        $7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n";
    let get = format!(
        "*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n\
         *3\r\n+@read\r\n+@string\r\n+@fast\r\n*0\r\n*1\r\n*6\r\n{key_specification}*0\r\n"
    );
    client.check(&["COMMAND", "INFO", "get", "none"], &format!("*2\r\n{get}$-1\r\n")).await;
    let docs = "$7\r\nsummary\r\n$21\r\nEcho the given string\r\n$5\r\nsince\r\n$5\r\n1.0.0\r\n\
                $5\r\ngroup\r\n$10\r\nconnection\r\n";
    client.check(&["COMMAND", "DOCS", "echo", "none"], &format!("*2\r\n$4\r\necho\r\n*6\r\n{docs}")).await;
    client.check(&["COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2"], "*2\r\n$1\r\na\r\n$1\r\nb\r\n").await;
    let listed = "*2\r\n$3\r\nset\r\n$5\r\nsetnx\r\n";
    client.check(&["COMMAND", "LIST", "FILTERBY", "PATTERN", "SET*"], listed).await;
    client.hello3().await;
    let echo = "*10\r\n$4\r\necho\r\n:2\r\n~3\r\n+loading\r\n+stale\r\n+fast\r\n:0\r\n:0\r\n:0\r\n\
                ~2\r\n+@fast\r\n+@connection\r\n~0\r\n~0\r\n*0\r\n";
    client.check(&["COMMAND", "INFO", "echo"], &format!("*1\r\n{echo}")).await;
    client.check(&["COMMAND", "DOCS", "echo"], &format!("%1\r\n$4\r\necho\r\n%3\r\n{docs}")).await;
}

#[tokio::test]
async fn info_tells_what_clients_wait_for() {
    let server = TestServer::in_memory().await;
    let mut client = server.client().await;
    client.check(&["INFO", "keyspace"], "$44\r\n# Keyspace\r\ndb0:keys=0,expires=0,avg_ttl=0\r\n\r\n").await;
    client.send(request(&["INFO"])).await;
    let info = client.text().await;
    for line in [
        "# Server\r\n",
        "redis_mode:standalone\r\n",
        "connected_clients:1\r\n",
        "loading:0\r\n",
        "role:master\r\n",
        "cluster_enabled:0\r\n",
        "\r\n\r\n# Keyspace\r\n",
    ] {
        assert!(info.contains(line), "{line:?} is not in {info}");
    }
}
