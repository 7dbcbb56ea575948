use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use quorate_storage::{
    ConfChangeOp, ConfEpoch, GroupDescriptor, GroupUid, Incarnation, Index, KeyRange, NodeId,
    ReplicaDescriptor, Term,
};
use quorate_telemetry::{Rng, SeededRng};

use super::*;
use crate::error::LeaderHint;

const SEED: u64 = 0x5eed_0020;

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn level() -> impl Strategy<Value = ReadLevel> {
    prop_oneof![
        Just(ReadLevel::Linearizable),
        Just(ReadLevel::Local),
        any::<u32>().prop_map(|ms| ReadLevel::BoundedStale { lag_max: Duration::from_millis(ms.into()) }),
    ]
}

fn replica() -> impl Strategy<Value = ReplicaDescriptor> {
    (1..9_u64, 1..9_u64, any::<[u8; 16]>()).prop_map(|(replica, node, incarnation)| ReplicaDescriptor {
        replica: ReplicaId(replica),
        node: NodeId(node),
        incarnation: Incarnation(incarnation),
    })
}

fn conf_change() -> impl Strategy<Value = ConfChange> {
    let op = prop_oneof![
        replica().prop_map(ConfChangeOp::AddLearner),
        (1..9_u64).prop_map(|id| ConfChangeOp::Promote(ReplicaId(id))),
        (1..9_u64).prop_map(|id| ConfChangeOp::Remove(ReplicaId(id))),
    ];
    (any::<u64>(), vec(op, 1..4))
        .prop_map(|(epoch, ops)| ConfChange { expected_epoch: ConfEpoch(epoch), ops })
}

fn scan(reverse: impl Strategy<Value = bool>) -> impl Strategy<Value = Scan> {
    (bytes(), option::of(bytes()), reverse, any::<u32>(), any::<u32>()).prop_map(
        |(start, end, reverse, limit, bytes_max)| Scan {
            start,
            end,
            reverse,
            limit: limit as usize,
            bytes_max: bytes_max as usize,
        },
    )
}

fn announcement() -> impl Strategy<Value = Announcement> {
    let led = (any::<u64>(), any::<[u8; 16]>(), any::<u64>()).prop_map(|(group, uid, term)| Led {
        group: GroupId(group),
        uid: GroupUid(uid),
        term: Term(term),
    });
    (any::<bool>(), vec(led, 0..4)).prop_map(|(is_complete, led)| Announcement { is_complete, led })
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        bytes().prop_map(Call::Propose),
        (level(), vec(bytes(), 0..4)).prop_map(|(level, keys)| Call::Get { level, keys }),
        (level(), scan(any::<bool>())).prop_map(|(level, scan)| Call::Scan { level, scan }),
        (level(), scan(Just(false))).prop_map(|(level, scan)| Call::Keys { level, scan }),
        level().prop_map(|level| Call::Count { level }),
        (level(), bytes()).prop_map(|(level, body)| Call::Query { level, body }),
        conf_change().prop_map(Call::ChangeConf),
        any::<u64>().prop_map(|to| Call::Transfer(ReplicaId(to))),
        Just(Call::Timestamp),
        any::<u64>().prop_map(|remote| Call::Observe(Timestamp(remote))),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (any::<u64>(), any::<u64>(), call()).prop_map(|(group, epoch, call)| Request::Group {
            group: GroupId(group),
            epoch: RangeEpoch(epoch),
            call
        }),
        option::of(any::<u64>()).prop_map(|have| Request::Catalog { have }),
        announcement().prop_map(Request::Leaders),
    ]
}

fn descriptor() -> impl Strategy<Value = GroupDescriptor> {
    (1..9_u64, bytes(), any::<u64>()).prop_map(|(group, start, epoch)| GroupDescriptor {
        group: GroupId(group),
        uid: GroupUid([9; 16]),
        range: KeyRange { start, end: None },
        range_epoch: RangeEpoch(epoch),
        conf_epoch: ConfEpoch(epoch / 2),
        replicas: vec![ReplicaDescriptor {
            replica: ReplicaId(1),
            node: NodeId(1),
            incarnation: Incarnation([1; 16]),
        }],
    })
}

fn error() -> impl Strategy<Value = Error> {
    let group = any::<u64>().prop_map(GroupId);
    let remote = || "[a-z ]{0,20}".prop_map(|text| quorate_storage::Error::Remote { text });
    let hint = option::of(
        (any::<u64>(), any::<u64>())
            .prop_map(|(replica, node)| LeaderHint { replica: ReplicaId(replica), node: NodeId(node) }),
    );
    prop_oneof![
        (group.clone(), hint).prop_map(|(group, hint)| Error::NotLeader { group, hint }),
        (group.clone(), any::<u32>())
            .prop_map(|(group, us)| Error::Busy { group, retry_after: Duration::from_micros(us.into()) }),
        group.clone().prop_map(|group| Error::Transferring { group }),
        (group.clone(), "[a-z ]{0,20}", any::<bool>()).prop_map(|(group, reason, maybe_committed)| {
            Error::Quarantined { group, reason: Arc::from(reason), maybe_committed }
        }),
        group.clone().prop_map(|group| Error::Stopped { group }),
        group.clone().prop_map(|group| Error::NoSuchGroup { group }),
        Just(Error::DeadlineExceeded),
        group.clone().prop_map(|group| Error::Indeterminate { group }),
        descriptor().prop_map(|newer| Error::StaleRange { newer: Box::new(newer) }),
        group.clone().prop_map(|group| Error::ConfChangePending { group }),
        group.clone().prop_map(|group| Error::NoCeiling { group }),
        (group.clone(), any::<u64>())
            .prop_map(|(group, at)| Error::CeilingExpired { group, ceiling: Timestamp(at) }),
        (group.clone(), any::<i64>()).prop_map(|(group, offset_ms)| Error::ClockSkew { group, offset_ms }),
        (group, any::<u64>()).prop_map(|(group, ahead_ms)| Error::TimestampAhead { group, ahead_ms }),
        any::<(u64, u64)>().prop_map(|(expected, current)| Error::ConfEpochMismatch {
            expected: ConfEpoch(expected),
            current: ConfEpoch(current)
        }),
        (0..codec::REFUSALS.len()).prop_map(|at| Error::ConfChangeRefused(codec::REFUSALS[at])),
        any::<(u64, u64)>().prop_map(|(id, entries)| Error::Lagging { replica: ReplicaId(id), entries }),
        remote().prop_map(Error::Invalid),
        remote().prop_map(Error::Read),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let pairs = || vec((bytes(), bytes()), 0..4);
    prop_oneof![
        (any::<u64>(), any::<u64>(), bytes()).prop_map(|(term, index, output)| Reply::Applied {
            id: EntryId { term: Term(term), index: Index(index) },
            output
        }),
        vec(option::of(bytes()), 0..4).prop_map(Reply::Values),
        pairs().prop_map(Reply::Pairs),
        (vec(bytes(), 0..4), option::of(bytes()))
            .prop_map(|(keys, next)| Reply::Keys(KeysPage { keys, next })),
        any::<u64>().prop_map(Reply::Count),
        any::<u64>().prop_map(|at| Reply::Timestamp(Timestamp(at))),
        bytes().prop_map(Reply::Answer),
        Just(Reply::Done),
        pairs().prop_map(Reply::Catalog),
        error().prop_map(Reply::Failed),
    ]
}

/// Texts of storage errors travel without their type.
fn shown(reply: &Reply) -> String {
    format!("{reply:?}").replace("on the other node: ", "")
}

proptest! {
    #[test]
    fn every_request_comes_back(request in request()) {
        prop_assert_eq!(Request::decode(&request.encode().unwrap()).unwrap(), request);
    }

    #[test]
    fn every_reply_comes_back(reply in reply()) {
        let expected = shown(&reply);
        prop_assert_eq!(shown(&Reply::decode(&reply.encode()).unwrap()), expected);
    }

    #[test]
    fn outcomes_mean_the_same_over_the_wire(error in error()) {
        let (retryable, maybe) = (error.is_retryable(), error.is_maybe_committed());
        let Reply::Failed(back) = Reply::decode(&Reply::Failed(error).encode()).unwrap() else { panic!() };
        prop_assert_eq!((back.is_retryable(), back.is_maybe_committed()), (retryable, maybe));
    }

    #[test]
    fn strange_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        drop(Request::decode(&bytes));
        drop(Reply::decode(&bytes));
    }
}

#[test]
fn a_conf_change_with_too_many_steps_is_refused_before_it_is_sent() {
    let ops = vec![ConfChangeOp::Remove(ReplicaId(1)); quorate_storage::conf_change::STEPS_MAX + 1];
    let call = Call::ChangeConf(ConfChange { expected_epoch: ConfEpoch(1), ops });
    let request = Request::Group { group: GroupId(1), epoch: RangeEpoch(1), call };
    assert!(matches!(request.encode(), Err(quorate_storage::Error::TooLarge { .. })));
}

#[test]
fn an_announcement_of_too_many_groups_is_refused_before_it_is_sent() {
    let led = vec![Led { group: GroupId(1), uid: GroupUid([1; 16]), term: Term(1) }; LED_MAX + 1];
    let request = Request::Leaders(Announcement { is_complete: true, led });
    assert!(matches!(request.encode(), Err(quorate_storage::Error::TooLarge { .. })));
}

#[test]
fn mutated_bytes_never_panic() {
    println!("seed {SEED:#x}");
    let rng = SeededRng::new(SEED);
    let scan = Scan { start: "a".into(), end: Some("b".into()), reverse: false, limit: 1, bytes_max: 1 };
    let call = Call::Scan { level: ReadLevel::Local, scan };
    let request = Request::Group { group: GroupId(1), epoch: RangeEpoch(1), call }.encode().unwrap();
    let reply = Reply::Pairs(vec![("k".into(), "v".into()); 3]).encode();
    let below = |bound: usize| usize::try_from(rng.below(bound as u64)).unwrap();
    for _ in 0..10_000 {
        for sound in [&request, &reply] {
            let mut bytes = sound.to_vec();
            for _ in 0..=rng.below(4) {
                let at = below(bytes.len());
                bytes[at] ^= 1 << rng.below(8);
            }
            bytes.truncate(bytes.len() - below(8).saturating_sub(5));
            drop(Request::decode(&bytes));
            drop(Reply::decode(&bytes));
        }
    }
}
