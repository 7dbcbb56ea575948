//! Histories that an order explains.

use super::script::assert_linearizable;

#[test]
fn an_empty_history_is_linearizable() {
    assert_linearizable("");
}

#[test]
fn a_key_holds_nothing_at_first() {
    assert_linearizable(
        "
        1: get
        1 -> none
        1: delete
        1 -> done, not existed
        1: put a if absent
        1 -> done
        1: get
        1 -> a
        ",
    );
}

#[test]
fn a_read_during_a_write_may_see_either_value() {
    for seen in ["a", "b"] {
        assert_linearizable(&format!(
            "
            1: put a
            1 -> done
            1: put b
            2: get
            2 -> {seen}
            1 -> done
            "
        ));
    }
}

#[test]
fn concurrent_writes_may_take_effect_against_the_order_of_their_calls_and_of_their_ends() {
    assert_linearizable(
        "
        1: put a
        2: put b
        1 -> done
        2 -> done
        3: get
        3 -> a
        ",
    );
    assert_linearizable(
        "
        1: put a
        2: put b
        1 -> done
        2 -> done
        3: get
        3 -> b
        ",
    );
}

#[test]
fn each_of_many_concurrent_writes_may_be_seen_once() {
    assert_linearizable(
        "
        1: put a
        2: put b
        3: put c
        4: get
        4 -> c
        4: get
        4 -> a
        4: get
        4 -> b
        3 -> done
        2 -> done
        1 -> done
        ",
    );
}

#[test]
fn a_lost_write_may_take_effect_late() {
    assert_linearizable(
        "
        1: put a
        1 -> lost
        2: put b
        2 -> done
        2: get
        2 -> b
        2: get
        2 -> a
        ",
    );
}

#[test]
fn a_lost_write_may_never_take_effect() {
    assert_linearizable(
        "
        1: put a
        1 -> lost
        2: get
        2 -> none
        2: put b
        2 -> done
        2: get
        2 -> b
        ",
    );
}

#[test]
fn a_lost_put_that_nobody_read_may_be_why_a_compare_and_set_was_refused() {
    assert_linearizable(
        "
        1: put a
        1 -> done
        2: put unseen
        2 -> lost
        1: put b if a
        1 -> refused
        ",
    );
}

#[test]
fn a_lost_put_that_nobody_read_may_be_what_a_delete_found() {
    assert_linearizable(
        "
        1: put unseen
        1 -> lost
        2: delete
        2 -> done, existed
        2: get
        2 -> none
        ",
    );
}

#[test]
fn a_lost_delete_explains_one_missing_value() {
    assert_linearizable(
        "
        1: put a
        1 -> done
        2: delete
        2 -> lost
        1: get
        1 -> a
        1: get
        1 -> none
        1: put b
        1 -> done
        1: get
        1 -> b
        ",
    );
}

#[test]
fn lost_operations_may_hang_on_each_other() {
    // Only b's compare-and-set, after a, leaves b; only the lost delete behind it leaves nothing.
    assert_linearizable(
        "
        1: put a
        1 -> lost
        2: put b if a
        2 -> lost
        3: delete if b
        3 -> lost
        4: put c if absent
        4 -> refused
        4: get
        4 -> b
        4: put d if absent
        4 -> done
        4: get
        4 -> d
        ",
    );
}

#[test]
fn a_lost_compare_and_set_that_was_seen_proves_the_lost_put_before_it() {
    assert_linearizable(
        "
        1: put a
        1 -> lost
        2: put b if a
        2 -> lost
        3: get
        3 -> b
        ",
    );
}

#[test]
fn a_definite_failure_is_no_operation_and_its_value_may_be_written_again() {
    assert_linearizable(
        "
        1: put a
        1 -> failed
        2: get
        2 -> none
        1: put a
        1 -> done
        2: get
        2 -> a
        ",
    );
}

#[test]
fn one_of_two_concurrent_compare_and_sets_succeeds() {
    assert_linearizable(
        "
        1: put a
        1 -> done
        1: put b if a
        2: put c if a
        2 -> refused, was b
        1 -> done
        3: get
        3 -> b
        ",
    );
}

#[test]
fn conditions_and_what_replies_tell_follow_the_value() {
    assert_linearizable(
        "
        1: put a if present
        1 -> refused, was none
        1: put b if absent
        1 -> done, not existed
        1: put c if absent
        1 -> refused, was b
        1: put d if present
        1 -> done, was b
        1: delete if b
        1 -> refused, existed
        1: delete if d
        1 -> done, was d
        1: put e if x
        1 -> refused, was none
        ",
    );
}

#[test]
fn keys_do_not_share_an_order() {
    assert_linearizable(
        "
        1: put a @x
        2: put a @y
        1 -> done
        2 -> done
        3: get @x
        3 -> a
        3: get @z
        3 -> none
        ",
    );
}
