//! The target that `QUORATE_FUZZ_TARGET` names, under libFuzzer.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use quorate_tests::fuzz::{Target, find};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("QUORATE_FUZZ_TARGET").expect("QUORATE_FUZZ_TARGET names a target");
    find(&name).unwrap_or_else(|| panic!("{name} is no target"))
});

fuzz_target!(|bytes: &[u8]| (TARGET.what)(bytes));
