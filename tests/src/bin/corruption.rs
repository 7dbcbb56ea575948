//! Rot in every place of a small cluster's files, by command: see `quorate_tests::corruption`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use quorate::StoreKind;
use quorate_tests::corruption::attempt::{Depth, attempt};
use quorate_tests::corruption::case::Case;
use quorate_tests::corruption::cluster::NODES;
use quorate_tests::corruption::image::{Image, images};
use quorate_tests::corruption::large::{self, Instance, Settings};
use quorate_tests::corruption::run::{Report, run};
use quorate_tests::corruption::short::replica_bytes;
use quorate_tests::corruption::{Error, helical, plan};

/// Most of their time they wait.
const LABS: NonZeroUsize = NonZeroUsize::new(4).expect("not zero");

#[derive(Parser)]
#[command(
    name = "corruption",
    about = "Damages files of a cluster, starts it, and counts what becomes of them"
)]
struct Cli {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Tries many cases and prints a table. Fails if one comes to what must never be.
    Run(Plan),
    /// Tries one case and tells what happened.
    Case {
        /// As the table names it: `clean` or `cut`, then `,NODE:FILE:DAMAGE` for each damage.
        name: Case,
        /// Decides what the nodes draw.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Damages a large instance on real files.
    Large(Large),
    /// Tells the files that `run` damages: their sizes, and how much of them was ever written.
    Files,
}

#[derive(clap::Args)]
struct Large {
    /// `lsm` or `sled`.
    #[arg(long, default_value_t = StoreKind::Lsm)]
    store: StoreKind,
    /// Bytes of one replica's files together, about.
    #[arg(long, default_value_t = 64)]
    mib: u64,
    /// So many cases, drawn from one node: by bytes, and from each kind of file.
    #[arg(long, default_value_t = 1_000)]
    cases: usize,
    /// Instead: this one case, as the table names it.
    #[arg(long)]
    case: Option<Case>,
    /// Where the instance is, or is to be; it stays there. Default: a temporary directory (of `TMPDIR`), which stays if a
    /// case comes to what must never be.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Clusters that try cases side by side.
    #[arg(long, default_value_t = LABS)]
    labs: NonZeroUsize,
    /// Decides what is written and drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// JSON in the place of the table.
    #[arg(long)]
    json: bool,
    /// Tells every case.
    #[arg(long)]
    verbose: bool,
}

#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
struct Plan {
    /// Of the short histories every written offset of every file of all nodes, flipped and truncated; every sector, every
    /// file.
    #[arg(long)]
    whole: bool,
    /// With `--whole`: the long histories instead.
    #[arg(long)]
    long: bool,
    /// With `--whole`: of N parts that are equal, and drawn by the seed, the Kth (from 0) only: `K/N`.
    #[arg(long, default_value = "0/1", value_parser = share)]
    share: (usize, usize),
    /// Instead: entries and snapshots damaged on several replicas, in different places.
    #[arg(long)]
    helical: bool,
    /// Without either: so many cases, drawn from all nodes.
    #[arg(long, default_value_t = 2_000)]
    cases: usize,
    /// Decides what is drawn, and what the nodes draw.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// JSON in the place of the table.
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> Result<(usize, usize), &'static str> {
    let wrong = "K/N, K below N";
    let (first, every) = text.split_once('/').ok_or(wrong)?;
    let (first, every) = (first.parse().map_err(|_| wrong)?, every.parse().map_err(|_| wrong)?);
    if first < every { Ok((first, every)) } else { Err(wrong) }
}

#[expect(clippy::print_stderr, reason = "a command line tool tells its user")]
fn main() -> ExitCode {
    let outcome = match Cli::parse().mode {
        Mode::Run(plan) => images().map(|images| run_plan(&images, &plan)),
        Mode::Case { name, seed } => images().map(|images| try_one(&images, &name, seed)),
        Mode::Large(large) => run_large(&large),
        Mode::Files => images().map(|images| tell_files(&images)),
    };
    outcome.unwrap_or_else(|error: Error| {
        eprintln!("corruption: {error}");
        ExitCode::FAILURE
    })
}

#[expect(clippy::print_stdout, reason = "the report is what this tool is for")]
fn tell_files(images: &[Image]) -> ExitCode {
    for image in images {
        for (node, disk) in image.disks.iter().enumerate() {
            for (path, bytes) in disk.files() {
                let written = disk.written(&path).unwrap_or_default();
                let written: u64 = written.into_iter().map(|part| part.end - part.start).sum();
                println!("{} {node}:{} bytes={bytes} written={written}", image.end.name(), path.display());
            }
        }
    }
    ExitCode::SUCCESS
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the report is what this tool is for")]
fn run_large(options: &Large) -> Result<ExitCode, Error> {
    let settings = Settings { store: options.store, bytes: options.mib << 20, seed: options.seed };
    let mut instance = Instance::prepare(settings, options.dir.as_deref()).map_err(Box::new)?;
    let cases = match &options.case {
        Some(case) => case.damages.clone(),
        None => large::draw_cases(&instance, options.cases, options.seed),
    };
    let is_one = options.case.is_some();
    let report = large::run(&instance, &cases, options.labs, &mut |at, name, tried| {
        match tried {
            Ok(tried) if is_one || options.verbose => {
                let outcome = tried.outcome.map_or("unchanged", |outcome| outcome.name());
                let means = tried.means.map_or("nothing", |means| means.name());
                println!("{name}: {outcome}, found by {means}; {}", tried.what.join("; "));
            }
            Ok(_) => {}
            Err(what) => println!("VIOLATION {name}: {what}"),
        }
        if (at + 1).is_multiple_of(cases.len().div_ceil(20).max(1)) {
            eprintln!("{} of {} cases", at + 1, cases.len());
        }
    });
    let report = report.map_err(Box::new)?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
    } else {
        println!("{report}");
    }
    if report.report.violation_count() == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let dir = instance.keep().display();
    let (store, mib, seed) = (options.store, options.mib, options.seed);
    println!(
        "again: corruption large --store {store} --mib {mib} --seed {seed} --dir {dir} --case clean,CASE"
    );
    Ok(ExitCode::FAILURE)
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the report is what this tool is for")]
fn run_plan(images: &[Image], plan: &Plan) -> ExitCode {
    let (cases, depth) = if plan.helical {
        (helical::cases(images, plan.seed), Depth::Repaired)
    } else if plan.whole {
        let wanted = images.iter().filter(|image| image.end.is_short() != plan.long);
        for (node, group, bytes) in wanted.clone().flat_map(replica_bytes) {
            eprintln!("{group} on {node}: {bytes} bytes");
        }
        let every = wanted.flat_map(|image| (0..NODES).flat_map(|node| plan::every(image, node)));
        (plan::share(every.collect(), plan.share, plan.seed), Depth::Started)
    } else {
        (plan::sample(images, plan.cases, plan.seed), Depth::Repaired)
    };
    let mut told = 0;
    let report: Report = run(images, &cases, depth, plan.seed, &mut |done| {
        if done * 20 / cases.len().max(1) > told {
            told = done * 20 / cases.len().max(1);
            eprintln!("{done} of {} cases", cases.len());
        }
    });
    if plan.json {
        println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
    } else {
        println!("{report}");
    }
    if report.violation_count() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::print_stdout, reason = "the report is what this tool is for")]
fn try_one(images: &[Image], case: &Case, seed: u64) -> ExitCode {
    let Some(image) = images.iter().find(|image| image.end == case.end) else { return ExitCode::FAILURE };
    match attempt(image, case, Depth::Repaired, seed) {
        Ok(attempt) => {
            let outcome = attempt.outcome.map_or("unchanged", |outcome| outcome.name());
            println!("{case}: {outcome}");
            attempt.what.iter().for_each(|what| println!("  {what}"));
            ExitCode::SUCCESS
        }
        Err(what) => {
            println!("VIOLATION {case}: {what}");
            ExitCode::FAILURE
        }
    }
}
