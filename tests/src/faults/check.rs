//! What a program can tell about the catalogue's truth.

use std::fmt;
use std::path::Path;

use super::{Catalogue, Fault, Injection, State};

/// Something in the catalogue that is not so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Another number is due here.
    Number {
        /// The number that is there.
        found: usize,
        /// The number that is due.
        expected: usize,
    },
    /// A fault has no state, or two.
    State {
        /// Its number.
        number: usize,
    },
    /// A text is empty.
    Empty {
        /// The number of the fault.
        number: usize,
    },
    /// A file is not in the source tree.
    NoFile {
        /// The number of the fault.
        number: usize,
        /// The file.
        file: String,
    },
    /// A file has no test of that name: a function with a test attribute, or a claim of a conformance suite.
    NoTest {
        /// The number of the fault.
        number: usize,
        /// The file.
        file: String,
        /// The function.
        function: String,
    },
}

/// Everything that is wrong with `catalogue`, whose files are below `root`.
pub fn problems(catalogue: &Catalogue, root: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, fault) in catalogue.faults.iter().enumerate() {
        let number = fault.number;
        if number != at + 1 {
            problems.push(Problem::Number { found: number, expected: at + 1 });
        }
        if has_empty_text(fault) {
            problems.push(Problem::Empty { number });
        }
        match fault.state() {
            None => problems.push(Problem::State { number }),
            Some(State::Injected(injections)) => {
                problems.extend(injections.iter().filter_map(|injection| check(injection, number, root)));
            }
            Some(State::Missing(_) | State::WaitsFor(_)) => {}
        }
    }
    problems
}

fn has_empty_text(fault: &Fault) -> bool {
    let Fault { layer, name, fault: what, expected, injected, missing, waits_for, number: _ } = fault;
    let injections = injected.iter().flat_map(|Injection { by, counter }| [by, counter]);
    let mut texts =
        [layer, name, what, expected].into_iter().chain(injections).chain(missing).chain(waits_for);
    texts.any(|text| text.trim().is_empty())
}

fn check(injection: &Injection, number: usize, root: &Path) -> Option<Problem> {
    let (file, function) = match injection.by.split_once("::") {
        Some((file, function)) => (file, Some(function)),
        None => (injection.by.split_whitespace().next().unwrap_or_default(), None),
    };
    let Ok(text) = std::fs::read_to_string(root.join(file)) else {
        return Some(Problem::NoFile { number, file: file.to_owned() });
    };
    let function = function.filter(|function| !has_test(&text, function))?;
    Some(Problem::NoTest { number, file: file.to_owned(), function: function.to_owned() })
}

/// Whether `text` has the function with a test's attribute above it, or as a public claim over a fixture.
fn has_test(text: &str, function: &str) -> bool {
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((head, rest)) = line.split_once("fn ") {
            let is_it = rest.strip_prefix(function).is_some_and(|rest| rest.starts_with('('));
            let is_claim = head == "pub async " && rest.contains("fixture: &dyn Fixture");
            if is_it && (is_test || is_claim) {
                return true;
            }
            is_test = false;
        }
    }
    false
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { found, expected } => write!(f, "fault {found} stands where {expected} is due"),
            Self::State { number } => {
                write!(f, "fault {number} needs exactly one of injected, missing and waits_for")
            }
            Self::Empty { number } => write!(f, "fault {number} has an empty text"),
            Self::NoFile { number, file } => write!(f, "fault {number}: there is no file {file}"),
            Self::NoTest { number, file, function } => {
                write!(f, "fault {number}: {file} has no test {function}")
            }
        }
    }
}
