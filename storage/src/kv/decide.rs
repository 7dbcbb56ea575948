//! What one operation does to the value of its key. Pure: every replica comes to the same.

use bytes::{Bytes, BytesMut};

use super::{Op, OpFailure, OpResult, VALUE_BYTES_MAX, When};

/// Runs `op` on `now`, the value of its key. One that fails leaves it alone.
pub(super) fn run(op: &Op, now: &mut Option<Bytes>) -> OpResult {
    let existed = now.is_some();
    match op {
        Op::Put(_, value) => {
            *now = Some(value.clone());
            OpResult::done(existed)
        }
        Op::Delete(_) => {
            *now = None;
            OpResult::done(existed)
        }
        Op::Set { value, when, returns_previous, .. } => {
            let previous = now.clone().filter(|_| *returns_previous);
            if !holds(*when, existed) {
                return OpResult::Unmet { previous };
            }
            *now = Some(value.clone());
            OpResult::Done { existed, previous }
        }
        Op::Take(_) => OpResult::Done { existed, previous: now.take() },
        Op::Append(_, suffix) => append(now, suffix),
        Op::Add(_, delta) => match sum(now.as_deref(), *delta) {
            Ok(sum) => {
                *now = Some(sum.to_string().into());
                OpResult::Number(sum)
            }
            Err(failure) => OpResult::Failed(failure),
        },
    }
}

fn holds(when: When, existed: bool) -> bool {
    match when {
        When::Always => true,
        When::Absent => !existed,
        When::Present => existed,
    }
}

/// Many appends to one value in one apply call extend it in place.
fn append(now: &mut Option<Bytes>, suffix: &Bytes) -> OpResult {
    let bytes = now.as_ref().map_or(0, Bytes::len) + suffix.len();
    if bytes > VALUE_BYTES_MAX {
        return OpResult::Failed(OpFailure::ValueTooLarge { bytes: bytes as u64 });
    }
    let value = now.take().unwrap_or_default();
    let mut whole = value.try_into_mut().unwrap_or_else(|shared| {
        let mut own = BytesMut::with_capacity(bytes);
        own.extend_from_slice(&shared);
        own
    });
    whole.extend_from_slice(suffix);
    *now = Some(whole.freeze());
    OpResult::Number(i64::try_from(bytes).unwrap_or(i64::MAX))
}

fn sum(value: Option<&[u8]>, delta: i64) -> Result<i64, OpFailure> {
    let number = value.map_or(Some(0), integer).ok_or(OpFailure::NotAnInteger)?;
    number.checked_add(delta).ok_or(OpFailure::Overflow)
}

/// The number that `text` is the one canonical form of.
fn integer(text: &[u8]) -> Option<i64> {
    let is_canonical = matches!(text, [b'0'] | [b'1'..=b'9', ..] | [b'-', b'1'..=b'9', ..]);
    std::str::from_utf8(text).ok().filter(|_| is_canonical)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Bytes = Bytes::from_static(b"k");

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn done(existed: bool, previous: Option<Bytes>) -> OpResult {
        OpResult::Done { existed, previous }
    }

    /// Runs `op` on `before`: what it says, and the value after it.
    fn after(before: Option<&'static str>, op: &Op) -> (OpResult, Option<Bytes>) {
        let mut now = before.map(bytes);
        let result = run(op, &mut now);
        (result, now)
    }

    #[test]
    fn puts_and_deletes_say_whether_the_key_was_there() {
        let put = Op::Put(KEY, Bytes::from_static(b"2"));
        assert_eq!(after(None, &put), (done(false, None), Some(bytes("2"))));
        assert_eq!(after(Some("1"), &put), (done(true, None), Some(bytes("2"))));
        assert_eq!(after(None, &Op::Delete(KEY)), (done(false, None), None));
        assert_eq!(after(Some(""), &Op::Delete(KEY)), (done(true, None), None));
    }

    #[test]
    fn a_set_takes_effect_only_when_its_condition_holds() {
        let set = |when, returns_previous| Op::Set {
            key: KEY,
            value: Bytes::from_static(b"2"),
            when,
            returns_previous,
        };
        let unmet = |previous| OpResult::Unmet { previous };
        for (when, before, is_met) in [
            (When::Always, None, true),
            (When::Always, Some("1"), true),
            (When::Absent, None, true),
            (When::Absent, Some("1"), false),
            (When::Present, None, false),
            (When::Present, Some("1"), true),
        ] {
            for returns_previous in [false, true] {
                let previous = before.filter(|_| returns_previous).map(bytes);
                let expected = if is_met {
                    (done(before.is_some(), previous), Some(bytes("2")))
                } else {
                    (unmet(previous), before.map(bytes))
                };
                assert_eq!(after(before, &set(when, returns_previous)), expected, "{when:?} {before:?}");
            }
        }
    }

    #[test]
    fn a_take_removes_and_gives_back() {
        assert_eq!(after(Some("1"), &Op::Take(KEY)), (done(true, Some(bytes("1"))), None));
        assert_eq!(after(None, &Op::Take(KEY)), (done(false, None), None));
    }

    #[test]
    fn an_append_makes_absent_keys_and_stops_at_the_longest_value() {
        let append = |suffix: &'static str| Op::Append(KEY, Bytes::from_static(suffix.as_bytes()));
        assert_eq!(after(None, &append("ab")), (OpResult::Number(2), Some(bytes("ab"))));
        assert_eq!(after(Some("ab"), &append("c")), (OpResult::Number(3), Some(bytes("abc"))));
        assert_eq!(after(None, &append("")), (OpResult::Number(0), Some(bytes(""))));
        let mut now = Some(Bytes::from(vec![1; VALUE_BYTES_MAX - 1]));
        let shared = now.clone();
        assert_eq!(run(&append("x"), &mut now), OpResult::Number(8 << 20));
        let bytes = VALUE_BYTES_MAX as u64 + 1;
        let failed = OpResult::Failed(OpFailure::ValueTooLarge { bytes });
        assert_eq!(run(&append("y"), &mut now), failed);
        assert_eq!(now.map(|now| now.len()), Some(VALUE_BYTES_MAX));
        assert_eq!(shared.map(|shared| shared.len()), Some(VALUE_BYTES_MAX - 1), "others hold the old value");
    }

    #[test]
    fn an_add_counts_from_nothing_and_stops_at_64_bits() {
        let add = |delta| Op::Add(KEY, delta);
        assert_eq!(after(None, &add(-3)), (OpResult::Number(-3), Some(bytes("-3"))));
        assert_eq!(after(Some("10"), &add(-10)), (OpResult::Number(0), Some(bytes("0"))));
        assert_eq!(
            after(Some("9223372036854775806"), &add(1)),
            (OpResult::Number(i64::MAX), Some(bytes("9223372036854775807")))
        );
        assert_eq!(
            after(Some("9223372036854775807"), &add(i64::MIN)),
            (OpResult::Number(-1), Some(bytes("-1")))
        );
        for (before, delta) in [("9223372036854775807", 1), ("-9223372036854775808", -1), ("-1", i64::MIN)] {
            let expected = (OpResult::Failed(OpFailure::Overflow), Some(bytes(before)));
            assert_eq!(after(Some(before), &add(delta)), expected);
        }
    }

    #[test]
    fn only_the_canonical_form_of_a_number_is_one() {
        for number in ["0", "7", "10", "-1", "-10", "9223372036854775807", "-9223372036854775808"] {
            assert_eq!(integer(number.as_bytes()).map(|n| n.to_string()).as_deref(), Some(number));
        }
        for text in [
            "",
            "-",
            "+1",
            "-0",
            "00",
            "01",
            "-01",
            " 1",
            "1 ",
            "1\n",
            "--1",
            "0x1",
            "1.0",
            "1e3",
            "a",
            "\u{661}",
            "9223372036854775808",
            "-9223372036854775809",
            "10000000000000000000000",
        ] {
            let expected = (OpResult::Failed(OpFailure::NotAnInteger), Some(bytes(text)));
            assert_eq!(after(Some(text), &Op::Add(KEY, 0)), expected, "{text:?}");
        }
        assert_eq!(integer(b"1\xff"), None);
    }
}
