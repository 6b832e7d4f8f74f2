#!/usr/bin/env bash
# Runs every property test there is with many cases: every module that has one, wherever it is.
# PROPTEST_CASES says how many; a test's own number is for runs of all tests.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"
cd "$root"
export PROPTEST_CASES=${PROPTEST_CASES:-1000000}

# modules FOLDER: the modules of the property tests below it, as the names of their tests begin.
modules() {
    { grep -rlE 'proptest!|TestRunner::new' --include='*.rs' "$1" || true; } |
        sed -E "s|^$1/||; s|(/mod)?\.rs$||; s|/|::|g"
}

found=0
# run FOLDER CARGO-ARGUMENTS...
run() {
    local names
    mapfile -t names < <(modules "$1")
    [ ${#names[@]} -gt 0 ] || return 0
    found=$((found + ${#names[@]}))
    say "${names[*]}"
    cargo test "${@:2}" -- "${names[@]}"
}

cargo build --workspace
run src -p neuronc --lib
run neuronc-torch/src -p neuronc-torch --lib
run tests/suite -p neuronc --test suite
for folder in crates/*; do
    run "$folder/src" -p "${folder#crates/}" --lib
    for tests in "$folder"/tests/*/; do
        run "${tests%/}" -p "${folder#crates/}" --test "$(basename "$tests")"
    done
done
[ "$found" -gt 0 ] || die "no property test was found"
