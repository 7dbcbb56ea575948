//! Histories written out.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::checker::{
    Action, Before, ClientId, Guard, History, Limits, OpId, Reply, Value, Verdict, Violation, check,
};

/// A history, one event in a line: `1: put a` is a call of client 1, `1 -> done` what it is told. Calls: `get`, `put V`,
/// `delete`, both also with `if V`, `if absent`, `if present`; ` @KEY` behind it names a key. Replies: `V` or `none` to
/// a `get`; `done`, `refused`, with or without `, was V`, `, was none`, `, existed`, `, not existed`; `failed`, `lost`.
pub(super) fn history(script: &str) -> History {
    let mut history = History::default();
    let mut calls: BTreeMap<u32, OpId> = BTreeMap::new();
    for (at, line) in script.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
        let now = Duration::from_millis(at as u64);
        if let Some((client, call)) = line.split_once(": ") {
            let (call, key) = call.split_once(" @").unwrap_or((call, "k"));
            let client = client.parse().expect("the number of a client");
            calls.insert(client, history.invoke(now, ClientId(client), key, action(call)));
        } else {
            let (client, told) = line.split_once(" -> ").expect("a call or a reply");
            let op = calls.remove(&client.parse().expect("the number of a client"));
            let op = op.expect("the client has called");
            match told {
                "failed" => history.fail(now, op),
                "lost" => history.lose(now, op),
                told => history.reply(now, op, reply(told)),
            }
        }
    }
    history
}

fn action(call: &str) -> Action {
    let (what, guard) = call.split_once(" if ").map_or((call, None), |(what, guard)| (what, Some(guard)));
    let only_if = match guard {
        None => Guard::Always,
        Some("present") => Guard::Present,
        Some("absent") => Guard::Is(None),
        Some(value) => Guard::Is(Some(value.into())),
    };
    match what.split_once(' ') {
        Some(("put", value)) => Action::Change { only_if, to: Some(value.into()) },
        None if what == "delete" => Action::Change { only_if, to: None },
        None if what == "get" => Action::Get,
        _ => panic!("no call: {call}"),
    }
}

fn reply(told: &str) -> Reply {
    let (what, before) = told.split_once(", ").unwrap_or((told, ""));
    let before = match before {
        "" => Before::Untold,
        "existed" => Before::Existed(true),
        "not existed" => Before::Existed(false),
        was => Before::Was(value(was.strip_prefix("was ").expect("what was there"))),
    };
    match what {
        "done" => Reply::Applied(before),
        "refused" => Reply::Refused(before),
        found => Reply::found(value(found)),
    }
}

fn value(text: &str) -> Option<Value> {
    (text != "none").then(|| text.into())
}

pub(super) fn verdict(history: &History) -> Verdict {
    check(history, &Limits::default()).expect("a history").verdict
}

#[track_caller]
pub(super) fn assert_linearizable(script: &str) {
    let verdict = verdict(&history(script));
    assert!(verdict.is_linearizable(), "{verdict:?}");
}

/// What explains the violation that is there.
#[track_caller]
pub(super) fn violation(script: &str) -> Violation {
    match verdict(&history(script)) {
        Verdict::Violation(violation) => *violation,
        other => panic!("no violation was found: {other:?}"),
    }
}

/// Asserts that there is a violation, and that this is the client whose operation cannot have ended so.
#[track_caller]
pub(super) fn assert_violation(script: &str, client: u32) {
    let violation = violation(script);
    assert_eq!(violation.operations[violation.refused].client, ClientId(client), "{violation}");
}
