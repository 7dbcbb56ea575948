//! Plants known mistakes, one at a time, and says what finds each: see `quorate_tests::planted`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::{Parser, Subcommand};
use quorate_storage::planted::{ENABLED, Planted, VARIABLE};
use quorate_tests::faults::source_root;
use quorate_tests::planted::{
    Caught, Mistake, Simulation, Storm, Table, Trial, Tried, chosen_by, control, search, survey, try_one,
};
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;

/// How many are chosen by a commit.
const CHOSEN: usize = 3;

#[derive(Parser)]
#[command(name = "planted", about = "Plants known mistakes and says what finds each")]
struct Cli {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Tries mistakes, each in a process of its own. Fails unless each is found, and nothing is without one.
    Try {
        /// Which; none is all.
        names: Vec<String>,
        /// Three of those that a simulation finds instead, chosen by the name of this commit.
        #[arg(long)]
        three: Option<String>,
        /// Also writes the table to this file.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Runs the seed of one mistake that the environment plants, and others if it finds nothing.
    Search { name: String },
    /// Says how many of the first seeds find the mistake that the environment plants, and by which law.
    Survey {
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        #[arg(long)]
        full_stack: bool,
        /// Faults of the protocol simulator: drawn, partitions, elections, rot, cuts, failing_syncs or power_cuts.
        #[arg(long, value_parser = storm, default_value = "drawn")]
        faults: Storm,
    },
}

/// Why nothing was tried.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("this build makes no mistakes: see tests/planted_bugs.sh")]
    Disabled,
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("tests/planted.toml: {0}")]
    Parse(#[from] toml::de::Error),
    #[error("{0} is not in tests/planted.toml")]
    Unknown(String),
    #[error("{0} is no name of a commit")]
    Commit(String),
    #[error("the tests of {0} could not be built")]
    Build(String),
    #[error("cannot start a process: {0}")]
    Start(#[source] std::io::Error),
}

#[expect(clippy::print_stderr, reason = "a command line tool tells its user")]
fn main() -> ExitCode {
    let outcome = match Cli::parse().mode {
        _ if !ENABLED => Err(Error::Disabled),
        Mode::Try { names, three, out } => try_all(&names, three.as_deref(), out.as_deref()),
        Mode::Search { name } => search_one(&name),
        Mode::Survey { seeds, full_stack, faults } => {
            survey_all(seeds, if full_stack { Simulation::FullStack } else { Simulation::Protocol(faults) });
            Ok(ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("planted: {error}");
        ExitCode::FAILURE
    })
}

fn table() -> Result<Table, Error> {
    let path = source_root().join("tests/planted.toml");
    let text = std::fs::read_to_string(&path).map_err(|source| Error::Read { path, source })?;
    Ok(Table::from_toml(&text)?)
}

#[expect(clippy::print_stdout, reason = "the report is what this tool is for")]
fn try_all(names: &[String], three: Option<&str>, out: Option<&Path>) -> Result<ExitCode, Error> {
    let table = table()?;
    let mistakes: Vec<&Mistake> = match three {
        Some(commit) => chosen_by(&table, commit, CHOSEN).ok_or_else(|| Error::Commit(commit.to_owned()))?,
        None if names.is_empty() => table.mistakes.iter().collect(),
        None => names
            .iter()
            .map(|name| table.find(name).ok_or_else(|| Error::Unknown(name.clone())))
            .collect::<Result<_, _>>()?,
    };
    let tests = build_tests(&mistakes)?;
    let binary_of = |package: &str| tests.get(package).map(PathBuf::as_path);
    let wrong = control(&mistakes, binary_of);
    if !wrong.is_empty() {
        println!("without a mistake something fails:\n{}", wrong.join("\n"));
        return Ok(ExitCode::FAILURE);
    }
    println!("without a mistake all of it passes");
    let itself = std::env::current_exe().map_err(Error::Start)?;
    let mut report = String::from("| mistake | found by | seconds |\n|---|---|---|\n");
    let mut missed = Vec::new();
    for mistake in &mistakes {
        let test = match &mistake.caught {
            Caught::Test { package, .. } => binary_of(package),
            _ => None,
        };
        let Trial { tried, took } = try_one(mistake, &itself, test);
        println!("{:<26} {:>5.1} s  {}", mistake.name, took.as_secs_f64(), told(&tried));
        if matches!(tried, Tried::Found(_)) {
            add_row(&mut report, mistake, &tried, took);
        } else {
            missed.push(mistake.name.as_str());
        }
    }
    if let Some(path) = out {
        std::fs::write(path, report).map_err(|source| Error::Write { path: path.to_owned(), source })?;
    }
    if missed.is_empty() {
        println!("{} mistakes, each found", mistakes.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!("not found: {}", missed.join(" "));
    Ok(ExitCode::FAILURE)
}

fn told(tried: &Tried) -> &str {
    match tried {
        Tried::Found(told) | Tried::Failed(told) => told,
        Tried::Missed => "MISSED",
    }
}

/// Most characters of what a law says that a table has room for.
const TOLD_MAX: usize = 240;

fn shortened(told: &str) -> String {
    match told.char_indices().nth(TOLD_MAX) {
        Some((end, _)) => format!("{} …", &told[..end]),
        None => told.to_owned(),
    }
}

/// A row of a table in Markdown.
fn add_row(report: &mut String, mistake: &Mistake, tried: &Tried, took: Duration) {
    let planted = Planted::ALL.iter().find(|planted| planted.name() == mistake.name);
    let what = planted.map_or("", |planted| planted.description());
    let by = match &mistake.caught {
        Caught::Test { package, test } => format!("`{package}` `{test}`"),
        _ => shortened(told(tried)).replace('|', "\\|"),
    };
    // Writing to a string does not fail.
    let _ = writeln!(report, "| `{}`: {what} | {by} | {:.1} |", mistake.name, took.as_secs_f64());
}

/// The test binaries of the packages whose tests find one of `mistakes`, built as this was.
fn build_tests(mistakes: &[&Mistake]) -> Result<BTreeMap<String, PathBuf>, Error> {
    let mut built = BTreeMap::new();
    for mistake in mistakes {
        let Caught::Test { package, .. } = &mistake.caught else { continue };
        if built.contains_key(package) {
            continue;
        }
        let features = format!("{package}/planted-bugs");
        let output = Command::new("cargo")
            .current_dir(source_root())
            .args(["test", "--locked", "--no-run", "--lib", "--message-format=json"])
            .args(["-p", package, "--features", &features])
            .stderr(Stdio::inherit())
            .output()
            .map_err(Error::Start)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let binary = text.lines().find_map(|line| binary_in(line, package));
        built.insert(package.clone(), binary.ok_or_else(|| Error::Build(package.clone()))?);
    }
    Ok(built)
}

/// The test binary that a message of cargo tells of, if it is that of `package`.
fn binary_in(line: &str, package: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let target = message.get("target")?.get("name")?.as_str()?;
    let executable = message.get("executable")?.as_str()?;
    (target == package.replace('-', "_")).then(|| PathBuf::from(executable))
}

#[expect(clippy::print_stdout, reason = "who tries a mistake reads it")]
fn search_one(name: &str) -> Result<ExitCode, Error> {
    let table = table()?;
    let mistake = table.find(name).ok_or_else(|| Error::Unknown(name.to_owned()))?;
    let Some((simulation, seed, law)) = mistake.caught.simulation() else {
        return Err(Error::Unknown(name.to_owned()));
    };
    let Some((found, told)) = search(simulation, seed, law, threads()) else {
        return Ok(ExitCode::FAILURE);
    };
    let moved = if found == seed { "" } else { " (the table names another)" };
    println!("{} seed {found}{moved}: {}", simulation.name(), told.lines().next().unwrap_or_default());
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the report is what this tool is for")]
fn survey_all(seeds: u64, simulation: Simulation) {
    let name = std::env::var(VARIABLE).unwrap_or_default();
    for (law, found) in survey(simulation, seeds, threads()) {
        println!("{name} {law}: {} of {seeds}, {:?}: {}", found.seeds.len(), found.seeds, found.told);
    }
}

fn storm(name: &str) -> Result<Storm, serde::de::value::Error> {
    Storm::deserialize(name.into_deserializer())
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}
