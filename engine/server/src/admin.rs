//! The admin pages: health, readiness, metrics and groups over HTTP, on loopback only.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while the process is worth keeping, else 503 |
//! | `/readyz` | 200 while this node should be given requests, else 503; every check with `?verbose` |
//! | `/metrics` | Prometheus text |
//! | `/groups`, `/groups/{id}` | JSON |

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, Check};
use crate::listen::{self, ListenError};

/// Pages rendered at the same time: ten thousand groups take a second of one core.
const RENDERS_MAX: usize = 2;

/// The text format of Prometheus.
const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A bound listener that does not answer yet.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    local_addr: SocketAddr,
    backend: Arc<dyn Backend>,
}

impl AdminServer {
    /// Binds `address`; port 0 takes any free port.
    ///
    /// # Errors
    /// [`ListenError::NotLoopback`] for an address other machines can reach. [`ListenError::Bind`] when the
    /// system refuses.
    pub async fn bind(address: SocketAddr, backend: Arc<dyn Backend>) -> Result<Self, ListenError> {
        let (listener, local_addr) = listen::bind_loopback("admin", address).await?;
        Ok(Self { listener, local_addr, backend })
    }

    /// Where the pages are.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers until `stop`, then finishes the requests it has begun. From the moment `stopping` is cancelled
    /// the node says that it is not ready: it comes first, so that readiness is seen to end before the pages do.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn serve(self, stopping: CancellationToken, stop: CancellationToken) -> std::io::Result<()> {
        let pages = Pages { backend: self.backend, stopping, renders: Arc::new(Semaphore::new(RENDERS_MAX)) };
        axum::serve(self.listener, router(pages)).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

#[derive(Clone)]
struct Pages {
    backend: Arc<dyn Backend>,
    stopping: CancellationToken,
    renders: Arc<Semaphore>,
}

impl Pages {
    /// Runs what may block away from the runtime's workers.
    async fn render<T: Send + 'static>(
        &self,
        page: impl FnOnce(&dyn Backend) -> T + Send + 'static,
    ) -> Result<T, StatusCode> {
        let permit = Arc::clone(&self.renders).acquire_owned().await;
        let permit = permit.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        let backend = Arc::clone(&self.backend);
        let rendered = tokio::task::spawn_blocking(move || {
            let page = page(backend.as_ref());
            drop(permit);
            page
        });
        rendered.await.map_err(|error| {
            tracing::error!(%error, "an admin page panicked");
            StatusCode::INTERNAL_SERVER_ERROR
        })
    }
}

fn router(pages: Pages) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/groups", get(groups))
        .route("/groups/{id}", get(group))
        .with_state(pages)
}

async fn healthz(State(pages): State<Pages>) -> Result<Response, StatusCode> {
    let checks = pages.render(Backend::health).await?;
    Ok(report(&checks, Verbosity::Brief))
}

async fn readyz(State(pages): State<Pages>, RawQuery(query): RawQuery) -> Result<Response, StatusCode> {
    let mut checks = pages.render(Backend::readiness).await?;
    let problem = pages.stopping.is_cancelled().then(|| "the node is stopping".to_owned());
    checks.push(Check { name: "running".to_owned(), problem });
    let is_verbose =
        query.is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some("verbose")));
    Ok(report(&checks, if is_verbose { Verbosity::All } else { Verbosity::Brief }))
}

async fn metrics(State(pages): State<Pages>) -> Result<Response, StatusCode> {
    let text = pages.render(Backend::metrics).await?;
    Ok(([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], text).into_response())
}

async fn groups(State(pages): State<Pages>) -> Result<Response, StatusCode> {
    let groups = pages.render(Backend::groups).await?;
    Ok(Json(groups).into_response())
}

async fn group(State(pages): State<Pages>, Path(id): Path<String>) -> Result<Response, StatusCode> {
    let Ok(number) = id.parse::<u64>() else {
        return Ok(
            (StatusCode::BAD_REQUEST, Json(json!({ "error": "a group id is a number" }))).into_response()
        );
    };
    let group = pages.render(move |backend| backend.group(number)).await?;
    let missing = || {
        let error = format!("this node has no replica of group {number}");
        (StatusCode::NOT_FOUND, Json(json!({ "error": error }))).into_response()
    };
    Ok(group.map_or_else(missing, |group| Json(group).into_response()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verbosity {
    /// Problems only.
    Brief,
    /// Every check.
    All,
}

fn report(checks: &[Check], verbosity: Verbosity) -> Response {
    let is_ok = checks.iter().all(|check| check.problem.is_none());
    let mut text = String::new();
    for Check { name, problem } in checks {
        let _ = match problem {
            Some(problem) => writeln!(text, "[-] {name}: {problem}"),
            None if verbosity == Verbosity::All => writeln!(text, "[+] {name}"),
            None => Ok(()),
        };
    }
    text.push_str(if is_ok { "ok\n" } else { "failed\n" });
    (if is_ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text).into_response()
}
