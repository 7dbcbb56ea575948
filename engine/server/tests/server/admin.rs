//! The admin pages over plain HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use quorate_server::admin::Settings;
use quorate_server::{AdminServer, Backend, ListenError, MemoryBackend};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::client::PATIENCE;
use crate::gated::GatedBackend;

async fn start(backend: Arc<dyn Backend>) -> (SocketAddr, CancellationToken, CancellationToken) {
    start_with(backend, Settings::default()).await
}

async fn start_with(
    backend: Arc<dyn Backend>,
    settings: Settings,
) -> (SocketAddr, CancellationToken, CancellationToken) {
    let server = AdminServer::bind("127.0.0.1:0".parse().unwrap(), backend, settings).await.unwrap();
    let address = server.local_addr();
    let (stopping, stop) = (CancellationToken::new(), CancellationToken::new());
    tokio::spawn(server.serve(stopping.clone(), stop.clone()));
    (address, stopping, stop)
}

/// Status, and the answer whole.
pub(crate) async fn page(address: SocketAddr, path: &str) -> (u16, String) {
    ask(address, &format!("GET {path}"), "", "").await
}

/// `request` is method and path, `head` further lines of the head, each with its end.
async fn ask(address: SocketAddr, request: &str, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{head}content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn a_ready_node_says_so_until_it_stops() {
    let (address, stopping, _stop) = start(Arc::new(MemoryBackend::new())).await;
    let (status, answer) = page(address, "/readyz").await;
    assert_eq!((status, body(&answer)), (200, "ok\n"));
    let (status, answer) = page(address, "/readyz?verbose").await;
    assert_eq!((status, body(&answer)), (200, "[+] memory\n[+] running\nok\n"));
    stopping.cancel();
    let (status, answer) = page(address, "/readyz").await;
    assert_eq!((status, body(&answer)), (503, "[-] running: the node is stopping\nfailed\n"));
    assert_eq!(page(address, "/healthz").await.0, 200);
}

#[tokio::test]
async fn an_unhealthy_process_says_why() {
    let (address, _stopping, _stop) = start(Arc::new(GatedBackend::closed())).await;
    let (status, answer) = page(address, "/healthz").await;
    assert_eq!((status, body(&answer)), (503, "[-] log: the disk is full\nfailed\n"));
    assert_eq!(page(address, "/readyz").await.0, 200);
}

#[tokio::test]
async fn metrics_are_text_and_groups_are_json() {
    let (address, _stopping, _stop) = start(Arc::new(MemoryBackend::new())).await;
    let (status, answer) = page(address, "/metrics").await;
    assert!(status == 200 && answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(body(&answer).ends_with("quorate_memory_keys 0\n"));
    let (status, answer) = page(address, "/groups").await;
    assert_eq!((status, body(&answer)), (200, r#"[{"id":1,"keys":0,"role":"leader"}]"#));
    let (status, answer) = page(address, "/groups/1").await;
    assert_eq!((status, body(&answer)), (200, r#"{"id":1,"keys":0,"role":"leader"}"#));
    let (status, answer) = page(address, "/groups/7").await;
    assert_eq!((status, body(&answer)), (404, r#"{"error":"this node has no replica of group 7"}"#));
    assert_eq!(page(address, "/groups/x").await.0, 400);
    assert_eq!(page(address, "/other").await.0, 404);
}

#[tokio::test]
async fn a_page_that_panics_leaves_the_others() {
    let (address, _stopping, stop) = start(Arc::new(GatedBackend::closed())).await;
    for _ in 0..4 {
        assert_eq!(page(address, "/groups/1").await.0, 500);
    }
    assert_eq!(page(address, "/groups").await.0, 200);
    stop.cancel();
}

#[tokio::test]
async fn an_address_others_can_reach_is_refused() {
    let backend = Arc::new(MemoryBackend::new());
    let settings = Settings { plaintext: true, ..Settings::default() };
    let refused = AdminServer::bind("0.0.0.0:0".parse().unwrap(), backend, settings).await.unwrap_err();
    assert!(matches!(refused, ListenError::NotLoopback { .. }));
}

#[tokio::test]
async fn every_page_but_health_asks_for_the_token() {
    let settings = Settings { token: Some("tiger".into()), ..Settings::default() };
    let (address, _stopping, _stop) = start_with(Arc::new(MemoryBackend::new()), settings).await;
    for path in ["/readyz", "/metrics", "/groups", "/groups/1", "/config", "/nowhere"] {
        let (status, answer) = page(address, path).await;
        assert!(status == 401 && answer.contains("www-authenticate: Bearer\r\n"), "{path}: {answer}");
    }
    assert_eq!(ask(address, "PUT /log-level", "", "info").await.0, 401);
    assert_eq!(page(address, "/healthz").await.0, 200);
    for (given, status) in
        [("Bearer tiger", 200), ("bearer tiger", 200), ("Bearer tigers", 401), ("tiger", 401)]
    {
        let head = format!("authorization: {given}\r\n");
        assert_eq!(ask(address, "GET /groups", &head, "").await.0, status, "{given}");
    }
}

#[tokio::test]
async fn the_configuration_is_shown_where_there_is_one() {
    let settings = Settings { config: Some("node = 1\n".into()), ..Settings::default() };
    let (address, _stopping, _stop) = start_with(Arc::new(MemoryBackend::new()), settings).await;
    let (status, answer) = page(address, "/config").await;
    assert_eq!((status, body(&answer)), (200, "node = 1\n"));
    let (address, _stopping, _stop) = start(Arc::new(MemoryBackend::new())).await;
    assert_eq!(page(address, "/config").await.0, 404);
}

#[tokio::test]
async fn a_log_level_that_is_none_is_refused() {
    let (address, _stopping, _stop) = start(Arc::new(MemoryBackend::new())).await;
    assert_eq!(ask(address, "PUT /log-level", "", "a=b=c").await.0, 400);
    assert_eq!(ask(address, "PUT /log-level", "", &"x".repeat(5_000)).await.0, 413);
    assert_eq!(page(address, "/log-level").await.0, 405);
}
