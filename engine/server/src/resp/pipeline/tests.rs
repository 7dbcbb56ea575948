use proptest::prelude::*;

use super::*;
use crate::backend::Routing;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

const ACCESS: Access = Access { routing: Routing::Cluster, reads_from_followers: false };

fn planned(plan: Plan, bytes: usize) -> Planned {
    Planned { plan, access: ACCESS, protocol: Protocol::Resp2, bytes }
}

fn get(key: &str) -> Planned {
    planned(Plan::Read { keys: vec![bytes(key)], shape: ValueShape::One }, 10)
}

fn put(key: &str, value: &str) -> Write {
    Write::Put { key: bytes(key), value: bytes(value) }
}

fn set(key: &str, value: &str) -> Planned {
    planned(Plan::Write { writes: vec![put(key, value)], shape: WriteShape::Ok }, 10)
}

fn pong() -> Planned {
    planned(Plan::Reply(Reply::Simple("PONG")), 1)
}

fn count() -> Planned {
    planned(Plan::Walk(Walk::Count), 1)
}

const WRITTEN: Result<Written, BackendError> = Ok(Written::Done { existed: false, previous: None });

fn calls(pipeline: &mut Pipeline) -> Vec<(Ticket, Call)> {
    pipeline.take_calls().collect()
}

#[test]
fn requests_that_arrived_together_travel_in_one_call_per_kind() {
    let mut pipeline = Pipeline::new();
    for request in [set("a", "1"), get("b"), set("c", "2"), get("d"), set("a", "3")] {
        pipeline.admit(request).unwrap();
    }
    let calls = calls(&mut pipeline);
    let made: Vec<_> = calls.iter().map(|(_, call)| call.clone()).collect();
    let writes = vec![put("a", "1"), put("c", "2"), put("a", "3")];
    assert_eq!(made, [Call::Read(vec![bytes("b"), bytes("d")]), Call::Write(writes)]);
    assert_eq!((pipeline.len(), pipeline.bytes()), (5, 50));
}

#[test]
fn a_request_waits_for_those_before_it_on_its_keys_and_no_others() {
    let mut pipeline = Pipeline::new();
    pipeline.admit(set("a", "1")).unwrap();
    assert_eq!(pipeline.admit(get("a")), Err(get("a")), "a read after a write waits for it");
    let (ticket, _) = calls(&mut pipeline).pop().unwrap();
    assert!(pipeline.admit(set("a", "2")).is_err(), "a write under way takes no more writes of its keys");
    pipeline.admit(get("b")).unwrap();
    assert!(pipeline.admit(set("b", "1")).is_err(), "a write waits for reads before it");
    pipeline.admit(get("b")).unwrap();
    pipeline.complete(ticket, Answer::Written(vec![WRITTEN]));
    pipeline.admit(get("a")).unwrap();
}

#[test]
fn requests_of_different_access_never_travel_together() {
    let mut pipeline = Pipeline::new();
    let access = Access { reads_from_followers: true, ..ACCESS };
    let from_follower = || Planned { access, ..get("b") };
    pipeline.admit(get("a")).unwrap();
    assert!(pipeline.admit(from_follower()).is_err());
    pipeline.admit(pong()).unwrap();
    let (ticket, _) = calls(&mut pipeline).pop().unwrap();
    assert_eq!(ticket.access(), ACCESS);
    pipeline.admit(from_follower()).unwrap();
    let (ticket, call) = calls(&mut pipeline).pop().unwrap();
    assert_eq!((ticket.access(), call), (access, Call::Read(vec![bytes("b")])));
}

#[test]
fn a_walk_waits_for_the_writes_before_it_and_writes_wait_for_it() {
    let mut pipeline = Pipeline::new();
    pipeline.admit(set("a", "1")).unwrap();
    assert!(pipeline.admit(count()).is_err());
    let (ticket, _) = calls(&mut pipeline).pop().unwrap();
    assert!(pipeline.admit(count()).is_err(), "also for those under way");
    pipeline.complete(ticket, Answer::Written(vec![WRITTEN]));
    pipeline.admit(count()).unwrap();
    assert!(pipeline.admit(set("b", "1")).is_err());
    assert!(pipeline.admit(count()).is_err(), "one walk at a time");
    pipeline.admit(get("b")).unwrap();
    let (ticket, call) = calls(&mut pipeline).pop().unwrap();
    assert_eq!(call, Call::Walk(Walk::Count));
    pipeline.complete(ticket, Answer::Reply(Reply::Integer(1)));
    pipeline.admit(set("c", "1")).unwrap();
    assert_eq!(pipeline.next_reply().unwrap().0, reply::OK);
    assert_eq!(pipeline.next_reply().unwrap().0, Reply::Integer(1));
}

#[test]
fn replies_leave_in_the_order_of_the_requests_each_in_its_protocol() {
    let mut pipeline = Pipeline::new();
    pipeline.admit(set("a", "1")).unwrap();
    pipeline.admit(pong()).unwrap();
    pipeline.admit(Planned { protocol: Protocol::Resp3, ..get("b") }).unwrap();
    let mut calls = calls(&mut pipeline);
    let (write, read) = (calls.pop().unwrap().0, calls.pop().unwrap().0);
    pipeline.complete(read, Answer::Values(vec![Ok(Some(bytes("v")))]));
    assert_eq!(pipeline.next_reply(), None);
    pipeline.complete(write, Answer::Written(vec![WRITTEN]));
    assert_eq!(pipeline.next_reply(), Some((reply::OK, Protocol::Resp2)));
    assert_eq!(pipeline.next_reply(), Some((Reply::Simple("PONG"), Protocol::Resp2)));
    assert_eq!(pipeline.next_reply(), Some((Reply::Bulk(bytes("v")), Protocol::Resp3)));
    assert!(pipeline.next_reply().is_none() && pipeline.is_empty() && pipeline.bytes() == 0);
    assert!(pipeline.in_use.is_empty() && pipeline.writes_in_use == 0);
}

#[test]
fn an_idle_pipeline_holds_no_memory_of_busier_times() {
    let mut pipeline = Pipeline::new();
    for at in 0..100 {
        pipeline.admit(set(&at.to_string(), "1")).unwrap();
    }
    let (ticket, _) = calls(&mut pipeline).pop().unwrap();
    pipeline.complete(ticket, Answer::Written(vec![WRITTEN; 100]));
    while pipeline.next_reply().is_some() {}
    pipeline.shrink();
    assert_eq!((pipeline.waiting.capacity(), pipeline.in_use.capacity()), (0, 0));
}

#[test]
fn a_request_of_which_part_was_done_never_reads_as_undone() {
    let no_leader = || Err(BackendError::NoLeader);
    let done = || Ok(Written::Done { existed: true, previous: None });
    let reply = WriteShape::Removed.reply(vec![done(), no_leader()]);
    let text = "INDETERMINATE 1 of 2 keys were done, then: the group that owns this key has no leader";
    assert_eq!(reply, reply::error(text));
    let reply = WriteShape::Ok.reply(vec![no_leader(), Err(BackendError::Indeterminate)]);
    assert_eq!(reply, reply::backend_error(&BackendError::Indeterminate));
    let nothing_done = reply::backend_error(&BackendError::NoLeader);
    assert_eq!(WriteShape::Ok.reply(vec![no_leader()]), nothing_done);
    let read = LengthShape::Found.reply(vec![Ok(Some(1)), Err(BackendError::NoLeader)]);
    assert_eq!(read, nothing_done, "a read does nothing");
    assert_eq!(WriteShape::Removed.reply(vec![done(), WRITTEN]), Reply::Integer(1));
}

#[test]
fn a_key_that_moved_is_the_whole_answer() {
    let moved = || BackendError::Moved { slot: 7, to: "127.0.0.1:1".parse().unwrap() };
    let expected = Reply::Error("MOVED 7 127.0.0.1:1".to_owned());
    assert_eq!(WriteShape::Ok.reply(vec![Err(moved()), Err(moved())]), expected);
    assert_eq!(ValueShape::All.reply(vec![Ok(None), Err(moved())]), expected);
    assert_eq!(LengthShape::Found.reply(vec![Ok(None), Err(moved())]), expected);
}

#[test]
#[should_panic(expected = "one result per operation")]
fn a_backend_that_loses_a_result_is_found_out() {
    let mut pipeline = Pipeline::new();
    pipeline.admit(get("a")).unwrap();
    let (ticket, _) = calls(&mut pipeline).pop().unwrap();
    pipeline.complete(ticket, Answer::Values(vec![]));
}

/// A store that carries out whole calls, in any order the test chooses.
#[derive(Default)]
struct Model(HashMap<Bytes, Bytes>);

impl Model {
    fn call(&mut self, call: Call) -> Answer {
        match call {
            Call::Read(keys) => Answer::Values(keys.iter().map(|key| Ok(self.0.get(key).cloned())).collect()),
            Call::Measure(keys) => {
                Answer::Lengths(keys.iter().map(|key| Ok(self.0.get(key).map(Bytes::len))).collect())
            }
            Call::Write(writes) => {
                Answer::Written(writes.into_iter().map(|write| Ok(self.write(write))).collect())
            }
            Call::Walk(_) => Answer::Reply(reply::count(self.0.len())),
        }
    }

    fn write(&mut self, write: Write) -> Written {
        let previous = match write {
            Write::Put { key, value } => self.0.insert(key, value),
            Write::Delete { key } => self.0.remove(&key),
            other => unreachable!("no plan makes {other:?}"),
        };
        Written::Done { existed: previous.is_some(), previous: None }
    }

    /// One request after the other: what a client must be led to believe.
    fn execute(&mut self, request: Planned) -> Reply {
        let mut pipeline = Pipeline::new();
        pipeline.admit(request).unwrap();
        for (ticket, call) in pipeline.take_calls().collect::<Vec<_>>() {
            let answer = self.call(call);
            pipeline.complete(ticket, answer);
        }
        pipeline.next_reply().unwrap().0
    }
}

fn any_request() -> impl Strategy<Value = Planned> {
    let key = || prop::sample::select(vec!["a", "b", "c"]).prop_map(bytes);
    let keys = move || prop::collection::vec(key(), 1..4);
    let puts = move |count| {
        let put =
            (key(), 0..100u8).prop_map(|(key, value)| Write::Put { key, value: bytes(&value.to_string()) });
        prop::collection::vec(put, count)
    };
    let plan = prop_oneof![
        key().prop_map(|key| Plan::Read { keys: vec![key], shape: ValueShape::One }),
        keys().prop_map(|keys| Plan::Read { keys, shape: ValueShape::All }),
        keys().prop_map(|keys| Plan::Measure { keys, shape: LengthShape::Found }),
        key().prop_map(|key| Plan::Measure { keys: vec![key], shape: LengthShape::Length }),
        puts(1..4).prop_map(|writes| Plan::Write { writes, shape: WriteShape::Ok }),
        keys().prop_map(|keys| {
            let writes = keys.into_iter().map(|key| Write::Delete { key }).collect();
            Plan::Write { writes, shape: WriteShape::Removed }
        }),
        Just(Plan::Walk(Walk::Count)),
        Just(Plan::Reply(Reply::Simple("PONG"))),
    ];
    (plan, any::<bool>()).prop_map(|(plan, reads_from_followers)| Planned {
        access: Access { reads_from_followers, ..ACCESS },
        ..planned(plan, 1)
    })
}

proptest! {
    /// Whatever travels together and overtakes whatever else, each reply is that of one request after the other.
    #[test]
    fn a_pipeline_is_answered_as_if_run_one_by_one(
        requests in prop::collection::vec(any_request(), 1..24),
        choices in prop::collection::vec(any::<u8>(), 200),
    ) {
        let mut choices = choices.into_iter().cycle().map(usize::from);
        let mut choose = move |below: usize| choices.next().unwrap_or(0) % below;
        let (mut store, mut sequential) = (Model::default(), Model::default());
        let expected: Vec<_> = requests.iter().map(|request| sequential.execute(request.clone())).collect();
        let mut pipeline = Pipeline::new();
        let mut arriving: VecDeque<_> = requests.into();
        let mut called: Vec<(Ticket, Call)> = Vec::new();
        let mut answered: Vec<(Ticket, Answer)> = Vec::new();
        let mut replies = Vec::new();
        while replies.len() < expected.len() {
            match choose(4) {
                0 if !called.is_empty() => {
                    let (ticket, call) = called.swap_remove(choose(called.len()));
                    answered.push((ticket, store.call(call)));
                }
                1 if !answered.is_empty() => {
                    let (ticket, answer) = answered.swap_remove(choose(answered.len()));
                    pipeline.complete(ticket, answer);
                }
                2 => called.extend(pipeline.take_calls()),
                _ => if let Some(request) = arriving.pop_front()
                    && let Err(request) = pipeline.admit(request)
                {
                    arriving.push_front(request);
                    called.extend(pipeline.take_calls());
                },
            }
            replies.extend(pipeline.next_reply().map(|(reply, _)| reply));
        }
        prop_assert_eq!(replies, expected);
        prop_assert!(pipeline.in_use.is_empty());
    }
}
