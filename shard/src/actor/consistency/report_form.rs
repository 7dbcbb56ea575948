//! The wire form of a report: frozen rkyv types. The verdict is not in it: it follows from the answers.

use std::time::Duration;

use bytes::Bytes;
use quorate_storage::state::StateDigest;
use quorate_storage::{GroupId, Index, NodeId, ReplicaId};
use rkyv::rancor;

use super::judge::judge;
use super::{ConsistencyReport, ReplicaAnswer, ReplicaReport};

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct ConsistencyV1 {
    group: u64,
    index: u64,
    at_ms: u64,
    replicas: Vec<ReplicaV1>,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct ReplicaV1 {
    replica: u64,
    node: u64,
    is_voter: bool,
    answer: AnswerV1,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum AnswerV1 {
    Digest(u128),
    Passed(u64),
    Behind(u64),
    NoDigest,
    Refused,
    Away,
}

const _: () = assert!(size_of::<ArchivedConsistencyV1>() == 32, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedReplicaV1>() == 34, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedAnswerV1>() == 17, "as docs/FORMAT.md has it");

impl ConsistencyReport {
    /// The report's bytes.
    pub(crate) fn encode(&self) -> Bytes {
        let replicas = self.replicas.iter().map(|report| ReplicaV1 {
            replica: report.replica.get(),
            node: report.node.get(),
            is_voter: report.is_voter,
            answer: report.answer.into(),
        });
        let form = ConsistencyV1 {
            group: self.group.get(),
            index: self.index.get(),
            at_ms: u64::try_from(self.at.as_millis()).unwrap_or(u64::MAX),
            replicas: replicas.collect(),
        };
        let bytes = rkyv::to_bytes::<rancor::Error>(&form);
        Bytes::from_owner(bytes.expect("serializing into memory does not fail"))
    }

    /// Reads the report of another node.
    ///
    /// # Errors
    /// [`quorate_storage::Error::Malformed`].
    pub(crate) fn decode(bytes: &[u8]) -> quorate_storage::Result<Self> {
        let form = rkyv::from_bytes::<ConsistencyV1, rancor::Error>(bytes)
            .map_err(|_| quorate_storage::Error::Malformed { what: "consistency report" })?;
        let replicas: Vec<_> = form
            .replicas
            .into_iter()
            .map(|report| ReplicaReport {
                replica: ReplicaId(report.replica),
                node: NodeId(report.node),
                is_voter: report.is_voter,
                answer: report.answer.into(),
            })
            .collect();
        let verdict = judge(&replicas);
        let at = Duration::from_millis(form.at_ms);
        Ok(Self { group: GroupId(form.group), index: Index(form.index), at, replicas, verdict })
    }
}

impl From<ReplicaAnswer> for AnswerV1 {
    fn from(answer: ReplicaAnswer) -> Self {
        match answer {
            ReplicaAnswer::Digest(digest) => Self::Digest(digest.0),
            ReplicaAnswer::Passed { applied } => Self::Passed(applied.get()),
            ReplicaAnswer::Behind { applied } => Self::Behind(applied.get()),
            ReplicaAnswer::NoDigest => Self::NoDigest,
            ReplicaAnswer::Refused => Self::Refused,
            ReplicaAnswer::Away => Self::Away,
        }
    }
}

impl From<AnswerV1> for ReplicaAnswer {
    fn from(answer: AnswerV1) -> Self {
        match answer {
            AnswerV1::Digest(digest) => Self::Digest(StateDigest(digest)),
            AnswerV1::Passed(applied) => Self::Passed { applied: Index(applied) },
            AnswerV1::Behind(applied) => Self::Behind { applied: Index(applied) },
            AnswerV1::NoDigest => Self::NoDigest,
            AnswerV1::Refused => Self::Refused,
            AnswerV1::Away => Self::Away,
        }
    }
}
