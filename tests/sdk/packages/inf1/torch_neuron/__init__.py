"""Test code. A double of torch-neuron 1.13.1: the documented functions with the documented signatures and refusals.

Graphs are traced and divided by the real torch 1.13.1, "compiled" by processes named neuron-cc, and run by the double of
libtorchneuron.so. tests/sdk/README.md says how it differs from the real package.
"""

import enum
import importlib.metadata
import logging
import pathlib
import sys

import torch

torch.ops.load_library(str(pathlib.Path(__file__).parent / "lib" / "libtorchneuron.so"))

# As the real package prints: a handler of its own, and the record also goes to the root logger's handlers.
_handler = logging.StreamHandler()
_handler.setFormatter(logging.Formatter("%(levelname)s:%(name)s:%(message)s"))
logging.getLogger("Neuron").addHandler(_handler)
logging.getLogger("Neuron").setLevel(logging.INFO)


class Optimization(enum.Enum):
    FLOAT32_TO_FLOAT16 = "float32-to-float16"


from torch_neuron.parallel import DataParallel  # noqa: E402
from torch_neuron.support import analyze_model, get_supported_operations  # noqa: E402
from torch_neuron.tracing import trace  # noqa: E402


def is_available():
    try:
        return torch.classes.neuron.Runtime().get_visible_nc_count() > 0
    except RuntimeError:
        return False


__version__ = importlib.metadata.version("torch-neuron")
__all__ = ["DataParallel", "Optimization", "analyze_model", "get_supported_operations", "is_available", "trace"]

# `import torch.neuron` and `torch.neuron.trace` are as documented as the package's own name.
torch.neuron = sys.modules[__name__]
sys.modules["torch.neuron"] = sys.modules[__name__]
