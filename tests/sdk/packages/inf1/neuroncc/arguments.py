"""The documented command line of neuron-cc, and nothing more."""

import argparse
import importlib.metadata
import json

CASTS = ["fp32-cast-all", "fp32-cast-all-fp16", "fp32-cast-matmult", "fp32-cast-matmult-bf16", "fp32-cast-matmult-fp16"]
FAST_MATH = ["all", "none", "fast-relayout", "no-fast-relayout", *CASTS]


def version():
    return importlib.metadata.version("neuron-cc")


def positive(text):
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"invalid value: '{text}'")


def verbosity(text):
    if text in ("DEBUG", "INFO", "WARN", "ERROR") or text.isdigit():
        return text
    raise argparse.ArgumentTypeError(f"invalid choice: '{text}'")


def parser():
    top = argparse.ArgumentParser("neuron-cc", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"Neuron Compiler version {version()}+double")
    commands = top.add_subparsers(dest="command", required=True)
    make = commands.add_parser("compile", allow_abbrev=False)
    make.add_argument("model", nargs="+")
    make.add_argument("--framework", choices=["TENSORFLOW", "MXNET", "XLA"], required=True)
    make.add_argument("--pipeline", nargs="+", default=["compile"])
    make.add_argument("--io-config")
    make.add_argument("--neuroncore-pipeline-cores", type=positive, default=1)
    make.add_argument("--fast-math", nargs="+", choices=FAST_MATH, default=["all"])
    make.add_argument("--fp32-cast", choices=["all", "matmult", "matmult-fp16", "matmult-bf16", "all-fp16"])
    for flag in ("enable-saturate-infinity", "enable-fast-context-switch", "enable-fast-loading-neuron-binaries"):
        make.add_argument(f"--{flag}", action="store_true")
    make.add_argument("--output", default="out.neff")
    make.add_argument("--verbose", type=verbosity)
    return top


def parse(argv=None):
    top = parser()
    options = top.parse_args(argv)
    words = options.fast_math
    for group in (["all", "none"], ["fast-relayout", "no-fast-relayout"], CASTS):
        if len([word for word in words if word in group]) > 1:
            top.error(f"argument --fast-math: only one of {', '.join(group)} may be given")
    if options.io_config is not None:
        try:
            config = json.loads(options.io_config)
            assert isinstance(config["inputs"], dict) and isinstance(config["outputs"], list)
        except (ValueError, KeyError, AssertionError):
            top.error("argument --io-config: not a JSON object with inputs and outputs")
    return options
