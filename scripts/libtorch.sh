#!/usr/bin/env bash
# Makes libtorch 2.9.0 for the CPU available to `cargo build`: the library itself once per user in
# ${XDG_CACHE_HOME:-~/.cache}/neuronc, the one thing that is kept outside the repository; a link to it, `.libtorch`,
# and `.cargo/config.toml`, which names it, in the repository.
#
# $LIBTORCH, if set, is used as it is. Otherwise the library comes from the official archive where that can be
# reached, and from Python wheels where it cannot.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

version=2.9.0
archive=https://download.pytorch.org/libtorch/cpu/libtorch-shared-with-deps-$version%2Bcpu.zip
cached=${XDG_CACHE_HOME:-$HOME/.cache}/neuronc/libtorch-$version-cpu
partial=$cached.partial

# version_of FOLDER: without the build's suffix, as in 2.9.0+cpu.
version_of() {
    local found=
    [ ! -f "$1/build-version" ] || read -r found <"$1/build-version" || true
    echo "${found%%+*}"
}

from_archive() {
    command -v curl >/dev/null || return 1
    curl -fsIL --connect-timeout 5 --max-time 20 -o "$partial/head" "$archive" || return 1
    need_space "$partial" 1500
    say "downloading $archive"
    curl -fL --connect-timeout 5 --speed-limit 10000 --speed-time 60 -o "$partial/libtorch.zip" "$archive" || return 1
    python3 - "$partial" <<'PY' || return 1
import pathlib, sys, zipfile

partial = pathlib.Path(sys.argv[1])
try:
    zipfile.ZipFile(partial / "libtorch.zip").extractall(partial)
except (OSError, zipfile.BadZipFile) as error:
    sys.exit(f"libtorch.zip: {error}")
PY
}

from_wheels() {
    need_space "$partial" 4000
    say "downloading the torch==$version wheel (900 MB, of which the CPU part is kept)"
    # The same wheels whichever Python runs this: none of their Python is used.
    TMPDIR=$partial python3 -m pip download --no-deps --require-hashes -r "$root/scripts/libtorch-requirements.txt" \
        --python-version 3.11 --only-binary=:all: --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 \
        -d "$partial/wheels" >&2 || return 1
    python3 - "$partial" <<'PY' || return 1
import pathlib, shutil, sys, zipfile

partial = pathlib.Path(sys.argv[1])
libtorch = partial / "libtorch"
kept = {
    "torch/lib/libtorch_cpu.so",
    "torch/lib/libc10.so",
    "torch/lib/libgomp.so.1",
    "nvidia/cuda_runtime/lib/libcudart.so.12",
    "nvidia/cuda_cupti/lib/libcupti.so.12",
}


def place(name):
    if name.startswith("torch/include/"):
        return libtorch / name.removeprefix("torch/")
    if name in kept:
        return libtorch / "lib" / name.rsplit("/", 1)[1]
    return None


try:
    for wheel in sorted((partial / "wheels").glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                target = place(name)
                if target is None or name.endswith("/"):
                    continue
                kept.discard(name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, open(target, "wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
except (OSError, zipfile.BadZipFile) as error:
    sys.exit(f"{error}")
if kept:
    sys.exit(f"the wheels lack {', '.join(sorted(kept))}")
PY
    # The wheel's own libtorch.so is an empty library that asks for CUDA.
    ln -s libtorch_cpu.so "$partial/libtorch/lib/libtorch.so"
    echo "$version" >"$partial/libtorch/build-version"
}

fill_cache() {
    [ "$(uname -sm)" = "Linux x86_64" ] ||
        die "there is no libtorch $version for $(uname -sm) to download; set LIBTORCH to the folder of one"
    need_pip
    lock "$cached.lock"
    [ "$(version_of "$cached")" != $version ] || return 0
    say "putting libtorch $version (CPU) into $cached, the one thing that is kept outside the repository"
    trap 'rm -rf "$partial"' EXIT
    rm -rf "$partial"
    mkdir "$partial"
    if ! from_archive; then
        say "the official archive cannot be had from here: taking Python wheels instead"
        rm -rf "${partial:?}"/*
        from_wheels || die "libtorch $version could be had neither as the official archive nor as wheels (see above)"
    fi
    [ "$(version_of "$partial/libtorch")" = $version ] || die "what was downloaded is not libtorch $version"
    rm -rf "$cached"
    mv -T "$partial/libtorch" "$cached"
}

if [ -n "${LIBTORCH:-}" ]; then
    [ -d "$LIBTORCH" ] || die "LIBTORCH=$LIBTORCH is not a folder"
    found=$(version_of "$LIBTORCH")
    [ "$found" = $version ] ||
        die "LIBTORCH=$LIBTORCH is libtorch ${found:-of unknown version (no build-version file)}, not $version;" \
            "unset LIBTORCH to have that downloaded"
    libtorch=$(cd "$LIBTORCH" && pwd -P)
else
    [ "$(version_of "$cached")" = $version ] || fill_cache
    libtorch=$cached
fi
replace_link "$libtorch" "$root/.libtorch"
replace_file "# Written by scripts/libtorch.sh. A LIBTORCH in the environment comes first.
[env]
LIBTORCH = \"$libtorch\"" "$root/.cargo/config.toml"
say "libtorch $version is $libtorch"
