//! Answers other replicas from the log of this one, whether it runs or is being repaired itself.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use quorate_storage::log::LogReader;
use quorate_storage::{Error, GroupId, ReplicaId};
use quorate_telemetry::Workers;
use tokio::sync::oneshot;

use super::wire::{ANSWER_BYTES_MAX, EntriesAnswer, EntriesQuestion, Found};

/// The log of a group, for other replicas. Empty until the log is open.
#[derive(Debug)]
pub(crate) struct LogServer {
    reader: RwLock<Option<Arc<dyn LogReader>>>,
    workers: Arc<dyn Workers>,
}

impl LogServer {
    pub(crate) fn new(workers: Arc<dyn Workers>) -> Self {
        Self { reader: RwLock::new(None), workers }
    }

    pub(crate) fn open(&self, reader: Arc<dyn LogReader>) {
        *self.reader.write() = Some(reader);
    }

    pub(crate) fn close(&self) {
        *self.reader.write() = None;
    }

    /// What `replica`, this one, has. Empty if it cannot say.
    pub(crate) async fn answer(
        &self,
        group: GroupId,
        replica: ReplicaId,
        question: EntriesQuestion,
    ) -> Bytes {
        let Some(reader) = self.reader.read().clone() else { return Bytes::new() };
        let (reply, answer) = oneshot::channel();
        let job = move || drop(reply.send(look_up(reader.as_ref(), replica, &question).encode()));
        if self.workers.submit(group.get(), Box::new(job)).is_err() {
            return Bytes::new();
        }
        answer.await.unwrap_or_default()
    }
}

/// What `replica`, whose log `reader` reads, has of what is asked for. Blocks. The hard state is read first: see the safety
/// argument of [`super`].
pub fn look_up(reader: &dyn LogReader, replica: ReplicaId, question: &EntriesQuestion) -> EntriesAnswer {
    let hard_state = reader.hard_state();
    let mut bytes_left = ANSWER_BYTES_MAX;
    let mut found = Vec::with_capacity(question.asked.len());
    for id in &question.asked {
        if bytes_left == 0 {
            found.push(Found::Omitted);
            continue;
        }
        found.push(match reader.entries(id.index, id.index.next(), 1) {
            Ok(mut entries) => match entries.pop() {
                Some(entry) if entry.id() == *id => {
                    bytes_left = bytes_left.saturating_sub(entry.payload.len() as u64);
                    Found::Entry { kind: entry.kind, payload: entry.payload }
                }
                Some(_) => Found::Other { is_committed: id.index <= hard_state.commit },
                None => Found::Unreadable,
            },
            Err(Error::OutOfRange { first, .. }) if id.index.get() < first => Found::Compacted,
            Err(Error::OutOfRange { .. }) => Found::Beyond,
            Err(error) => {
                tracing::warn!(group = %question.group, index = %id.index, %error, "cannot help another replica");
                Found::Unreadable
            }
        });
    }
    EntriesAnswer { replica, term: hard_state.term, found }
}
