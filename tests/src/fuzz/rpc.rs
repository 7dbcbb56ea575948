//! Requests between nodes, and what is answered.

use std::time::Duration;

use bytes::Bytes;
use quorate_shard::actor::fuzzing::CODECS;
use quorate_shard::actor::{ConsistencyReport, ReadLevel, ReplicaAnswer, ReplicaReport, Verdict};
use quorate_shard::repair::{EntriesAnswer, EntriesQuestion, Found};
use quorate_shard::rpc::{Announcement, Call, Led, Reply, Request, Scan};
use quorate_shard::{Error, LeaderHint};
use quorate_storage::kv::KeysPage;
use quorate_storage::state::StateDigest;
use quorate_storage::{EntryId, EntryKind, Index, NodeId, RangeEpoch, ReplicaId, Term, Timestamp};

use super::Target;
use super::fixture::{GROUP, UID, conf_change, descriptor, encoded, owner};
use super::laws::{reads_back, settles};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "rpc_request", what: request, seeds: request_seeds },
    Target { name: "rpc_reply", what: reply, seeds: reply_seeds },
    Target { name: "replica_message", what: replica_message, seeds: replica_message_seeds },
];

fn request(bytes: &[u8]) {
    reads_back(bytes, Request::decode, |request| encoded(request.encode()).to_vec());
}

fn request_seeds() -> Vec<Vec<u8>> {
    let text = Bytes::from_static;
    let level = ReadLevel::BoundedStale { lag_max: Duration::from_millis(700) };
    let scan =
        |reverse| Scan { start: text(b"a"), end: Some(text(b"q")), reverse, limit: 10, bytes_max: 999 };
    let calls = [
        Call::Propose(text(b"command")),
        Call::Get { level: ReadLevel::Linearizable, keys: vec![text(b"a"), Bytes::new(), text(b"c")] },
        Call::Scan { level, scan: scan(true) },
        Call::Query { level: ReadLevel::Local, body: text(b"query") },
        Call::ChangeConf(conf_change()),
        Call::Transfer(ReplicaId(3)),
        Call::Keys { level, scan: scan(false) },
        Call::Count { level },
        Call::Timestamp,
        Call::Observe(Timestamp(1 << 40)),
        Call::CheckConsistency,
    ];
    let led = |group| Led { group, uid: UID, term: Term(3) };
    let others = [
        Request::Catalog { have: Some(7) },
        Request::Catalog { have: None },
        Request::Leaders(Announcement { is_complete: true, led: vec![led(GROUP), led(GROUP)] }),
    ];
    let to_group = |call| Request::Group { group: GROUP, epoch: RangeEpoch(5), call };
    let all = calls.into_iter().map(to_group).chain(others);
    all.map(|request| encoded(request.encode()).to_vec()).collect()
}

fn reply(bytes: &[u8]) {
    settles(bytes, |bytes| match Reply::decode(bytes).ok()? {
        // Told once more, they are another node's.
        Reply::Failed(Error::Invalid(_) | Error::Read(_)) => None,
        reply => Some(reply.encode().to_vec()),
    });
}

fn reply_seeds() -> Vec<Vec<u8>> {
    let text = Bytes::from_static;
    let pairs = || vec![(text(b"a"), text(b"1")), (text(b"b"), Bytes::new())];
    let replies = [
        Reply::Applied { id: EntryId { term: Term(2), index: Index(9) }, output: text(b"output") },
        Reply::Values(vec![Some(text(b"value")), None]),
        Reply::Pairs(pairs()),
        Reply::Keys(KeysPage { keys: vec![text(b"a")], next: Some(text(b"b")) }),
        Reply::Count(7),
        Reply::Consistency(report()),
        Reply::Answer(text(b"answer")),
        Reply::Timestamp(Timestamp(1 << 40)),
        Reply::Done,
        Reply::Catalog(pairs()),
    ];
    let replies = replies.into_iter().chain(errors().into_iter().map(Reply::Failed));
    replies.map(|reply| reply.encode().to_vec()).collect()
}

fn errors() -> Vec<Error> {
    let hint = LeaderHint { replica: ReplicaId(2), node: NodeId(3) };
    let malformed = || quorate_storage::Error::Malformed { what: "query" };
    vec![
        Error::NotLeader { group: GROUP, hint: Some(hint) },
        Error::Busy { group: GROUP, retry_after: Duration::from_millis(20) },
        Error::Quarantined { group: GROUP, reason: "it is damaged".into(), maybe_committed: true },
        Error::DeadlineExceeded,
        Error::StaleRange { newer: Box::new(descriptor(3)) },
        Error::ConfChangeRefused("the last voter cannot be removed"),
        Error::Lagging { replica: ReplicaId(4), entries: 1_000 },
        Error::Invalid(malformed()),
        Error::DiskFull { group: GROUP, free_bytes: 1, needed_bytes: 2 },
        Error::ClockSkew { group: GROUP, offset_ms: -600 },
    ]
}

fn report() -> ConsistencyReport {
    let answers = [
        ReplicaAnswer::Digest(StateDigest(1 << 90)),
        ReplicaAnswer::Passed { applied: Index(11) },
        ReplicaAnswer::Behind { applied: Index(2) },
        ReplicaAnswer::NoDigest,
        ReplicaAnswer::Refused,
        ReplicaAnswer::Away,
    ];
    let replica =
        |(id, answer)| ReplicaReport { replica: ReplicaId(id), node: NodeId(id), is_voter: true, answer };
    ConsistencyReport {
        group: GROUP,
        index: Index(9),
        at: Duration::from_secs(7),
        replicas: (1..).zip(answers).map(replica).collect(),
        verdict: Verdict::Unverified,
    }
}

/// The first byte says what the rest is.
fn replica_message(bytes: &[u8]) {
    let Some((&which, body)) = bytes.split_first() else { return };
    let (_, codec) = CODECS[usize::from(which) % CODECS.len()];
    settles(body, |body| codec(&Bytes::copy_from_slice(body)).map(|written| written.to_vec()));
}

/// The forms of a fixed length are any bytes of that length; the others are made by their encoders.
fn replica_message_seeds() -> Vec<Vec<u8>> {
    let asked = vec![EntryId { term: Term(1), index: Index(5) }, EntryId { term: Term(2), index: Index(9) }];
    let owner = owner();
    let question = EntriesQuestion {
        group: GROUP,
        uid: UID,
        replica: owner.replica,
        incarnation: owner.incarnation,
        asked,
    };
    let found = vec![
        Found::Entry { kind: EntryKind::ConfChange, payload: Bytes::from_static(b"payload") },
        Found::Unreadable,
        Found::Other { is_committed: false },
        Found::Other { is_committed: true },
        Found::Beyond,
        Found::Compacted,
        Found::Omitted,
    ];
    let answer = EntriesAnswer { replica: owner.replica, term: Term(6), found };
    let body = |name: &str| match name {
        "chunk request" => [vec![7; 80], b"a piece".to_vec()].concat(),
        "chunk reply" => vec![0; 9],
        "snapshot question" | "quarantine notice" => vec![7; 56],
        "snapshot offer" => vec![7; 28],
        "digest question" => vec![7; 60],
        "digest answer" => vec![0; 25],
        "divergence notice" => vec![7; 96],
        "entries question" => question.encode().to_vec(),
        "entries answer" => answer.encode().to_vec(),
        "consistency report" => report_bytes(),
        other => unreachable!("{other} has no seed"),
    };
    (0..).zip(CODECS).map(|(which, (name, _))| [vec![which], body(name)].concat()).collect()
}

/// Out of the reply that carries it.
fn report_bytes() -> Vec<u8> {
    let (_, codec) = CODECS[CODECS.len() - 1];
    let reply = Reply::Consistency(report()).encode();
    let ranges = (0..reply.len()).flat_map(|start| (start..=reply.len()).map(move |end| start..end));
    let found = ranges.into_iter().find(|range| codec(&reply.slice(range.clone())).is_some());
    found.map(|range| reply.slice(range).to_vec()).expect("a reply carries the report")
}
