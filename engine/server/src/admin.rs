//! The admin pages: health, readiness, metrics, groups and settings over HTTP.
//!
//! With a token set every page but `/healthz` asks for it, as `Authorization: Bearer <token>`.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while the process is worth keeping, else 503 |
//! | `/readyz` | 200 while this node should be given requests, else 503; every check with `?verbose` |
//! | `/metrics` | Prometheus text |
//! | `/status` | JSON: the node in short, and which of its replicas are out of service |
//! | `/groups`, `/groups/{id}` | JSON |
//! | `/groups/{id}/snapshot` | `POST`: publishes a snapshot of the replica here, or gives one that holds `at_least` |
//! | `/groups/{id}/repair` | `GET`: what a repair of the replica here would do; `POST`: does it |
//! | `/backup` | JSON: who leads what, for `quorate backup` |
//! | `/backup/groups/{id}` | `POST`: publishes a snapshot of a group that this node leads, with all that is acknowledged |
//! | `/backup/groups/{id}/{term}/{index}` | the file of that snapshot, from `?offset=` on |
//! | `/config` | the settings in force as TOML, secrets redacted; 404 where there is no configuration |
//! | `/log-level` | `PUT` a level or directives such as `info,quorate_shard=debug`: what is logged from now on |

mod backup;
mod commands;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, Check};
use crate::listen::{self, ListenError, Protection};
use crate::logging;

/// Pages rendered at the same time: ten thousand groups take a second of one core.
const RENDERS_MAX: usize = 2;

/// The text format of Prometheus.
const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The scheme of the header `Authorization`, with the space behind it.
const BEARER: &[u8] = b"Bearer ";

/// Longest request body in bytes.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// How the pages are served. `Default` is for loopback: no token, no configuration.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Asked for by every page but `/healthz`.
    pub token: Option<SecretString>,
    /// Consent that other machines talk to it, and tell the token, in plaintext. Without it, and without a token,
    /// only loopback addresses are taken.
    pub plaintext: bool,
    /// What `/config` shows, redacted.
    pub config: Option<Arc<str>>,
}

/// A bound listener that does not answer yet.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    local_addr: SocketAddr,
    backend: Arc<dyn Backend>,
    settings: Settings,
}

impl AdminServer {
    /// Binds `address`; port 0 takes any free port.
    ///
    /// # Errors
    /// [`ListenError::NotLoopback`] for an address other machines can reach, without a token or without consent to
    /// plaintext. [`ListenError::Bind`] when the system refuses.
    pub async fn bind(
        address: SocketAddr,
        backend: Arc<dyn Backend>,
        settings: Settings,
    ) -> Result<Self, ListenError> {
        let protection =
            Protection { has_secret: settings.token.is_some(), allows_plaintext: settings.plaintext };
        let (listener, local_addr) = listen::bind("admin", address, protection).await?;
        Ok(Self { listener, local_addr, backend, settings })
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
        let Self { listener, backend, settings, .. } = self;
        let [renders, commands, backups] = [RENDERS_MAX, commands::COMMANDS_MAX, backup::BACKUPS_MAX]
            .map(|places| Arc::new(Semaphore::new(places)));
        let pages = Pages { backend, settings, stopping, renders, commands, backups };
        axum::serve(listener, router(pages)).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

#[derive(Clone)]
struct Pages {
    backend: Arc<dyn Backend>,
    settings: Settings,
    stopping: CancellationToken,
    renders: Arc<Semaphore>,
    commands: Arc<Semaphore>,
    backups: Arc<Semaphore>,
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
        .route("/groups/{id}/snapshot", post(commands::publish_snapshot))
        .route("/groups/{id}/consistency", post(commands::check_consistency))
        .route("/groups/{id}/repair", get(commands::plan_repair).post(commands::repair))
        .route("/status", get(commands::status))
        .route("/backup", get(backup::map))
        .route("/backup/groups/{id}", post(backup::publish))
        .route("/backup/groups/{id}/{term}/{index}", get(backup::snapshot))
        .route("/config", get(config))
        .route("/log-level", put(log_level))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        // Outside of all routes: a page that is added is asked for the token too.
        .layer(middleware::from_fn_with_state(pages.clone(), authorize))
        .with_state(pages)
}

/// Lets a request pass that knows the token, or asks for `/healthz`.
async fn authorize(State(pages): State<Pages>, request: Request, next: Next) -> Response {
    let Some(token) = &pages.settings.token else { return next.run(request).await };
    let given = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let given = given.and_then(|value| value.split_at_checked(BEARER.len()));
    let is_known = given.is_some_and(|(scheme, given)| {
        scheme.eq_ignore_ascii_case(BEARER) && bool::from(given.ct_eq(token.expose_secret().as_bytes()))
    });
    if is_known || request.uri().path() == "/healthz" {
        return next.run(request).await;
    }
    let error = Json(json!({ "error": "this page asks for a token: Authorization: Bearer <token>" }));
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], error).into_response()
}

async fn config(State(pages): State<Pages>) -> Response {
    let missing = || (StatusCode::NOT_FOUND, Json(json!({ "error": "this node was not set up by a file" })));
    match pages.settings.config {
        Some(config) => ([(header::CONTENT_TYPE, "application/toml")], config.to_string()).into_response(),
        None => missing().into_response(),
    }
}

async fn log_level(directives: Bytes) -> Response {
    let text = String::from_utf8_lossy(&directives);
    match logging::set_level(text.trim()) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response(),
    }
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
