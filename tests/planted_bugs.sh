#!/usr/bin/env bash
# Plants known mistakes in the product, one at a time, and says what finds each, by which law and in how many seconds; fails if
# one is not found, or if something is found without one. Which, and by what: tests/planted.toml.
#   tests/planted_bugs.sh                 all of them
#   tests/planted_bugs.sh NAME...         these
#   tests/planted_bugs.sh --out FILE      all of them; also writes the table to FILE
#   tests/planted_bugs.sh --three         three of those that a simulation finds, chosen by the commit that is checked out
#   tests/planted_bugs.sh --survey NAME [--seeds N] [--faults STORM | --full-stack]
#                                         how many of the first N seeds find one, and by which law
set -euo pipefail
cd "$(dirname "$0")/.."

planted() {
    cargo run --quiet --locked -p quorate-tests --no-default-features --features planted-bugs --bin planted -- "$@"
}

case "${1-}" in
--three) planted try --three "$(git rev-parse HEAD)" ;;
--survey)
    [ $# -ge 2 ] || { echo "which mistake?"; exit 2; }
    QUORATE_PLANTED=$2 planted survey "${@:3}"
    ;;
*) planted try "$@" ;;
esac
