#!/usr/bin/env bash
# Makes the two Python environments that the doubles of the Neuron SDK run in (tests/sdk/README.md), in
# ${XDG_CACHE_HOME:-~/.cache}/neuronc/sdk-doubles, and builds the doubles of libtorchneuron.so beside them:
#   inf1     Debian's torch 1.13.1, by apt-get; the one place in this repository that uses it (and, for tests of
#            serve and top, libfaketime, chromium and tmux)
#   neuronx  torch 2.9.0 and torch-xla 2.9.0 from the Python index
# Does nothing where they are there already; what was interrupted is made anew.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

sdk=$root/tests/sdk
doubles=${XDG_CACHE_HOME:-$HOME/.cache}/neuronc/sdk-doubles
debian=(python3-torch libtorch-dev python3-venv faketime chromium tmux)

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}\n' "${debian[@]}" 2>/dev/null | grep -cx installed)" = ${#debian[@]} ]
}

debian_packages() {
    ! installed || return 0
    command -v apt-get >/dev/null ||
        die "the inf1 double needs Debian 12's packages ${debian[*]} (torch 1.13.1), and there is no apt-get here"
    [ "$(id -u)" = 0 ] ||
        die "the inf1 double needs Debian packages; run as root: apt-get install --no-install-recommends ${debian[*]}"
    say "apt-get installs ${debian[*]} on this system (300 MB of downloads, 1.2 GB on disk, minutes)"
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive nice apt-get install -y -qq --no-install-recommends "${debian[@]}" >&2 ||
        die "apt-get could not install ${debian[*]} (see above)"
    installed || die "${debian[*]} are still not installed"
}

# What an environment was made from: what decides its content.
origin() {
    local python=python3
    [ "$1" != inf1 ] || python=/usr/bin/python3
    { cat "$sdk/requirements-$1.txt" "$sdk/without_cuda.py" && "$python" --version; } | sha256sum
}

complete() { [ "$(origin "$1")" = "$(cat "$doubles/$1/made-from" 2>/dev/null)" ]; }

# The folder has its final name from the beginning, since a virtual environment cannot be moved; `made-from` comes last.
inf1() {
    ! complete inf1 || return 0
    say "installing transformers for torch 1.13.1 into $doubles/inf1 (160 MB, half a minute)"
    rm -rf "$doubles/inf1"
    /usr/bin/python3 -m venv --system-site-packages "$doubles/inf1"
    nice "$doubles/inf1/bin/pip" install -q -r "$sdk/requirements-inf1.txt" >&2 ||
        die "the packages of inf1 could not be installed (see above)"
    "$doubles/inf1/bin/python3" -I -c 'import sys, torch, transformers; sys.exit(not torch.__version__.startswith("1.13."))' ||
        die "the python3-torch of this system is not 1.13, which Debian 12 has and the inf1 double needs"
    origin inf1 >"$doubles/inf1/made-from"
}

neuronx() {
    ! complete neuronx || return 0
    need_pip
    need_space "$doubles" 4000
    say "installing torch 2.9.0 and torch-xla 2.9.0 into $doubles/neuronx (1.1 GB of downloads, 1.3 GB on disk, minutes)"
    rm -rf "$doubles/neuronx"
    python3 -m venv "$doubles/neuronx" || die "python3 has no venv; install it (Debian, Ubuntu: apt-get install python3-venv)"
    mkdir "$doubles/neuronx/tmp"
    TMPDIR=$doubles/neuronx/tmp nice "$doubles/neuronx/bin/pip" install -q --no-cache-dir --no-deps --only-binary=:all: \
        -r "$sdk/requirements-neuronx.txt" >&2 || die "the packages of neuronx could not be installed (see above)"
    rm -r "$doubles/neuronx/tmp"
    "$doubles/neuronx/bin/python3" "$sdk/without_cuda.py" "$doubles"/neuronx/lib/python3.*/site-packages
    "$doubles/neuronx/bin/python3" -I -c 'import torch, torch_xla, transformers' 2>"$doubles/neuronx/import.log" ||
        die "torch 2.9.0 does not start without CUDA: $(tail -1 "$doubles/neuronx/import.log")"
    origin neuronx >"$doubles/neuronx/made-from"
}

[ "$(uname -sm)" = "Linux x86_64" ] || die "the doubles of the SDK are made for Linux on x86_64"
for program in c++ cc nm; do
    command -v $program >/dev/null || die "there is no $program; install a C++ compiler (Debian, Ubuntu: apt-get install g++)"
done
mkdir -p "$doubles"
if ! { installed && complete inf1 && complete neuronx; }; then
    lock "$doubles/lock"
    debian_packages
    inf1
    neuronx
fi
for kind in inf1 neuronx; do
    for variant in plain needs-libnrt; do
        nice python3 -B "$sdk/plugin/build.py" $kind $variant >/dev/null
    done
done
say "the doubles of the SDK have their environments in $doubles"
