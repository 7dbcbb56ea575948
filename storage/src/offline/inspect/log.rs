//! The log, as a start would find it and file by file.

use super::report::{HardStateReport, LogReport, SegmentReport, SnapshotRecordReport, TokenReport};
use crate::entry::HardState;
use crate::ids::{Index, ReplicaId};
use crate::log::LogState;
use crate::log::survey::{Role, SegmentSurvey};
use crate::snapshot::SnapshotToken;

impl From<&LogState> for LogReport {
    fn from(state: &LogState) -> Self {
        let skeleton = &state.skeleton;
        let last = crate::entry::EntryId {
            term: skeleton.term(skeleton.last).unwrap_or_default(),
            index: skeleton.last,
        };
        let run = |&(index, term): &(Index, _)| crate::entry::EntryId { term, index }.into();
        Self {
            base: skeleton.base.into(),
            first: skeleton.first().get(),
            last: last.into(),
            terms: skeleton.runs.iter().map(run).collect(),
            conf_changes: skeleton.conf_changes.iter().map(|index| index.get()).collect(),
            hard_state: state.hard_state.into(),
            snapshots: state.snapshots.iter().map(|&token| token.into()).collect(),
            is_clean: state.clean,
            torn_batches: state.torn_batches,
        }
    }
}

impl From<SegmentSurvey> for SegmentReport {
    fn from(survey: SegmentSurvey) -> Self {
        let role = match survey.role {
            Role::Sealed => "sealed",
            Role::Closed => "closed",
            Role::Open => "open",
            Role::Leftover => "leftover",
        };
        let record = |&(token, is_installed): &(SnapshotToken, bool)| SnapshotRecordReport {
            token: token.into(),
            is_installed,
        };
        Self {
            file: survey.path,
            number: survey.number,
            role,
            bytes: survey.bytes,
            first_sequence: survey.sequence,
            batches: survey.batches,
            first: survey.entries.map(|(low, _)| low.get()),
            last: survey.entries.map(|(_, high)| high.get()),
            is_proven: survey.is_tail_proven,
            torn_at: survey.torn_at,
            truncations: survey.truncations.into_iter().map(Into::into).collect(),
            compactions: survey.compactions.into_iter().map(Into::into).collect(),
            snapshots: survey.snapshots.iter().map(record).collect(),
            hard_state: survey.hard_state.map(Into::into),
        }
    }
}

impl From<HardState> for HardStateReport {
    fn from(state: HardState) -> Self {
        let HardState { term, vote, commit } = state;
        Self { term: term.get(), vote: vote.map(ReplicaId::get), commit: commit.get() }
    }
}

impl From<SnapshotToken> for TokenReport {
    fn from(token: SnapshotToken) -> Self {
        Self { applied: token.id.into(), bytes: token.bytes, crc: token.crc }
    }
}
