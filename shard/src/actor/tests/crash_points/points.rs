//! Which points there are, and which of them are tried.
//!
//! A point is one call of the enumerated disk and one model of what a crash in it leaves. All are tried, unless
//! `QUORATE_CRASH_POINTS` says less: a number `k` for every k-th, or `=c` for call `c` alone, in every model.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

use quorate_storage::disk::CrashMode;

use super::super::trace::Trace;

/// Decides what survives of what was not synced.
const SEED: u64 = 64;
/// Models of a crash: all that was not synced is lost, all is kept, a random part is, in small and in large pieces.
const MODELS: u64 = 4;

/// A call, and the model of the crash in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) call: u64,
    pub(super) mode: CrashMode,
}

/// Which points are tried.
#[derive(Clone, Copy, Debug)]
enum Choice {
    EveryNth(u64),
    Call(u64),
}

impl Choice {
    /// What the environment says.
    fn made() -> Self {
        let Ok(text) = std::env::var("QUORATE_CRASH_POINTS") else { return Self::EveryNth(1) };
        let number = |text: &str| text.parse().expect("QUORATE_CRASH_POINTS is a number, or = and one");
        match text.strip_prefix('=') {
            Some(call) => Self::Call(number(call)),
            None => Self::EveryNth(number(&text)),
        }
    }

    /// The `number`th point of all, counted from 0.
    fn takes(self, number: u64) -> bool {
        match self {
            Self::EveryNth(nth) => number.is_multiple_of(nth),
            Self::Call(call) => number / MODELS + 1 == call,
        }
    }

    /// How many of `points` it takes.
    fn count(self, points: u64) -> u64 {
        match self {
            Self::EveryNth(nth) => points.div_ceil(nth),
            Self::Call(_) => MODELS,
        }
    }
}

impl Point {
    /// The `number`th of all, counted from 0: the models of the first call, then those of the second.
    fn numbered(number: u64) -> Self {
        let call = number / MODELS + 1;
        let pieces = |piece_bytes| CrashMode::KeepPieces { seed: SEED + call, piece_bytes };
        let modes = [CrashMode::LoseUnsynced, CrashMode::KeepAll, pieces(512), pieces(4_096)];
        let mode = modes.into_iter().nth(usize::try_from(number % MODELS).unwrap());
        Self { call, mode: mode.unwrap() }
    }
}

/// Tries the points of the run `name`, whose calls are in `trace`.
pub(super) fn enumerate(name: &str, (calls, trace): (u64, &Trace), mut crash: impl FnMut(Point)) {
    let (choice, began) = (Choice::made(), Instant::now());
    let mut tried = 0;
    for point in (0..calls * MODELS).filter(|number| choice.takes(*number)).map(Point::numbered) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| crash(point))) {
            let Point { call, mode } = point;
            eprintln!("{name}: power cut in call {call} of {calls} ({}), {mode:?}", trace.name(call));
            resume_unwind(panic);
        }
        tried += 1;
    }
    assert_eq!(tried, choice.count(calls * MODELS), "{name}: {calls} calls x {MODELS} models, {choice:?}");
    let seconds = began.elapsed().as_secs_f32();
    eprintln!(
        "{name} | {calls} calls | {MODELS} models | {tried} points | {seconds:.1} s | {choice:?}, seed {SEED}"
    );
}

/// A world of its own, so that nothing of one run is seen in another.
pub(super) fn simulate<T>(run: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap().block_on(run)
}
