//! Histories that no order explains, one for each way to break the promise.

use super::script::{assert_violation, violation};

#[test]
fn a_stale_read_is_found() {
    assert_violation(
        "
        1: put old
        1 -> done
        1: put new
        1 -> done
        2: get
        2 -> old
        ",
        2,
    );
}

#[test]
fn a_lost_update_is_found() {
    assert_violation(
        "
        1: put a
        1 -> done
        2: get
        2 -> none
        ",
        2,
    );
}

#[test]
fn an_update_that_is_lost_later_is_found() {
    assert_violation(
        "
        1: put a
        1 -> done
        2: put b
        2 -> done
        3: get
        3 -> b
        4: get
        4 -> a
        ",
        4,
    );
}

#[test]
fn a_value_that_was_never_written_is_found() {
    assert_violation(
        "
        1: put a
        1 -> done
        2: get
        2 -> c
        ",
        2,
    );
}

#[test]
fn a_read_of_the_future_is_found() {
    assert_violation(
        "
        2: get
        2 -> a
        1: put a
        1 -> done
        ",
        2,
    );
}

#[test]
fn a_read_of_the_future_of_a_lost_write_is_found() {
    assert_violation(
        "
        2: get
        2 -> a
        1: put a
        1 -> lost
        ",
        2,
    );
}

#[test]
fn two_readers_that_see_two_writes_in_different_orders_are_found() {
    assert_violation(
        "
        1: put a
        2: put b
        3: get
        3 -> a
        4: get
        4 -> b
        3: get
        3 -> b
        4: get
        4 -> a
        1 -> done
        2 -> done
        ",
        4,
    );
}

#[test]
fn a_compare_and_set_that_succeeds_twice_is_found() {
    assert_violation(
        "
        1: put a
        1 -> done
        2: put b if a
        3: put c if a
        2 -> done
        3 -> done
        ",
        2,
    );
}

#[test]
fn two_puts_if_absent_that_both_succeed_are_found() {
    assert_violation(
        "
        1: put a if absent
        2: put b if absent
        1 -> done
        2 -> done
        ",
        2,
    );
}

#[test]
fn a_compare_and_set_that_is_refused_without_a_reason_is_found() {
    assert_violation(
        "
        1: put a
        1 -> done
        2: put b if a
        2 -> refused
        ",
        2,
    );
}

#[test]
fn a_compare_and_set_that_was_made_and_reported_as_refused_is_found() {
    assert_violation(
        "
        1: put a
        1 -> done
        2: put b if a
        2 -> refused, was c
        ",
        2,
    );
    assert_violation(
        "
        1: put a
        1 -> done
        2: put b if a
        2 -> refused, was a
        ",
        2,
    );
}

#[test]
fn a_lost_write_that_is_seen_and_then_not_any_more_is_found() {
    assert_violation(
        "
        1: put a
        1 -> done
        2: put b
        2 -> lost
        3: get
        3 -> b
        3: get
        3 -> a
        ",
        3,
    );
}

#[test]
fn a_lost_write_that_takes_effect_twice_is_found() {
    assert_violation(
        "
        1: put a
        1 -> lost
        2: get
        2 -> a
        2: put b
        2 -> done
        2: get
        2 -> a
        ",
        2,
    );
}

#[test]
fn a_lost_delete_that_takes_effect_twice_is_found() {
    assert_violation(
        "
        1: delete
        1 -> lost
        2: put a
        2 -> done
        2: get
        2 -> none
        2: put b
        2 -> done
        2: get
        2 -> none
        ",
        2,
    );
}

#[test]
fn a_lost_compare_and_set_that_takes_effect_on_another_value_is_found() {
    assert_violation(
        "
        1: put a
        1 -> done
        2: put c if b
        2 -> lost
        3: get
        3 -> c
        ",
        2,
    );
}

#[test]
fn a_write_that_a_failed_operation_made_after_all_is_found() {
    assert_violation(
        "
        1: put a
        1 -> failed
        2: get
        2 -> a
        ",
        2,
    );
}

#[test]
fn a_value_that_comes_back_after_a_delete_is_found() {
    assert_violation(
        "
        1: put a
        1 -> done
        1: delete
        1 -> done, existed
        2: get
        2 -> a
        ",
        2,
    );
}

#[test]
fn a_wrong_count_of_deleted_keys_is_found() {
    assert_violation(
        "
        1: put a
        1 -> done
        1: delete
        1 -> done, not existed
        ",
        1,
    );
}

#[test]
fn a_wrong_previous_value_is_found() {
    assert_violation(
        "
        1: put a
        1 -> done
        1: put b
        1 -> done
        1: put c
        1 -> done, was a
        ",
        1,
    );
}

#[test]
fn a_lost_put_excuses_one_refusal_only() {
    assert_violation(
        "
        1: put a
        1 -> done
        2: put unseen
        2 -> lost
        1: put b if a
        1 -> refused
        1: put c
        1 -> done
        1: put d if c
        1 -> refused
        ",
        1,
    );
}

#[test]
fn an_acknowledged_put_that_nobody_saw_is_missed() {
    assert_violation(
        "
        1: put a
        1 -> done
        2: get
        2 -> a
        3: put b
        2: get
        2 -> a
        3 -> done
        2: get
        2 -> a
        ",
        2,
    );
}

#[test]
fn an_explanation_has_only_what_it_takes() {
    let violation = violation(
        "
        1: put a
        1 -> done
        2: get
        2 -> a
        1: put b
        1 -> done
        3: put x @other
        3 -> done
        1: put c
        2: get
        2 -> b
        1 -> done
        2: get
        2 -> c
        4: get
        4 -> b
        1: put d
        1 -> done
        2: get
        2 -> d
        ",
    );
    let text = violation.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("on key \"k\""), "{text}");
    let told: Vec<&str> = lines[1..lines.len() - 1]
        .iter()
        .map(|line| line.rsplit_once("ms  ").or_else(|| line.rsplit_once("?  ")).unwrap().1)
        .collect();
    assert_eq!(told, ["put b -> done", "put c -> done", "get -> done, there was b"], "{text}");
    assert!(lines.last().unwrap().ends_with("the key could hold: a value nobody names"), "{text}");
}

#[test]
fn of_several_violations_the_first_is_told() {
    let violation = violation(
        "
        1: get @b
        1 -> never
        2: get @a
        2 -> never
        ",
    );
    assert_eq!(violation.key.as_str(), "b");
}
