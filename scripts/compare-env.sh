#!/usr/bin/env bash
# Makes the Python environment of the servers that `make compare` measures neuronc against (scripts/compare), in
# ${XDG_CACHE_HOME:-~/.cache}/neuronc/compare, and prints the path of its interpreter. Every version is pinned.
# Does nothing where it is there already; what was interrupted is made anew.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

requirements=$root/scripts/compare-requirements.txt
without_cuda=$root/tests/sdk/without_cuda.py
peers=${XDG_CACHE_HOME:-$HOME/.cache}/neuronc/compare
made_from=$peers/made-from

origin() { { cat "$requirements" "$without_cuda" && python3 --version; } | sha256sum; }

complete() { [ "$(origin)" = "$(cat "$made_from" 2>/dev/null)" ]; }

install() {
    need_pip
    lock "$peers.lock"
    ! complete || return 0
    [ "$(uname -sm)" = "Linux x86_64" ] || die "the peers are pinned for Linux on x86_64"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "the peers need Python 3.11 or later"
    for program in cc nm; do
        command -v $program >/dev/null || die "there is no $program; install a C compiler (Debian, Ubuntu: apt-get install gcc)"
    done
    need_space "$(dirname "$peers")" 5000
    say "installing torch, OpenVINO, ONNX Runtime and FastAPI into $peers (1.1 GB of downloads, 1.4 GB on disk, minutes)"
    rm -rf "$peers"
    python3 -m venv "$peers" || die "python3 has no venv; install it (Debian, Ubuntu: apt-get install python3-venv)"
    mkdir "$peers/tmp"
    # Without dependencies, which for torch are 3 GB of CUDA; the list names all that is needed.
    TMPDIR=$peers/tmp nice "$peers/bin/pip" install -q --no-cache-dir --no-deps --only-binary=:all: -r "$requirements" >&2 ||
        die "the packages could not be installed (see above)"
    rm -r "$peers/tmp"
    "$peers/bin/python" "$without_cuda" "$peers"/lib/python3.*/site-packages
    "$peers/bin/python" -I -c 'import fastapi, hypercorn, onnxruntime, openvino, tokenizers, torch, transformers, uvicorn, uvloop' >&2 ||
        die "the packages do not start (see above)"
    origin >"$made_from"
}

complete || install
echo "$peers/bin/python"
