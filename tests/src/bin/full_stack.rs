//! Runs seeds of the full-stack simulation.
#![expect(clippy::print_stdout, reason = "the report is what this tool is for")]

use std::num::NonZeroUsize;
use std::time::Instant;

use quorate_tests::full_stack::{Options, run_seeds};

fn main() {
    let number = |at| std::env::args().nth(at).and_then(|text| text.parse::<u64>().ok());
    let (first, count) = (number(1).unwrap_or(0), number(2).unwrap_or(20));
    let threads = number(3)
        .and_then(|threads| NonZeroUsize::new(usize::try_from(threads).unwrap_or(1)))
        .unwrap_or(NonZeroUsize::MIN);
    let began = Instant::now();
    let summary = run_seeds(first..first + count, &Options::default(), threads, &|_, outcome| {
        if let Err(failure) = outcome {
            println!("{failure}");
        }
    });
    println!("{summary:?} {:.1}s", began.elapsed().as_secs_f64());
}
