#!/usr/bin/env bash
# The tests of the Python executor, with the doubles of the SDK. Skipped, with the reason, where
# `make sdk-doubles` has not run; in CI it must have.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"
cd "$root"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for kind in inf1 neuronx placeholder; do
  if ! python3 tests/sdk/make_environment.py "$kind" "$folder/$kind" >"$folder/$kind.json"; then
    [ -z "${CI:-}" ] || exit 1
    echo "skipped: the tests of the Python executor need \`make sdk-doubles\`"
    exit 0
  fi
done
python3 -B tests/sdk/executor/run.py --inf1 "$folder/inf1" --neuronx "$folder/neuronx" --placeholder "$folder/placeholder"
