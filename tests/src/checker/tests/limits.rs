//! What is no history, and where a check gives up.

use std::time::Duration;

use quorate_telemetry::{Clock, SystemClock};

use super::script::history;
use crate::checker::generate::{Shape, linearizable};
use crate::checker::{
    Action, ClientId, GaveUp, History, HistoryError, Limits, OpId, Recorder, Reply, Verdict, What, check,
};

fn error(history: &History) -> HistoryError {
    check(history, &Limits::default()).expect_err("no history")
}

#[test]
fn a_value_that_is_written_twice_to_a_key_is_refused() {
    let twice = error(&history("1: put a\n1 -> done\n2: put a if absent\n2 -> lost"));
    assert!(matches!(&twice, HistoryError::WrittenTwice { first: OpId(0), second: OpId(1), .. }), "{twice}");
    let other_keys = history("1: put a @x\n1 -> done\n1: put a @y\n1 -> done");
    assert!(check(&other_keys, &Limits::default()).unwrap().verdict.is_linearizable());
}

#[test]
fn what_is_no_history_is_refused() {
    let mut ended_twice = history("1: get");
    ended_twice.reply(Duration::ZERO, OpId(0), Reply::found(None));
    ended_twice.lose(Duration::ZERO, OpId(0));
    assert!(matches!(error(&ended_twice), HistoryError::EndedTwice { op: OpId(0) }));

    let mut never_called = History::default();
    never_called.fail(Duration::ZERO, OpId(0));
    never_called.invoke(Duration::ZERO, ClientId(1), "k", Action::Get);
    assert!(matches!(error(&never_called), HistoryError::NeverCalled { op: OpId(0) }));

    let refused = error(&history("1: put a\n1 -> refused"));
    assert!(matches!(refused, HistoryError::RefusedWithoutGuard { op: OpId(0) }));
}

#[test]
fn a_key_that_takes_too_long_is_undecided() {
    let shape = Shape { operations: 2_000, keys: 1, clients: 8, open_percent: 5, seed: 1 };
    let history = linearizable(&shape);
    let judged = |steps_max, held_max| check(&history, &Limits { steps_max, held_max }).unwrap().verdict;
    assert!(matches!(judged(100, usize::MAX), Verdict::Undecided { why: GaveUp::Steps(100), .. }));
    assert!(matches!(judged(u64::MAX, 3), Verdict::Undecided { why: GaveUp::Held(3), .. }));
    assert!(judged(u64::MAX, usize::MAX).is_linearizable());
}

#[test]
fn more_operations_under_way_than_can_be_told_apart_are_undecided() {
    let mut history = History::default();
    let calls = (0..200).map(|client| {
        history.invoke(Duration::ZERO, ClientId(client), "k", Action::put(format!("v{client}")))
    });
    for op in calls.collect::<Vec<_>>() {
        history.reply(Duration::ZERO, op, Reply::done());
    }
    let verdict = check(&history, &Limits::default()).unwrap().verdict;
    assert!(matches!(verdict, Verdict::Undecided { why: GaveUp::UnderWay(128), .. }), "{verdict:?}");
}

#[test]
fn a_history_reads_back_as_it_was_written() {
    let shape = Shape { operations: 500, keys: 3, clients: 4, open_percent: 20, seed: 7 };
    let history = linearizable(&shape);
    let text: String = history.to_lines().collect();
    assert_eq!(History::from_lines(&text).unwrap(), history);
    let pinned = "{\"nanos\":0,\"op\":0,\"event\":\"invoke\",\"client\":1,\"key\":\"k\",\
                  \"action\":{\"change\":{\"only_if\":{\"is\":null},\"to\":\"a\"}}}\n\
                  {\"nanos\":1000000,\"op\":0,\"event\":\"return\",\"reply\":{\"applied\":{\"existed\":false}}}\n";
    let short: String = self::history("1: put a if absent\n1 -> done, not existed").to_lines().collect();
    assert_eq!(short, pinned);
}

#[test]
fn a_line_that_is_no_event_is_named() {
    let text = "{\"nanos\":0,\"op\":0,\"event\":\"lose\"}\n\n{\"nanos\":1}\n";
    assert!(matches!(History::from_lines(text), Err(HistoryError::Line { line: 3, .. })));
    let text = "{\"nanos\":0,\"op\":1,\"event\":\"invoke\",\"client\":1,\"key\":\"k\",\"action\":\"get\"}";
    let expected = HistoryError::CalledOutOfOrder { op: OpId(1), expected: 0 };
    assert_eq!(History::from_lines(text).unwrap_err().to_string(), expected.to_string());
}

#[test]
fn clients_on_many_threads_write_one_history() {
    const CLIENTS: u32 = 8;
    const OPERATIONS: u32 = 500;
    let clock: std::sync::Arc<dyn Clock> = std::sync::Arc::new(SystemClock::new());
    let recorder = Recorder::new(clock);
    let register = parking_lot::Mutex::new(None);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (recorder, register) = (recorder.clone(), &register);
            scope.spawn(move || {
                for at in 0..OPERATIONS {
                    let value = crate::checker::Value::from(format!("{client}-{at}"));
                    let op = recorder.invoke(ClientId(client), "k", Action::put(value.clone()));
                    let before = register.lock().replace(value);
                    recorder.reply(op, Reply::Applied(crate::checker::Before::Was(before)));
                }
            });
        }
    });
    let history = recorder.history();
    let calls = history.events().iter().filter(|event| matches!(event.what, What::Invoke { .. })).count();
    assert_eq!(calls, (CLIENTS * OPERATIONS) as usize);
    assert!(history.events().is_sorted_by_key(|event| event.nanos));
    let report = check(&history, &Limits::default()).unwrap();
    assert!(report.verdict.is_linearizable(), "{:?}", report.verdict);
}
