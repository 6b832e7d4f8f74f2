#!/usr/bin/env bash
# Makes the Python environment .cache/fixtures-venv, in which tests/fixtures/make.py runs, and prints the path of its
# interpreter. Only those who remake the fixtures need it: the tests themselves need no Python.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

requirements=$root/scripts/fixtures-requirements.txt
venv=$root/.cache/fixtures-venv
installed=$venv/installed-requirements.txt

install() {
    need_pip
    lock "$venv.lock"
    ! cmp -s "$requirements" "$installed" || return 0
    need_space "$root/.cache" 15000
    say "installing torch and transformers (3 GB of downloads) into $venv"
    rm -rf "$venv"
    python3 -m venv "$venv" || die "python3 has no venv; install it (Debian, Ubuntu: apt-get install python3-venv)"
    # All of torch's CUDA libraries come along: without them `import torch` fails.
    "$venv/bin/pip" install -r "$requirements" >&2 || die "the packages could not be installed (see above)"
    cp "$requirements" "$installed"
}

cmp -s "$requirements" "$installed" || install
echo "$venv/bin/python"
