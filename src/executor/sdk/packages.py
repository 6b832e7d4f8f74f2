"""Which packages an interpreter has, told without importing any of them."""

import platform
from importlib import metadata

# Distributions that decide what an environment can do.
NAMES = (
    "torch",
    "torch-neuron",
    "torch-neuronx",
    "neuron-cc",
    "neuronx-cc",
    "libneuronxla",
    "torch-xla",
    "transformers",
    "numpy",
    "safetensors",
    "tokenizers",
)


def python_version():
    return platform.python_version()


def versions():
    """Versions of the installed ones among `NAMES`, by name."""
    found = {}
    for name in NAMES:
        try:
            version = metadata.version(name)
        except Exception:  # Not installed, or metadata that cannot be read.
            continue
        if isinstance(version, str):
            found[name] = version
    return found
