use proptest::prelude::*;

use super::*;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn get(key: &str) -> Plan {
    Plan::Get { key: bytes(key) }
}

fn put(key: &str, value: &str) -> Write {
    Write::Put { key: bytes(key), value: bytes(value) }
}

fn set(key: &str, value: &str) -> Plan {
    Plan::Set { write: put(key, value) }
}

fn calls(pipeline: &mut Pipeline) -> Vec<(Ticket, Call)> {
    pipeline.take_calls().collect()
}

#[test]
fn requests_that_arrived_together_travel_in_one_call_per_kind() {
    let mut pipeline = Pipeline::new();
    for plan in [set("a", "1"), get("b"), set("c", "2"), get("d"), set("a", "3")] {
        pipeline.admit(plan, 10).unwrap();
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
    pipeline.admit(set("a", "1"), 0).unwrap();
    assert_eq!(pipeline.admit(get("a"), 0), Err(get("a")), "a read after a write waits for it");
    let (ticket, _) = calls(&mut pipeline).pop().unwrap();
    assert!(pipeline.admit(set("a", "2"), 0).is_err(), "a write under way takes no more writes of its keys");
    pipeline.admit(get("b"), 0).unwrap();
    assert!(pipeline.admit(set("b", "1"), 0).is_err(), "a write waits for reads before it");
    pipeline.admit(get("b"), 0).unwrap();
    pipeline.complete(ticket, Answer::Existed(vec![Ok(false)]));
    pipeline.admit(get("a"), 0).unwrap();
}

#[test]
fn replies_leave_in_the_order_of_the_requests() {
    let mut pipeline = Pipeline::new();
    pipeline.admit(set("a", "1"), 1).unwrap();
    pipeline.admit(Plan::Reply(reply::simple("PONG")), 1).unwrap();
    pipeline.admit(get("b"), 1).unwrap();
    let mut calls = calls(&mut pipeline);
    let (write, read) = (calls.pop().unwrap().0, calls.pop().unwrap().0);
    pipeline.complete(read, Answer::Values(vec![Ok(Some(bytes("v")))]));
    assert_eq!(pipeline.next_reply(), None);
    pipeline.complete(write, Answer::Existed(vec![Ok(false)]));
    assert_eq!(pipeline.next_reply(), Some(reply::ok()));
    assert_eq!(pipeline.next_reply(), Some(reply::simple("PONG")));
    assert_eq!(pipeline.next_reply(), Some(Reply::BulkString(bytes("v"))));
    assert!(pipeline.next_reply().is_none() && pipeline.is_empty() && pipeline.bytes() == 0);
    assert!(pipeline.in_use.is_empty());
}

#[test]
fn a_request_of_which_part_was_done_never_reads_as_undone() {
    let no_leader = || Err(BackendError::NoLeader);
    let reply = existed_reply(Shape::Removed, &[Ok(true), no_leader()]);
    let text = "INDETERMINATE 1 of 2 keys were done, then: the group that owns this key has no leader";
    assert_eq!(reply, reply::error(text));
    let reply = existed_reply(Shape::Ok, &[no_leader(), Err(BackendError::Indeterminate)]);
    assert_eq!(reply, reply::backend_error(&BackendError::Indeterminate));
    let nothing_done = reply::backend_error(&BackendError::NoLeader);
    assert_eq!(existed_reply(Shape::Ok, &[no_leader()]), nothing_done);
    assert_eq!(existed_reply(Shape::Found, &[Ok(true), no_leader()]), nothing_done, "a read does nothing");
    assert_eq!(existed_reply(Shape::Removed, &[Ok(true), Ok(false)]), reply::integer(1));
}

#[test]
#[should_panic(expected = "one result per operation")]
fn a_backend_that_loses_a_result_is_found_out() {
    let mut pipeline = Pipeline::new();
    pipeline.admit(get("a"), 0).unwrap();
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
            Call::Exists(keys) => {
                Answer::Existed(keys.iter().map(|key| Ok(self.0.contains_key(key))).collect())
            }
            Call::Write(writes) => {
                Answer::Existed(writes.into_iter().map(|write| Ok(self.write(write))).collect())
            }
        }
    }

    fn write(&mut self, write: Write) -> bool {
        match write {
            Write::Put { key, value } => self.0.insert(key, value).is_some(),
            Write::Delete { key } => self.0.remove(&key).is_some(),
            other => unreachable!("no plan makes {other:?}"),
        }
    }

    /// One request after the other: what a client must be led to believe.
    fn execute(&mut self, plan: Plan) -> Reply {
        let mut pipeline = Pipeline::new();
        pipeline.admit(plan, 0).unwrap();
        for (ticket, call) in pipeline.take_calls().collect::<Vec<_>>() {
            let answer = self.call(call);
            pipeline.complete(ticket, answer);
        }
        pipeline.next_reply().unwrap()
    }
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let key = || prop::sample::select(vec!["a", "b", "c"]).prop_map(bytes);
    let keys = move || prop::collection::vec(key(), 1..4);
    let puts = move || {
        let put =
            (key(), 0..100u8).prop_map(|(key, value)| Write::Put { key, value: bytes(&value.to_string()) });
        prop::collection::vec(put, 1..4)
    };
    prop_oneof![
        key().prop_map(|key| Plan::Get { key }),
        keys().prop_map(|keys| Plan::Mget { keys }),
        keys().prop_map(|keys| Plan::Exists { keys }),
        puts().prop_map(|mut puts| Plan::Set { write: puts.remove(0) }),
        puts().prop_map(|writes| Plan::Mset { writes }),
        keys().prop_map(|keys| {
            Plan::Del { writes: keys.into_iter().map(|key| Write::Delete { key }).collect() }
        }),
        Just(Plan::Reply(reply::simple("PONG"))),
    ]
}

proptest! {
    /// Whatever travels together and overtakes whatever else, each reply is that of one request after the other.
    #[test]
    fn a_pipeline_is_answered_as_if_run_one_by_one(
        plans in prop::collection::vec(any_plan(), 1..24),
        choices in prop::collection::vec(any::<u8>(), 200),
    ) {
        let mut choices = choices.into_iter().cycle().map(usize::from);
        let mut choose = move |below: usize| choices.next().unwrap_or(0) % below;
        let (mut store, mut sequential) = (Model::default(), Model::default());
        let expected: Vec<_> = plans.iter().map(|plan| sequential.execute(plan.clone())).collect();
        let mut pipeline = Pipeline::new();
        let mut arriving: VecDeque<_> = plans.into();
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
                _ => if let Some(plan) = arriving.pop_front()
                    && let Err(plan) = pipeline.admit(plan, 0)
                {
                    arriving.push_front(plan);
                    called.extend(pipeline.take_calls());
                },
            }
            replies.extend(pipeline.next_reply());
        }
        prop_assert_eq!(replies, expected);
        prop_assert!(pipeline.in_use.is_empty());
    }
}
