//! What the admin listener gives for a backup: [`BackupSource`] over HTTP. Errors are those of the other commands.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Pages;
use super::commands::{Unfit, answer};
use crate::backup::{BackupSource, SnapshotPieces};
use crate::operator::OperatorError;

/// Snapshots published and read for backups at the same time; one more is told to come back.
pub(super) const BACKUPS_MAX: usize = 4;
/// Who takes nothing for so long is not waited for. It can go on later where it stopped.
const STALL_MAX: Duration = Duration::from_secs(60);

pub(super) async fn map(State(pages): State<Pages>) -> Result<Response, StatusCode> {
    let map = pages.render(|backend| backend.backup_source().map(BackupSource::map)).await?;
    Ok(answer(map.ok_or(Unfit::NoOperator.into())))
}

pub(super) async fn publish(State(pages): State<Pages>, Path(id): Path<String>) -> Response {
    let published = async {
        let group = number(&id)?;
        let _place = pages.backups.try_acquire().map_err(|_| Unfit::TooMany)?;
        let source = pages.backend.backup_source().ok_or(Unfit::NoOperator)?;
        source.fresh_snapshot(group).await
    };
    answer(published.await)
}

pub(super) async fn snapshot(
    State(pages): State<Pages>,
    Path((id, term, index)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let opened = async {
        let (group, position) = (number(&id)?, (number(&term)?, number(&index)?));
        let place = pages.backups.clone().try_acquire_owned().map_err(|_| Unfit::TooMany)?;
        let source = pages.backend.backup_source().ok_or(Unfit::NoOperator)?;
        let pieces = source.snapshot(group, position, offset(query.as_deref())?).await?;
        Ok::<_, OperatorError>((pieces, place))
    };
    match opened.await {
        Ok((pieces, place)) => {
            let head = [
                (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
                (header::CONTENT_LENGTH, pieces.left().to_string()),
            ];
            (head, body(pieces, place)).into_response()
        }
        Err(error) => answer::<()>(Err(error)),
    }
}

/// The pieces as a body. One is read ahead; it ends early, and with it the connection, if reading fails or nobody takes
/// it.
fn body(mut pieces: Box<dyn SnapshotPieces>, place: OwnedSemaphorePermit) -> Body {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(1);
    tokio::spawn(async move {
        let _place = place;
        loop {
            let piece = match pieces.next_piece().await {
                Ok(Some(piece)) => Ok(piece),
                Ok(None) => return,
                Err(error) => Err(io::Error::other(error)),
            };
            let is_last = piece.is_err();
            if sender.send_timeout(piece, STALL_MAX).await.is_err() || is_last {
                return;
            }
        }
    });
    Body::from_stream(stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver))))
}

fn number(text: &str) -> Result<u64, Unfit> {
    text.parse().map_err(|_| Unfit::Number)
}

/// The parameter `offset`; 0 without it.
fn offset(query: Option<&str>) -> Result<u64, Unfit> {
    let mut pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == "offset").map_or(Ok(0), |(_, text)| number(text))
}
