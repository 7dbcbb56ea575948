//! The same without a mistake: everything that finds one must pass.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::{Caught, Mistake};

/// What finds something although nothing is planted. `binary_of` gives the binary of a package's tests.
pub fn control<'a>(mistakes: &[&'a Mistake], binary_of: impl Fn(&str) -> Option<&'a Path>) -> Vec<String> {
    let mut seeds = BTreeSet::new();
    let mut wrong = Vec::new();
    for mistake in mistakes {
        match (&mistake.caught, mistake.caught.simulation()) {
            (_, Some((simulation, seed, _))) if seeds.insert((simulation, seed)) => {
                if let Some(told) = simulation.run(seed) {
                    wrong.push(format!("{simulation:?} seed {seed}: {told}"));
                }
            }
            (Caught::Test { package, test }, _) => {
                let passes = binary_of(package).is_some_and(|binary| passes(binary, test));
                if !passes {
                    wrong.push(format!("{package} {test} does not pass, or is not there"));
                }
            }
            _ => {}
        }
    }
    wrong
}

fn passes(binary: &Path, test: &str) -> bool {
    let output = Command::new(binary).args(["--exact", test]).output();
    output.is_ok_and(|output| {
        let text = String::from_utf8_lossy(&output.stdout);
        output.status.success() && text.lines().any(|line| line.starts_with(&format!("test {test} ... ok")))
    })
}
