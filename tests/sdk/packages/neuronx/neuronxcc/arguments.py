"""The documented command line of neuronx-cc, and nothing more."""

import argparse
import importlib.metadata

DOWNCASTS = {"dot", "scatter", "all_reduce", "reduce_scatter", "pow"}


def downcast(text):
    if text in ("default", "all", "none") or set(text.split(",")) <= DOWNCASTS:
        return text
    raise argparse.ArgumentTypeError(f"invalid choice: '{text}'")


def verbosity(text):
    if text in ("debug", "info", "warning", "error", "critical") or text.isdigit():
        return text
    raise argparse.ArgumentTypeError(f"invalid choice: '{text}'")


def version():
    return importlib.metadata.version("neuronx-cc")


def newer_than(*release):
    return tuple(int(part) for part in version().split(".")[:2]) >= release


def parser():
    top = argparse.ArgumentParser("neuronx-cc", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"NeuronX Compiler version {version()}+double")
    commands = top.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list-operators", allow_abbrev=False)
    listing.add_argument("--framework", choices=["XLA"], required=True)
    make = commands.add_parser("compile", allow_abbrev=False)
    make.add_argument("model")
    make.add_argument("--framework", choices=["XLA"], required=True)
    make.add_argument("--target", choices=["inf2", "trn1", "trn1n", "trn2"], required=True)
    make.add_argument("--model-type", choices=["generic", "transformer", "unet-inference"])
    make.add_argument("--auto-cast", choices=["none", "matmult", "all"])
    make.add_argument("--auto-cast-type", choices=["bf16", "fp16", "tf32", "fp8_e4m3"])
    make.add_argument("--distribution-strategy", choices=["llm-training"])
    make.add_argument("--logical-nc-config", "-lnc", "--lnc", choices=["1", "2"])
    make.add_argument("--optlevel", "-O", choices=["1", "2", "3"])
    for flag in (
        "enable-mixed-precision-accumulation",
        "disable-mixed-precision-accumulation",
        "enable-saturate-infinity",
        "enable-fast-context-switch",
        "enable-fast-loading-neuron-binaries",
    ):
        make.add_argument(f"--{flag}", action="store_true")
    if newer_than(2, 27):
        make.add_argument("--native-int64", choices=["default", "enabled", "disabled"])
        make.add_argument("--implicit-integer-downcast", type=downcast)
    make.add_argument("--query-compute-placement", action="store_true", help=argparse.SUPPRESS)
    make.add_argument("--logfile", default="log-neuron-cc.txt")
    make.add_argument("--output", default="file.neff")
    make.add_argument("--verbose", type=verbosity)
    return top
