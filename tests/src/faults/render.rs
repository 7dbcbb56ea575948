//! `docs/TESTING.md`.

use std::fmt::Write as _;

use super::{Catalogue, Injection, State};

/// What stands before the table.
const HEAD: &str = include_str!("head.md");

/// The document that the catalogue comes to.
pub fn render(catalogue: &Catalogue) -> String {
    let mut text = HEAD.to_owned();
    let (mut missing, mut waiting) = (0, 0);
    for fault in &catalogue.faults {
        match fault.state() {
            Some(State::Missing(_)) => missing += 1,
            Some(State::WaitsFor(_)) => waiting += 1,
            Some(State::Injected(_)) | None => {}
        }
    }
    let (all, injected) = (catalogue.faults.len(), catalogue.injected_count());
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{injected} of {all} faults are made to happen by the tests and commands named here; {waiting} wait for a feature; \
         {missing} could be and are not yet."
    );
    let mut layer = "";
    for fault in &catalogue.faults {
        if fault.layer != layer {
            layer = &fault.layer;
            let _ = write!(
                text,
                "\n### {layer}\n\n| # | fault | what must come of it | how it is made to happen, and what proves that it \
                 did |\n|--:|---|---|---|\n"
            );
        }
        let (number, name) = (fault.number, &fault.name);
        let how = match fault.state() {
            Some(State::Injected(injections)) => {
                injections.iter().map(injection).collect::<Vec<_>>().join("<br>")
            }
            Some(State::Missing(missing)) => format!("**missing**: {missing}"),
            Some(State::WaitsFor(feature)) => format!("*waits for* {feature}"),
            None => String::new(),
        };
        let _ = writeln!(text, "| {number} | **{name}**. {} | {} | {how} |", fault.fault, fault.expected);
    }
    text
}

/// A test by its name and file, the file as a link.
fn injection(Injection { by, counter }: &Injection) -> String {
    match by.split_once("::") {
        Some((file, function)) => {
            let short = file.strip_suffix(".rs").unwrap_or(file);
            format!("[{short}](../{file}) `{function}`: {counter}")
        }
        None => format!("`{by}`: {counter}"),
    }
}
