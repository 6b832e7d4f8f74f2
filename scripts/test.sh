#!/usr/bin/env bash
# Builds both programs and runs every test. The tests start the programs, so these come first.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"
cd "$root"

scripts/demo-model.sh >/dev/null
cargo build --workspace
cargo test --workspace
scripts/test-executor.sh
# The short form of `make bench`: that it still runs, not how fast.
python3 scripts/bench.py --build debug --seconds 1 --megabytes 16
