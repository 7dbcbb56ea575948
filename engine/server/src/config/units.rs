//! Sizes and times as people write them: `64MiB`, `50ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Bytes. Written as a whole number with `B`, `KiB`, `MiB`, `GiB` or `TiB` (powers of 1,024) right behind it or after
/// a space. `KB` and `MB` are refused: half of the world means something else by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const BYTE_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A span of time. Written as a whole number with `ms`, `s`, `min` or `h` right behind it or after a space. Printed in
/// the largest unit that is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan(pub Duration);

const TIME_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

/// Not a number with a unit, or more than fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct UnitError {
    expected: &'static str,
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let expected = "a size such as \"64MiB\" (units B, KiB, MiB, GiB, TiB)";
        parse(text, &BYTE_UNITS).map(Self).ok_or(UnitError { expected })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, &BYTE_UNITS)
    }
}

impl FromStr for TimeSpan {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let expected = "a time such as \"50ms\" (units ms, s, min, h)";
        let millis = parse(text, &TIME_UNITS).ok_or(UnitError { expected })?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &TIME_UNITS)
    }
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits_end = text.find(|character: char| !character.is_ascii_digit())?;
    let (digits, unit) = text.split_at(digits_end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let &(_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn write(f: &mut fmt::Formatter<'_>, count: u64, units: &[(&str, u64)]) -> fmt::Result {
    let exact = |(_, factor): &&(&str, u64)| count > 0 && count.is_multiple_of(*factor);
    let &(name, factor) = units.iter().find(exact).unwrap_or(&units[units.len() - 1]);
    write!(f, "{}{name}", count / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_what_was_written_in_the_largest_exact_unit() {
        for (written, printed) in
            [("64MiB", "64MiB"), ("64 MiB", "64MiB"), ("1024B", "1KiB"), ("1025B", "1025B")]
        {
            assert_eq!(written.parse::<ByteSize>().unwrap().to_string(), printed);
        }
        for (written, printed) in [("50ms", "50ms"), ("1000 ms", "1s"), ("90s", "90s"), ("120min", "2h")] {
            assert_eq!(written.parse::<TimeSpan>().unwrap().to_string(), printed);
        }
        assert_eq!(
            (ByteSize(0).to_string(), TimeSpan(Duration::ZERO).to_string()),
            ("0B".into(), "0ms".into())
        );
    }

    #[test]
    fn a_number_without_a_unit_or_with_a_doubtful_one_is_refused() {
        for text in ["", "64", "MiB", "64MB", "64mib", "-1MiB", "1.5GiB", "99999999999TiB", "1  KiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        for text in ["50", "50us", "1m", "-1s", "9999999999999999999h"] {
            assert!(text.parse::<TimeSpan>().is_err(), "{text}");
        }
    }
}
