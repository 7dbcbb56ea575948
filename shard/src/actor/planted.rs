//! A conf change that publishes: see [`Planted::ConfChangePublishes`]. Not in any product.

use quorate_storage::planted::{self, Planted};
use quorate_storage::state::AppliedRecord;
use quorate_storage::{Entry, EntryId, EntryKind};

use crate::actor::run::Actor;
use crate::core::AppliedConf;

/// A membership, and the conf change that made it.
#[derive(Clone, Debug)]
pub(crate) struct Relabel {
    pub(crate) at: EntryId,
    pub(crate) conf: AppliedConf,
}

impl Relabel {
    /// Of an entry that is being handed to the applier.
    pub(crate) fn of(entry: &Entry, conf: Option<&AppliedConf>) -> Option<Self> {
        let is_planted = planted::is(Planted::ConfChangePublishes) && entry.kind == EntryKind::ConfChange;
        conf.filter(|_| is_planted).map(|conf| Self { at: entry.id(), conf: conf.clone() })
    }

    /// The label as a conf change would have it.
    pub(crate) fn apply(&self, record: &mut AppliedRecord) {
        record.applied = self.at;
        record.conf_state = self.conf.conf_state.clone();
        record.descriptor = self.conf.descriptor.clone();
    }
}

impl Actor {
    pub(crate) fn publish_at(&mut self, entry: &Entry, conf: Option<&AppliedConf>) {
        if let Some(relabel) = Relabel::of(entry, conf) {
            self.publisher.relabel = Some(relabel);
            self.publish(None);
        }
    }
}
