#!/usr/bin/env bash
# Power cuts on a real kernel: ext4 and xfs in loop-mounted files, shut down under a node that acknowledges writes.
# Skips cleanly where that is not possible. Arguments go to `power_cut run`:
#   tests/power_cut.sh                          a few cuts for each store and file system
#   tests/power_cut.sh --cycles 100             the long form, 600 cuts
#   tests/power_cut.sh --lying-log              with the log's syncs ignored: succeeds if data was lost
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
    echo "SKIPPED: $*"
    exit 0
}

[ "$(id -u)" = 0 ] || skip "mounting needs root"
for tool in mkfs.ext4 mkfs.xfs xfs_io mount; do
    command -v "$tool" >/dev/null || PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null \
        || skip "$tool is missing (packages e2fsprogs, xfsprogs)"
done
export PATH=$PATH:/usr/sbin:/sbin
[ -e /dev/loop-control ] || skip "no loop devices"

cargo build --release --locked -p quorate-tests --bin power_cut
"${CARGO_TARGET_DIR:-target}/release/power_cut" run "$@"
