"""Test code. A double of torch-neuronx 2.9: the documented functions with the documented signatures and refusals.

Graphs are lowered by the real torch-xla, "compiled" by a process named neuronx-cc, and run by the double of
libtorchneuron.so. tests/sdk/README.md says how it differs from the real package.
"""

import importlib.metadata
import pathlib

import torch

# As the real package does; on a machine without the Neuron runtime that library may not load.
torch.ops.load_library(pathlib.Path(__file__).parent / "lib" / "libtorchneuron.so")

import torch_xla  # noqa: E402,F401

from torch_neuronx.analysis import analyze  # noqa: E402
from torch_neuronx.buckets import BucketModelConfig, bucket_model_trace  # noqa: E402
from torch_neuronx.parallel import DataParallel  # noqa: E402
from torch_neuronx.partitioner import PartitionerConfig  # noqa: E402
from torch_neuronx.placement import (  # noqa: E402
    async_load,
    dynamic_batch,
    lazy_load,
    move_trace_to_device,
    multicore_context,
    neuron_cores_context,
    replace_weights,
    set_multicore,
    set_neuron_cores,
)
from torch_neuronx.tracing import trace  # noqa: E402

__version__ = importlib.metadata.version("torch-neuronx")
__all__ = [
    "BucketModelConfig",
    "DataParallel",
    "PartitionerConfig",
    "analyze",
    "async_load",
    "bucket_model_trace",
    "dynamic_batch",
    "lazy_load",
    "move_trace_to_device",
    "multicore_context",
    "neuron_cores_context",
    "replace_weights",
    "set_multicore",
    "set_neuron_cores",
    "trace",
]
