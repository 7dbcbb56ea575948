//! Some of the mistakes for each commit, so that all that a simulation finds have their turn: those that a test of a library
//! finds would cost every commit the build of that library's tests.

use super::{Mistake, Table};

/// Hexadecimal digits of a commit's name that decide.
const DIGITS: usize = 15;

/// `count` different mistakes, chosen by the name of a commit. `None` if that is no hexadecimal number.
pub fn chosen_by<'a>(table: &'a Table, commit: &str, count: usize) -> Option<Vec<&'a Mistake>> {
    let mut number = u64::from_str_radix(commit.get(..DIGITS.min(commit.len()))?, 16).ok()?;
    let simulated = table.mistakes.iter().filter(|mistake| mistake.caught.simulation().is_some());
    let mut left: Vec<_> = simulated.collect();
    let mut chosen = Vec::with_capacity(count);
    while chosen.len() < count && !left.is_empty() {
        let room = left.len() as u64;
        let at = usize::try_from(number % room).unwrap_or_default();
        number /= room;
        chosen.push(left.remove(at));
    }
    Some(chosen)
}
