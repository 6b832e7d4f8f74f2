"""Builds the double of libtorchneuron.so and prints its path: `python3 tests/sdk/plugin/build.py inf1|neuronx [VARIANT]`.

Test code. A library is kept beside the big environments, under a name that holds a digest of the sources, and built only
where it is missing. The variant `needs-libnrt` asks for a libnrt.so.1 that is nowhere, as the real library does on a
machine without the Neuron runtime.
"""

import fcntl
import hashlib
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "neuronc" / "sdk-doubles"
VARIANTS = ["plain", "needs-libnrt"]


def big_site_packages(kind):
    found = sorted((CACHE / kind / "lib").glob("python3.*/site-packages"))
    return found[0] if found else None


def flags(kind):
    """Against Debian's libtorch 1.13.1, which is where compilers look, or against the torch of the environment."""
    if kind == "inf1":
        return ["-DNEURON_DOUBLE_INF1"], []
    torch = big_site_packages(kind) / "torch"
    return [f"-I{torch}/include"], [f"-L{torch}/lib"]


def build(kind, variant="plain"):
    digest = hashlib.sha256(repr((kind, variant, flags(kind))).encode())
    for source in sorted(HERE.iterdir()):
        if source.is_file():
            digest.update(source.read_bytes())
    library = CACHE / f"libtorchneuron-{kind}-{variant}-{digest.hexdigest()[:16]}.so"
    if library.exists():
        return library
    with open(CACHE / "plugin.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if library.exists():
            return library
        for old in CACHE.glob(f"libtorchneuron-{kind}-{variant}-*.so"):
            old.unlink()
        partial = library.with_suffix(f".{os.getpid()}")
        before, after = flags(kind)
        command = ["c++", "-std=c++17", "-O1", "-fPIC", "-shared", "-Wl,-soname,libtorchneuron.so", *before]
        command += [HERE / "plugin.cpp", "-o", partial, *after, "-ltorch_cpu", "-lc10"]
        if variant == "needs-libnrt":
            empty = CACHE / "libnrt.so.1"
            subprocess.run(["c++", "-shared", "-Wl,-soname,libnrt.so.1", "-o", empty, "-x", "c++", os.devnull], check=True)
            command += ["-Wl,--no-as-needed", empty]
        subprocess.run(command, check=True)
        if variant == "needs-libnrt":
            empty.unlink()
        partial.rename(library)
    return library


if __name__ == "__main__":
    print(build(*sys.argv[1:]))
