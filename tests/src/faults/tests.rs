use std::fs;

use super::{Catalogue, Problem, problems, render, source_root};

/// Faults that must be made to happen at least.
const INJECTED_MIN: usize = 45;
/// Faults of the catalogue.
const FAULTS: usize = 72;

fn catalogue() -> Catalogue {
    let text = fs::read_to_string(source_root().join("tests/faults.toml")).unwrap();
    Catalogue::from_toml(&text).unwrap_or_else(|error| panic!("tests/faults.toml: {error}"))
}

#[test]
fn the_catalogue_is_complete_and_names_what_is_there() {
    let catalogue = catalogue();
    let problems: Vec<String> =
        problems(&catalogue, &source_root()).iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "tests/faults.toml:\n{}", problems.join("\n"));
    assert_eq!(catalogue.faults.len(), FAULTS);
    let injected = catalogue.injected_count();
    assert!(injected >= INJECTED_MIN, "only {injected} faults are made to happen");
}

#[test]
fn testing_md_says_what_the_catalogue_says() {
    let path = source_root().join("docs/TESTING.md");
    let expected = render(&catalogue());
    if std::env::var_os("QUORATE_WRITE_TESTING").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/TESTING.md is not what tests/faults.toml comes to: write it anew with \
         QUORATE_WRITE_TESTING=1 cargo test -p quorate-tests --lib faults"
    );
}

const FAULT: &str = "layer = \"x\"\nname = \"x\"\nfault = \"x\"\nexpected = \"x\"\n";

fn problems_of(faults: &[String]) -> Vec<Problem> {
    let text: Vec<String> = faults.iter().map(|fault| format!("[[fault]]\n{FAULT}{fault}\n")).collect();
    let text = text.concat();
    problems(&Catalogue::from_toml(&text).unwrap(), &source_root())
}

#[test]
fn what_is_not_so_is_found() {
    let by = |by: &str| format!("injected = [{{ by = \"{by}\", counter = \"x\" }}]");
    let file = "tests/src/faults/tests.rs";
    assert_eq!(
        problems_of(&["number = 2\nmissing = \"x\"".to_owned()]),
        [Problem::Number { found: 2, expected: 1 }]
    );
    for states in ["", "missing = \"x\"\nwaits_for = \"x\"", "injected = []"] {
        assert_eq!(problems_of(&[format!("number = 1\n{states}")]), [Problem::State { number: 1 }]);
    }
    assert_eq!(problems_of(&["number = 1\nmissing = \" \"".to_owned()]), [Problem::Empty { number: 1 }]);
    let gone = problems_of(&[format!("number = 1\n{}", by("tests/gone.sh --now"))]);
    assert_eq!(gone, [Problem::NoFile { number: 1, file: "tests/gone.sh".to_owned() }]);
    // This is a function of this file, and no test.
    let helper = problems_of(&[format!("number = 1\n{}", by(&format!("{file}::problems_of")))]);
    assert!(matches!(helper.as_slice(), [Problem::NoTest { .. }]), "{helper:?}");
    let sound = [format!("number = 1\n{}", by(&format!("{file}::what_is_not_so_is_found")))];
    assert_eq!(problems_of(&sound), []);
}
