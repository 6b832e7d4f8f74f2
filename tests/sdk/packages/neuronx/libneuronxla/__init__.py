"""Test code. A double of libneuronxla, of which the double of torch-neuronx needs nothing but the version."""

import importlib.metadata

__version__ = importlib.metadata.version("libneuronxla")
