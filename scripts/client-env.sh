#!/usr/bin/env bash
# Makes the Python environment in which the tests talk to `neuronc serve` with the clients that people use (tests/clients),
# in ${XDG_CACHE_HOME:-~/.cache}/neuronc/clients, and prints the path of its interpreter. Every version is pinned.
# Does nothing where it is there already; what was interrupted is made anew.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

requirements=$root/scripts/clients-requirements.txt
clients=${XDG_CACHE_HOME:-$HOME/.cache}/neuronc/clients
installed=$clients/installed-requirements.txt

install() {
    need_pip
    lock "$clients.lock"
    ! cmp -s "$requirements" "$installed" || return 0
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "the clients need Python 3.11 or later"
    need_space "$(dirname "$clients")" 1500
    say "installing the openai, huggingface_hub, tritonclient, kserve and schemathesis packages into $clients (200 MB of downloads)"
    rm -rf "$clients"
    python3 -m venv "$clients" || die "python3 has no venv; install it (Debian, Ubuntu: apt-get install python3-venv)"
    nice "$clients/bin/pip" install -q --no-deps --only-binary=:all: -r "$requirements" >&2 ||
        die "the packages could not be installed (see above)"
    "$clients/bin/python" -I -c 'import huggingface_hub, kserve, openai, schemathesis, tritonclient.http' ||
        die "the packages do not start (see above)"
    cp "$requirements" "$installed"
}

cmp -s "$requirements" "$installed" || install
echo "$clients/bin/python"
