#!/usr/bin/env bash
# Looks for bytes that break a decoder (tests/src/fuzz): under cargo-fuzz where it and a nightly compiler are installed,
# else under cargo-afl.
#   tests/fuzz.sh [TARGET] [SECONDS]     all targets, one after the other, 60 s each, if none is named
# What it learns is kept below target/fuzz. A failing input is named; put it into tests/corpus/TARGET, so that every test run
# replays it. QUORATE_FUZZ_SANITIZER: of cargo-fuzz, "none" unless it says otherwise (the code has no unsafe block to look
# into, and runs several times as fast).
set -euo pipefail
cd "$(dirname "$0")/.."

targets=(${1:+"$1"})
seconds=${2:-60}
if [ ${#targets[@]} = 0 ]; then
    mapfile -t targets < <(ls tests/corpus)
fi
for target in "${targets[@]}"; do
    [ -d "tests/corpus/$target" ] || { echo "$target is no target; there are: $(ls -m tests/corpus)"; exit 2; }
done
out=target/fuzz
package=tests/fuzz
# The versions that the workspace is tested with.
[ -e $package/Cargo.lock ] || cp Cargo.lock $package/Cargo.lock
export CARGO_TARGET_DIR=$PWD/$out/build

with_libfuzzer() {
    local sanitizer=${QUORATE_FUZZ_SANITIZER:-none} failed=() log status
    cargo +nightly fuzz build --fuzz-dir $package --sanitizer "$sanitizer" decoders
    for target in "${targets[@]}"; do
        mkdir -p "$out/corpus/$target" "$out/found/$target"
        log=$out/$target.log status=0
        # No decoder needs 64 MiB at once for 64 KiB of input.
        QUORATE_FUZZ_TARGET=$target cargo +nightly fuzz run --fuzz-dir $package --sanitizer "$sanitizer" decoders \
            "$out/corpus/$target" "tests/corpus/$target" -- -max_total_time="$seconds" -max_len=65536 \
            -malloc_limit_mb=64 -timeout=10 -print_final_stats=1 -artifact_prefix="$out/found/$target/" \
            >"$log" 2>&1 || status=$?
        if [ $status = 0 ]; then
            printf '%-18s %s\n' "$target" "$(sed -n 's/^stat::\(number_of_executed_units\|average_exec_per_sec\): */\1 /p' \
                "$log" | tr '\n' ' ')"
        else
            failed+=("$target")
            printf '%-18s FAILED: %s\n' "$target" "$(grep -m1 -E 'panicked at|ERROR: libFuzzer' "$log" || true)"
            grep -E 'Test unit written' "$log" || tail -5 "$log"
        fi
    done
    [ ${#failed[@]} = 0 ] || { echo "failed: ${failed[*]}; the logs are in $out"; exit 1; }
}

with_afl() {
    local failed=() found log status
    (cd $package && cargo afl build --release --no-default-features --features afl)
    for target in "${targets[@]}"; do
        log=$out/$target.log status=0
        # A found input would be found again before anything else.
        rm -rf "$out/afl/$target"
        mkdir -p "$out/afl/$target"
        # A backtrace takes longer than AFL lets an input take: the panic would be a timeout first. AFL skips an input to begin
        # with that panics, unless it is told to stop there.
        QUORATE_FUZZ_TARGET=$target RUST_BACKTRACE=0 AFL_EXIT_ON_SEED_ISSUES=1 AFL_HANG_TMOUT=10000 AFL_NO_UI=1 \
            AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 \
            cargo afl fuzz -V "$seconds" -m 1024 -i "tests/corpus/$target" -o "$out/afl/$target" \
            "$CARGO_TARGET_DIR/release/decoders-afl" >"$log" 2>&1 || status=$?
        found=$(find "$out/afl/$target" \( -path '*/crashes/id*' -o -path '*/hangs/id*' \) -print -quit)
        if [ $status = 0 ] && [ -z "$found" ]; then
            printf '%-18s %s\n' "$target" "$(sed -n 's/^\(execs_done\|execs_per_sec\) *: */\1 /p' \
                "$out/afl/$target/default/fuzzer_stats" | tr '\n' ' ')"
        else
            failed+=("$target")
            printf '%-18s FAILED: %s\n' "$target" "${found:-$(grep -a -m1 -o 'Test case .* results in a [a-z]*' "$log" || tail -5 "$log")}"
        fi
    done
    [ ${#failed[@]} = 0 ] || { echo "failed: ${failed[*]}; the logs are in $out"; exit 1; }
}

if cargo +nightly fuzz --version >/dev/null 2>&1; then
    with_libfuzzer
elif cargo afl --version >/dev/null 2>&1; then
    with_afl
else
    echo "there is no fuzzer here. Either
    rustup toolchain install nightly && cargo install --locked cargo-fuzz
or, on the stable compiler,
    cargo install --locked cargo-afl"
    exit 2
fi
