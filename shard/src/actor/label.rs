//! What the newest snapshot says it holds: followers are offered it, and it tells whether the next one is worth its
//! bytes. A start does not need it, so it is read once the group runs.

use quorate_storage::snapshot::{SnapshotDir, SnapshotLabel, SnapshotToken};
use quorate_storage::state::{AppliedRecord, StateDigest};
use quorate_storage::{GroupId, Index};
use quorate_telemetry::Workers;
use tokio::sync::mpsc;

use crate::actor::mailbox::Event;
use crate::actor::run::Actor;
use crate::core::Input;

/// Reads it.
pub(crate) struct LabelReader {
    pub(crate) group: GroupId,
    pub(crate) dir: SnapshotDir,
    /// What the state machine held at the start.
    pub(crate) record: AppliedRecord,
}

/// The newest snapshot whose label could be read.
#[derive(Debug)]
pub(crate) struct LabelRead {
    newest: Option<(SnapshotToken, Box<SnapshotLabel>)>,
    /// What was started with, and whether more than time has changed since that snapshot.
    floor: Index,
    has_new_data: bool,
}

impl LabelReader {
    /// Has a worker read it, out of `tokens` (oldest first), and tell `events`. What is damaged is put aside.
    pub(crate) fn read(
        self,
        workers: &dyn Workers,
        tokens: Vec<SnapshotToken>,
        events: mpsc::UnboundedSender<Event>,
    ) {
        let group = self.group.get();
        let job = Box::new(move || {
            let mut newest = None;
            for token in tokens.iter().rev() {
                match self.dir.label(token) {
                    Ok(label) => {
                        newest = Some((*token, Box::new(label)));
                        break;
                    }
                    Err(error) => self.give_up(*token, error, &events),
                }
            }
            let has_new_data = newest.as_ref().is_none_or(|(_, label)| self.differs(label));
            let floor = self.record.applied.index;
            drop(events.send(Event::LabelRead(LabelRead { newest, floor, has_new_data })));
        });
        // A pool is stopped after its groups: nobody misses the label.
        let _stopped = workers.submit(group, job);
    }

    fn give_up(
        &self,
        token: SnapshotToken,
        error: quorate_storage::Error,
        events: &mpsc::UnboundedSender<Event>,
    ) {
        if !error.is_corruption() {
            tracing::warn!(group = %self.group, index = %token.id.index, %error, "cannot read a snapshot's label");
            return;
        }
        let aside = self.dir.quarantine(token.id);
        tracing::warn!(group = %self.group, index = %token.id.index, ?aside, "damaged snapshot put aside");
        drop(events.send(Event::SnapshotSuspect { token, rot: Some(error) }));
    }

    /// Whose state machine keeps no digest cannot tell, and is taken to have changed.
    fn differs(&self, label: &SnapshotLabel) -> bool {
        let (here, there) = (&self.record, &label.record);
        here.digest == StateDigest::default()
            || (here.digest, &here.conf_state, &here.descriptor)
                != (there.digest, &there.conf_state, &there.descriptor)
    }
}

impl Actor {
    pub(crate) fn on_label_read(&mut self, read: LabelRead) {
        let LabelRead { newest, floor, has_new_data } = read;
        self.publisher.trigger.note_entry(floor, has_new_data);
        if let Some((token, label)) = newest {
            self.inputs.push(Input::SnapshotPublished { token, label });
        }
    }
}
