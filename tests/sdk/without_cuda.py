"""Takes CUDA out of an installed torch 2.9 wheel: `python3 tests/sdk/without_cuda.py SITE_PACKAGES`.

The torch of the Python index is built for CUDA, and `import torch` fails without 4 GB of libraries that nothing here
uses. This removes torch's own CUDA libraries (1.2 GB) and puts in the place of all of them small libraries of the same
names, which define every symbol that is still asked for. Needs `cc` and `nm`. Does nothing the second time.
"""

import pathlib
import subprocess
import sys

KEPT = ["libc10.so", "libshm.so", "libtorch_cpu.so", "libtorch_python.so"]
# torch's own; the first two are asked for by name and so replaced.
OWN = ["libtorch_cuda.so", "libc10_cuda.so", "libtorch_cuda_linalg.so", "libtorch_nvshmem.so", "libcaffe2_nvrtc.so"]
NVIDIA = ["libcudart.so.12", "libcupti.so.12", "libcudnn.so.9", "libcusparseLt.so.0", "libcufile.so.0"]
# How NVIDIA's symbols begin; they cannot be read from libraries that are not there.
NVIDIAS = ("cu", "nvrtc", "nvtx", "nccl")
DATA = set("BDRVu")

# A function returns the address of zeros: good as a reference, a null pointer inside, and 0 or false in the lowest byte.
# As a cudaError_t it is an error, so that torch finds no device.
HEAD = """
.bss
.balign 4096
zeros: .zero 65536
"""
FUNCTION = ".text\n.globl {0}\n{0}: leaq zeros(%rip), %rax\n ret\n"
VARIABLE = ".data\n.balign 64\n.globl {0}\n{0}: .zero 1024\n"
# Python bindings ask for the name of a type when torch is imported.
TYPE = """.data
.balign 8
.globl _ZTI{0}
_ZTI{0}: .quad _ZTVN10__cxxabiv117__class_type_infoE+16, 1f
1: .asciz "{0}"
"""


def symbols(library, which):
    """Names, with the letter that nm gives the kind."""
    out = subprocess.run(["nm", "-D", which, library], check=True, capture_output=True, text=True).stdout
    fields = (line.split()[-2:] for line in out.splitlines())
    return {name.split("@")[0]: kind for kind, name in fields}


def symbols_of_all(libraries, which):
    return {name: kind for library in libraries for name, kind in symbols(library, which).items()}


def replace(target, variables=(), functions=()):
    source = target.with_suffix(".s")
    text = [HEAD, *map(FUNCTION.format, functions)]
    for name in variables:
        text.append(TYPE.format(name[4:]) if name.startswith("_ZTI") else VARIABLE.format(name))
    source.write_text("".join(text) + '.section .note.GNU-stack,"",@progbits\n')
    subprocess.run(["cc", "-shared", "-nostdlib", f"-Wl,-soname,{target.name}", "-o", target, source], check=True)
    source.unlink()


def main(site_packages):
    folder = pathlib.Path(site_packages) / "torch" / "lib"
    done = folder / "without-cuda"
    if done.exists():
        return
    kept = [folder / name for name in KEPT]
    own = [folder / name for name in OWN]
    asked = symbols_of_all(kept, "--undefined-only").keys() - symbols_of_all(kept, "--defined-only").keys()
    torchs = symbols_of_all(own, "--defined-only")
    variables = sorted(name for name in asked if torchs.get(name, "T") in DATA)
    functions = sorted(name for name in asked - set(variables) if name in torchs or name.startswith(NVIDIAS))
    for library in own:
        library.unlink()
    replace(own[0], variables, functions)
    for name in [OWN[1], *NVIDIA]:
        replace(folder / name)
    done.touch()


main(sys.argv[1])
