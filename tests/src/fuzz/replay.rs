//! Runs a target on its corpus and on mutations of it, and says how to see a failure again.

use std::fmt::Write as _;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use quorate_telemetry::{Rng as _, SeededRng};

use super::Target;
use super::allocator::peak_of;
use super::corpus::{self, Sample};
use super::mutate::mutate;

/// Memory that any input may take: buffers of a fixed size.
const MEMORY_BYTES_MAX: usize = 1 << 20;
/// And for each byte of it: handles and maps around a few bytes.
const MEMORY_PER_BYTE_MAX: usize = 96;
/// Bytes of a failing input that are shown.
const SHOWN_BYTES_MAX: usize = 512;

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Decides all mutations.
    pub seed: u64,
    /// The number of the first mutation.
    pub first: u64,
    /// How many there are.
    pub cases: u64,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The corpus cannot be read, or is empty.
    #[error("no corpus of {target}: {source}")]
    NoCorpus {
        /// The target.
        target: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The target panicked.
    #[error("{target} panics on {input}: {shown}\nonce more: {again}")]
    Panicked {
        /// The target.
        target: &'static str,
        /// Which input.
        input: String,
        /// The command that runs it again.
        again: String,
        /// Its bytes, or the first of them.
        shown: String,
    },
    /// The target took more memory than its input is worth.
    #[error(
        "{target} takes {peak_bytes} bytes of memory for {bytes} on {input}: {shown}\nonce more: {again}"
    )]
    TookMemory {
        /// The target.
        target: &'static str,
        /// What it took.
        peak_bytes: usize,
        /// Bytes of the input.
        bytes: usize,
        /// Which input.
        input: String,
        /// The command that runs it again.
        again: String,
        /// Its bytes, or the first of them.
        shown: String,
    },
}

/// Runs `target` on its corpus, then on `plan`'s mutations of it. A mutation is a function of the target's corpus, the
/// seed and its number.
///
/// # Errors
/// The first input that the target cannot take.
pub fn replay(target: &Target, plan: Plan) -> Result<(), Failure> {
    let no_corpus = |source| Failure::NoCorpus { target: target.name, source };
    let samples = corpus::committed(target).map_err(no_corpus)?;
    if samples.is_empty() {
        return Err(no_corpus(io::ErrorKind::NotFound.into()));
    }
    for Sample { name, bytes } in &samples {
        attempt(target, bytes, &|| (format!("corpus file {name}"), once_more(target, "")))?;
    }
    let root = SeededRng::new(plan.seed);
    for case in plan.first..plan.first + plan.cases {
        let bytes = mutate(&samples, &*root.stream(case));
        let settings = format!("QUORATE_FUZZ_SEED={} QUORATE_FUZZ_CASE={case} ", plan.seed);
        attempt(target, &bytes, &|| {
            (format!("mutation {case} of seed {}", plan.seed), once_more(target, &settings))
        })?;
    }
    Ok(())
}

fn once_more(target: &Target, settings: &str) -> String {
    format!("{settings}cargo test -p quorate-tests --test fuzz {}", target.name)
}

/// One input. `names` gives its name, and the command that runs it again.
fn attempt(target: &Target, bytes: &[u8], names: &dyn Fn() -> (String, String)) -> Result<(), Failure> {
    let mut outcome = Ok(());
    let peak_bytes = peak_of(|| outcome = catch_unwind(AssertUnwindSafe(|| (target.what)(bytes))));
    if outcome.is_err() {
        let (input, again) = names();
        return Err(Failure::Panicked { target: target.name, input, again, shown: shown(bytes) });
    }
    if peak_bytes > MEMORY_BYTES_MAX + MEMORY_PER_BYTE_MAX * bytes.len() {
        let ((input, again), shown) = (names(), shown(bytes));
        let bytes = bytes.len();
        return Err(Failure::TookMemory { target: target.name, peak_bytes, bytes, input, again, shown });
    }
    Ok(())
}

fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in &bytes[..bytes.len().min(SHOWN_BYTES_MAX)] {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    let more = if bytes.len() > SHOWN_BYTES_MAX { ", .." } else { "" };
    format!("{text}{more} ({} bytes)", bytes.len())
}
