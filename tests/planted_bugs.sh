#!/usr/bin/env bash
# Known mistakes, planted one at a time in the code of the cold start (storage/src/planted.rs), to see that the tests find
# each. Prints a table of what found which, and fails if one is found by nothing. Arguments name mistakes; none is all.
#   tests/planted_bugs.sh [NAME]...
# QUORATE_CRASH_POINTS (default here: 41) thins the crash points, as in `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."

export QUORATE_CRASH_POINTS=${QUORATE_CRASH_POINTS:-41}
mistakes=("$@")
if [ ${#mistakes[@]} = 0 ]; then
    mapfile -t mistakes < <(sed -n 's/^ *Self::[A-Za-z]* => "\(.*\)",$/\1/p' storage/src/planted.rs)
fi

binaries() {
    cargo test --locked -p quorate-storage -p quorate-shard --lib --features quorate-shard/planted-bugs \
        --no-run --message-format=json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'
}
built=$(binaries)
shard=$(grep /quorate_shard- <<<"$built")
storage=$(grep /quorate_storage- <<<"$built")

# Runs tests; one that no longer ends has found something, too.
found=
try() {
    local what=$1 binary=$2
    shift 2
    local output status=0 names
    output=$(RUST_BACKTRACE=0 timeout 600 "$binary" "$@" 2>&1) || status=$?
    [ $status = 0 ] && return
    names=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' <<<"$output" | sort -u)
    [ $status = 124 ] && names="$names (did not end)"
    if [ "$what" = model ]; then
        # By the shortest way of all models.
        names=$(sed -n 's/^broken: \(.*\); in \([0-9]*\) steps.*/\2 \1/p' <<<"$output" | sort -n | head -1)
        names="\"${names#* }\" after ${names%% *} steps"
    fi
    found=1
    printf '%-24s %-12s %s\n' "$mistake" "$what" "$(tr '\n' ' ' <<<"$names" | cut -c1-400)"
}

missed=()
for mistake in "" "${mistakes[@]}"; do
    export QUORATE_PLANTED=$mistake
    [ -n "$mistake" ] || unset QUORATE_PLANTED
    found=
    try model "$shard" cold_start_model
    try gate "$storage" cold_start::
    # Rebuilds of bloated stores measure files that a thread merges meanwhile: nothing is planted there.
    try store "$storage" kv:: state:: --skip kv::tests::rebuild
    try core "$shard" core::
    try crash_points "$shard" crash_points
    # Many of these wait for ever for a group that does not come up: only for want of anything else.
    [ -n "$found" ] || try actor "$shard" actor:: --skip crash_points
    if [ -z "$mistake" ]; then
        [ -z "$found" ] || { echo "without a mistake something fails"; exit 1; }
        echo "nothing planted          all          pass"
    elif [ -z "$found" ]; then
        missed+=("$mistake")
    fi
done
[ ${#missed[@]} = 0 ] || { echo "found by nothing: ${missed[*]}"; exit 1; }
echo "${#mistakes[@]} mistakes, each found"
