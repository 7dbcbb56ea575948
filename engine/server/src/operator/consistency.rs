//! The states of a group's replicas, compared: the JSON form.

use quorate::{ReplicaAnswer, Verdict};
use serde::{Deserialize, Serialize};

/// What a comparison came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consistency {
    /// The group.
    pub group: u64,
    /// The applied index whose state was asked for.
    pub index: u64,
    /// When it ended, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// `consistent`, `unverified` (fewer than two states to compare), `diverged` (a majority proves others wrong; they
    /// are quarantined) or `divided` (states differ without a majority).
    pub verdict: String,
    /// The replicas that are wrong, with `diverged`.
    pub divergent_replicas: Vec<u64>,
    /// What each replica said, by id.
    pub replicas: Vec<ReplicaState>,
}

/// One replica's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaState {
    /// Its id.
    pub replica: u64,
    /// Its node.
    pub node: u64,
    /// Whether it has a vote.
    pub is_voter: bool,
    /// `digest`, `passed` (it was further already), `behind`, `no_digest` (its state machine keeps none), `refused`
    /// (out of service) or `away`.
    pub answer: String,
    /// Its digest, 32 hexadecimal digits.
    pub digest: Option<String>,
    /// Where it is, if it is not at the index.
    pub applied_index: Option<u64>,
}

impl Consistency {
    /// Whether replicas hold different states.
    pub fn is_violated(&self) -> bool {
        self.verdict == "diverged" || self.verdict == "divided"
    }
}

impl From<&quorate::ConsistencyReport> for Consistency {
    fn from(report: &quorate::ConsistencyReport) -> Self {
        let divergent_replicas = match &report.verdict {
            Verdict::Diverged { divergent, .. } => divergent.iter().map(|replica| replica.get()).collect(),
            _ => Vec::new(),
        };
        Self {
            group: report.group.get(),
            index: report.index.get(),
            at_unix_ms: u64::try_from(report.at.as_millis()).unwrap_or(u64::MAX),
            verdict: report.verdict.label().to_owned(),
            divergent_replicas,
            replicas: report.replicas.iter().map(Into::into).collect(),
        }
    }
}

impl From<&quorate::ReplicaReport> for ReplicaState {
    fn from(report: &quorate::ReplicaReport) -> Self {
        let (answer, digest, applied_index) = match report.answer {
            ReplicaAnswer::Digest(digest) => ("digest", Some(format!("{:032x}", digest.0)), None),
            ReplicaAnswer::Passed { applied } => ("passed", None, Some(applied.get())),
            ReplicaAnswer::Behind { applied } => ("behind", None, Some(applied.get())),
            ReplicaAnswer::NoDigest => ("no_digest", None, None),
            ReplicaAnswer::Refused => ("refused", None, None),
            ReplicaAnswer::Away => ("away", None, None),
        };
        Self {
            replica: report.replica.get(),
            node: report.node.get(),
            is_voter: report.is_voter,
            answer: answer.to_owned(),
            digest,
            applied_index,
        }
    }
}
