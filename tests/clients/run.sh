#!/usr/bin/env bash
# Unmodified Redis Cluster clients against three `quorate node` processes: redis-cli, redis-benchmark and redis-py.
# What cannot be installed here is skipped, and said so. Needs the binary: cargo build --bin quorate.
#
# Usage: tests/clients/run.sh [BINARY]
set -euo pipefail
cd "$(dirname "$0")"

binary=${1:-${CARGO_TARGET_DIR:-../../target}/debug/quorate}
redis_py=redis==8.1.0
requests=100000

skip() {
    echo "SKIPPED: $*"
}

# Debian's package, if the tools are not there and may be installed.
have_redis_tools() {
    command -v redis-cli >/dev/null && command -v redis-benchmark >/dev/null && return
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    { apt-get update && apt-get install -y --no-install-recommends redis-tools; } >/dev/null 2>&1
}

have_redis_py() {
    python3 -m venv "$work/venv" >/dev/null 2>&1 || return 1
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check "$redis_py" >/dev/null 2>&1
}

work=$(mktemp -d)
pids=()
finish() {
    local status=$?
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    if [ $status -ne 0 ]; then
        tail -n 20 "$work"/node-*.log >&2 || true
    fi
    rm -rf "$work"
}
trap finish EXIT

# Nine ports that are free now.
read -r -a ports < <(python3 - <<'PY'
import socket
held = [socket.socket() for _ in range(9)]
for s in held:
    s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in held])
PY
)

address_keys() { # of node $1
    local at=$(((${1} - 1) * 3))
    printf 'peer = "127.0.0.1:%s"\nresp = "127.0.0.1:%s"\nadmin = "127.0.0.1:%s"\n' \
        "${ports[at]}" "${ports[at + 1]}" "${ports[at + 2]}"
}

for node in 1 2 3; do
    {
        printf 'cluster = "clients"\nnode = %s\ndata_dir = "%s"\n' "$node" "$work/data-$node"
        printf '[listen]\n%s' "$(address_keys "$node")"
        printf '\n[bootstrap]\ngroups = 8\nreplication = 3\n'
        for other in 1 2 3; do
            printf '[[nodes]]\nid = %s\n%s\n' "$other" "$(address_keys "$other")"
        done
    } >"$work/node-$node.toml"
    "$binary" node --config "$work/node-$node.toml" >"$work/node-$node.out" 2>"$work/node-$node.log" &
    pids+=($!)
done
for node in 1 2 3; do
    for _ in $(seq 300); do
        grep -q '^ready ' "$work/node-$node.out" && continue 2
        sleep 0.1
    done
    echo "node $node did not get ready" >&2
    exit 1
done
first=${ports[1]}

# Sum of a field of INFO over all nodes, which all must have it.
total() {
    for at in 1 4 7; do
        redis-cli -p "${ports[at]}" info stats
    done | tr -d '\r' | awk -F: -v name="$1" '$1 == name { sum += $2; found += 1 } END { if (found != 3) exit 1; print sum }'
}

expect() { # what, expected, actual
    if [ "$2" != "$3" ]; then
        echo "$1: expected $2, got $3" >&2
        exit 1
    fi
}

if have_redis_tools; then
    echo "== redis-cli -c"
    for key in alpha beta gamma delta epsilon; do
        expect "SET $key" OK "$(redis-cli -c -p "$first" set "$key" "value of $key")"
        for at in 1 4 7; do
            expect "GET $key" "value of $key" "$(redis-cli -c -p "${ports[at]}" get "$key")"
        done
    done
    expect "RESP3" "value of beta" "$(redis-cli -3 -c -p "$first" get beta)"
    echo "== redis-cli --cluster check"
    redis-cli --cluster check "127.0.0.1:$first" | tee "$work/check"
    grep -q 'All nodes agree about slots configuration' "$work/check"
    grep -q 'All 16384 slots covered' "$work/check"
    echo "== redis-benchmark --cluster"
    errors=$(total total_error_replies)
    redis-benchmark -p "$first" --cluster -t set,get -n "$requests" -c 50 -P 16 -d 128 -q | tr '\r' '\n' | grep 'per second'
    expect "error replies during redis-benchmark" "$errors" "$(total total_error_replies)"
else
    skip "redis-cli and redis-benchmark are not here and cannot be installed"
fi

if have_redis_py; then
    echo "== $redis_py"
    "$work/venv/bin/python" cluster_client.py "$first"
else
    skip "$redis_py cannot be installed"
fi
