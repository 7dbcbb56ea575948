//! The target that `QUORATE_FUZZ_TARGET` names, under AFL.

use quorate_tests::fuzz::find;

fn main() {
    let name = std::env::var("QUORATE_FUZZ_TARGET").expect("QUORATE_FUZZ_TARGET names a target");
    let target = find(&name).unwrap_or_else(|| panic!("{name} is no target"));
    afl::fuzz!(|bytes: &[u8]| (target.what)(bytes));
}
