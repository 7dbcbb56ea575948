//! What the admin listener does for operators: [`Operator`] over HTTP. Answers and errors are JSON; an error is
//! `{"error": text, "code": name}`, with a status that fits ([`OperatorCode`]).
//!
//! A command works for `timeout_ms` at most, and then answers 504 `deadline`. It may be asked for again: what was
//! begun has gone on, or goes on then. So a client waits as long as it likes, in pieces. Of a snapshot the answer also
//! names an entry, `at_least`: who asks again with this parameter is told of the first snapshot that holds it.

use std::num::ParseIntError;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::Pages;
use crate::operator::{Operator, OperatorCode, OperatorError};

/// How long a command works if it is not told.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// How long it works at most.
const TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Commands at the same time; one more is told to come back.
pub(super) const COMMANDS_MAX: usize = 8;

/// Why a request is not carried out.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("a group id is a number")]
    Group,
    #[error("a position or an offset is a number")]
    Number,
    #[error("timeout_ms is a number from 1 to {max}", max = TIMEOUT_MAX.as_millis())]
    Timeout,
    #[error("this node cannot be operated")]
    NoOperator,
    #[error("too many commands are under way")]
    TooMany,
}

impl From<Unfit> for OperatorError {
    fn from(unfit: Unfit) -> Self {
        let code = match unfit {
            Unfit::Group | Unfit::Number | Unfit::Timeout => OperatorCode::BadRequest,
            Unfit::NoOperator => OperatorCode::Failed,
            Unfit::TooMany => OperatorCode::Busy,
        };
        Self { code, at_least: None, source: Arc::new(unfit) }
    }
}

pub(super) async fn status(State(pages): State<Pages>) -> Result<Response, StatusCode> {
    let status = pages.render(|backend| backend.operator().map(Operator::status)).await?;
    Ok(answer(status.ok_or(Unfit::NoOperator.into())))
}

pub(super) async fn publish_snapshot(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let taken = async {
        let (group, timeout) = (group_id(&id)?, timeout(query.as_deref())?);
        let at_least = number(query.as_deref(), "at_least").map_err(|_| Unfit::Number)?;
        let _place = pages.commands.try_acquire().map_err(|_| Unfit::TooMany)?;
        let operator = pages.backend.operator().ok_or(Unfit::NoOperator)?;
        operator.publish_snapshot(group, at_least, timeout).await
    };
    answer(taken.await)
}

pub(super) async fn check_consistency(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let checked = async {
        let (group, timeout) = (group_id(&id)?, timeout(query.as_deref())?);
        let _place = pages.commands.try_acquire().map_err(|_| Unfit::TooMany)?;
        let operator = pages.backend.operator().ok_or(Unfit::NoOperator)?;
        operator.check_consistency(group, timeout).await
    };
    answer(checked.await)
}

pub(super) async fn plan_repair(
    State(pages): State<Pages>,
    Path(id): Path<String>,
) -> Result<Response, StatusCode> {
    let planned = pages.render(move |backend| {
        let operator = backend.operator().ok_or(Unfit::NoOperator)?;
        operator.plan_repair(group_id(&id)?)
    });
    Ok(answer(planned.await?))
}

pub(super) async fn repair(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let repaired = async {
        let (group, timeout) = (group_id(&id)?, timeout(query.as_deref())?);
        let _place = pages.commands.try_acquire().map_err(|_| Unfit::TooMany)?;
        let operator = pages.backend.operator().ok_or(Unfit::NoOperator)?;
        operator.repair(group, timeout).await
    };
    answer(repaired.await)
}

pub(super) fn answer<T: Serialize>(outcome: Result<T, OperatorError>) -> Response {
    match outcome {
        Ok(done) => Json(done).into_response(),
        Err(OperatorError { code, at_least, source }) => {
            let status = StatusCode::from_u16(code.http_status()).expect("statuses have three digits");
            let mut body = json!({ "error": source.to_string(), "code": code.label() });
            if let Some(at_least) = at_least {
                body["at_least"] = at_least.into();
            }
            (status, Json(body)).into_response()
        }
    }
}

fn group_id(text: &str) -> Result<u64, Unfit> {
    text.parse().map_err(|_| Unfit::Group)
}

/// The parameter `timeout_ms`.
fn timeout(query: Option<&str>) -> Result<Duration, Unfit> {
    let timeout = number(query, "timeout_ms").map_err(|_| Unfit::Timeout)?;
    let Some(timeout) = timeout.map(Duration::from_millis) else { return Ok(TIMEOUT_DEFAULT) };
    if timeout.is_zero() || timeout > TIMEOUT_MAX { Err(Unfit::Timeout) } else { Ok(timeout) }
}

/// The parameter `name`, if it is there.
fn number(query: Option<&str>, name: &str) -> Result<Option<u64>, ParseIntError> {
    let mut pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, text)| text.parse()).transpose()
}
