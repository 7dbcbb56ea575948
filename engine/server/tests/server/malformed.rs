//! What does not follow the protocol: one clear error, bounded memory, and the end of that connection only.

use tokio::io::AsyncWriteExt;

use crate::client::{PATIENCE, TestServer, request};

/// Sends `bytes` for as long as the server takes them, and returns what it said before it closed.
async fn refusal(server: &TestServer, bytes: &[u8]) -> String {
    let mut client = server.client().await;
    let sent = client.stream.write_all(bytes);
    // The server may close before it has read everything.
    let _ = tokio::time::timeout(PATIENCE, sent).await.expect("the server reads or closes");
    client.rest().await
}

#[tokio::test]
async fn malformed_requests_end_their_connection_with_the_words_of_redis() {
    let server = TestServer::in_memory().await;
    let line = vec![b'x'; 70_000];
    let cases: [(&[u8], &str); 8] = [
        (b"*1\r\n$2147483648\r\n", "invalid bulk length"),
        (b"*1\r\n$-5\r\n", "invalid bulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*100000\r\n", "invalid multibulk length"),
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (&b"*1\r\n".repeat(262_144), "expected '$', got '*'"),
        (&line, "too big inline request"),
        (b"set \"a\r\n", "unbalanced quotes in request"),
    ];
    for (bytes, error) in cases {
        assert_eq!(refusal(&server, bytes).await, format!("-ERR Protocol error: {error}\r\n"));
    }
    server.client().await.check(&["PING"], "+PONG\r\n").await;
}

#[tokio::test]
async fn an_endless_inline_line_is_cut_off() {
    let server = TestServer::in_memory().await;
    let endless = vec![b'x'; 3 << 20];
    assert_eq!(refusal(&server, &endless).await, "-ERR Protocol error: too big inline request\r\n");
}

#[tokio::test]
async fn requests_before_a_malformed_one_are_answered_first() {
    let server = TestServer::in_memory().await;
    let stream = [request(&["SET", "a", "1"]), request(&["GET", "a"]), b"*1\r\n$x\r\n".to_vec()].concat();
    let expected = "+OK\r\n$1\r\n1\r\n-ERR Protocol error: invalid bulk length\r\n";
    assert_eq!(refusal(&server, &stream).await, expected);
}

#[tokio::test]
async fn a_browser_that_was_made_to_post_here_runs_no_command() {
    let server = TestServer::in_memory().await;
    let posts = ["POST / HTTP/1.1\r\nHost: x\r\n\r\nSET planted 1\r\n", "host: x\r\nSET planted 1\r\n"];
    for post in posts {
        assert_eq!(refusal(&server, post.as_bytes()).await, "-ERR this is not an HTTP server\r\n");
    }
    server.client().await.check(&["EXISTS", "planted"], ":0\r\n").await;
}

#[tokio::test]
async fn short_requests_with_long_answers_are_refused() {
    let server = TestServer::in_memory().await;
    let mut client = server.client().await;
    for (command, subcommand, word, error) in [
        ("COMMAND", "INFO", "client", "-ERR at most 256 names in one request\r\n"),
        ("COMMAND", "DOCS", "client", "-ERR at most 256 names in one request\r\n"),
        ("CONFIG", "GET", "*", "-ERR at most 64 patterns in one request\r\n"),
    ] {
        let many: Vec<&str> = [command, subcommand].into_iter().chain([word; 300]).collect();
        client.check(&many, error).await;
    }
}
