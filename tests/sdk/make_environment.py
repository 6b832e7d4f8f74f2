"""Makes a Python environment with a double of the Neuron SDK, in less than a second: tests/sdk/README.md.

    python3 tests/sdk/make_environment.py inf1|neuronx|placeholder FOLDER [options]

Test code; needs only Python's own library. Prints a JSON object with the paths. Exits with 3 if the big environment
below it is missing (`make sdk-doubles` makes it).
"""

import argparse
import importlib.util
import json
import os
import pathlib
import re
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
PROFILES = HERE.parents[1] / "profiles"

# Nothing is written into the repository.
sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location("build", HERE / "plugin" / "build.py")
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)

KINDS = {
    # big environment, profile, folders of packages, package with the plugin, compilers
    "inf1": ("inf1", "inf1.yaml", ["common", "inf1"], "torch_neuron", {"neuron-cc": "neuroncc"}),
    "neuronx": ("neuronx", "inf2.yaml", ["common", "neuronx"], "torch_neuronx", {"neuronx-cc": "neuronxcc"}),
    "placeholder": ("inf1", None, ["placeholder"], None, {}),
}


def profile_packages(path):
    """The versions below `packages:` that are Python packages, read without a YAML library.

    A profile that names none has those of the one that it is like.
    """
    text = path.read_text()
    block = re.search(r"^  packages:\n((?:    .*\n)+)", text, re.M)
    if block is None:
        like = re.search(r"^like: (\S+)$", text, re.M).group(1)
        return profile_packages(path.with_name(f"{like}.yaml"))
    block = block.group(1)
    pairs = re.findall(r"^    ([a-z0-9-]+): ([^\s#]+)", block, re.M)
    return {name: version for name, version in pairs if not name.startswith("aws-")}


def interpreter(folder, big):
    (folder / "bin").mkdir(parents=True)
    base = os.path.realpath(big / "bin" / "python3")
    for name in ("python3", "python", os.path.basename(base)):
        (folder / "bin" / name).symlink_to(base)
    system = "true" if "include-system-site-packages = true" in (big / "pyvenv.cfg").read_text() else "false"
    config = f"home = {os.path.dirname(base)}\ninclude-system-site-packages = {system}\n"
    (folder / "pyvenv.cfg").write_text(config)


def distribution(site_packages, name, version):
    folder = site_packages / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / "INSTALLER").write_text("pip\n")
    (folder / "RECORD").write_text("")


def program(folder, name, module):
    path = folder / "bin" / name
    path.write_text(f'#!/bin/sh\nexec "${{0%/*}}/python3" -I -m {module} "$@"\n')
    path.chmod(0o755)


def make(options):
    big_name, profile, sources, plugin_package, programs = KINDS[options.kind]
    big = build.CACHE / big_name
    big_packages = build.big_site_packages(big_name)
    if big_packages is None or not (big / "made-from").exists():
        print(f"there is no {big}: run `make sdk-doubles`", file=sys.stderr)
        sys.exit(3)
    folder = options.folder.absolute()
    interpreter(folder, big)
    site_packages = folder / "lib" / big_packages.parent.name / "site-packages"
    site_packages.mkdir(parents=True)
    (site_packages / "big-environment.pth").write_text(f"{big_packages}\n")
    for source in sources:
        for package in sorted((HERE / "packages" / source).iterdir()):
            shutil.copytree(package, site_packages / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    if options.kind == "inf1":
        shutil.copy(PROFILES / "operators" / "inf1.txt", site_packages / "torch_neuron" / "operators.txt")
    path = options.profile or (profile and PROFILES / profile)
    versions = profile_packages(path) if path else {"torch-neuron": "1.0"}
    versions.update(pair.split("=", 1) for pair in options.version)
    for name in options.without:
        versions.pop(name, None)
        shutil.rmtree(site_packages / name.replace("-", "_"), ignore_errors=True)
    for name, version in versions.items():
        distribution(site_packages, name, version)
    for name, module in programs.items():
        if name not in options.without:
            program(folder, name, module)
    plugin = None
    if plugin_package and options.plugin != "none" and (site_packages / plugin_package).exists():
        # A copy, since torch resolves links and the library looks for its faults from where it lies.
        plugin = site_packages / plugin_package / "lib" / "libtorchneuron.so"
        plugin.parent.mkdir()
        shutil.copy(build.build(options.kind, options.plugin), plugin)
    faults = folder / "neuronc-double.json"
    faults.write_text(options.faults)
    made = {"python": folder / "bin" / "python3", "site_packages": site_packages, "plugin": plugin, "faults": faults}
    print(json.dumps({key: value and str(value) for key, value in made.items()}))


def main():
    parser = argparse.ArgumentParser(description="Makes a Python environment with a double of the Neuron SDK.")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=pathlib.Path, help="must not exist yet")
    parser.add_argument("--profile", type=pathlib.Path, help="the profile whose versions the packages have")
    parser.add_argument("--faults", default="{}", help="the content of neuronc-double.json")
    parser.add_argument("--version", action="append", default=[], metavar="NAME=VERSION")
    parser.add_argument("--without", action="append", default=[], metavar="NAME", help="a package or program to leave out")
    parser.add_argument("--plugin", choices=[*build.VARIANTS, "none"], default="plain")
    options = parser.parse_args()
    json.loads(options.faults)
    make(options)


main()
