"""Tensors in and out of a compiled graph: flat lists, their description, and the TorchScript that stands for the graph."""

import io

import torch
from torch.utils import _pytree as pytree


class Flat(torch.nn.Module):
    """`func`, returning its tensors as one tuple whatever structure it returns."""

    def __init__(self, func):
        super().__init__()
        self.func = func

    def forward(self, *inputs):
        leaves, self.structure = pytree.tree_flatten(self.func(*inputs))
        return tuple(leaves)


def as_tuple(example_inputs):
    return (example_inputs,) if isinstance(example_inputs, torch.Tensor) else tuple(example_inputs)


def metaneff(inputs, outputs):
    """One line for each tensor, which plugin.cpp reads; the real one is a protobuf message."""
    lines = []
    for direction, tensors in (("in", inputs), ("out", outputs)):
        for tensor in tensors:
            kind = {torch.float32: "float", torch.float16: "half", torch.float64: "double", torch.int64: "long", torch.int32: "int"}
            name = kind.get(tensor.dtype, str(tensor.dtype).removeprefix("torch."))
            lines.append(f"{direction} {name} {','.join(map(str, tensor.shape)) or '-'}\n")
    return "".join(lines)


def bytes_tensor(data):
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def script_bytes(module):
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    return buffer.getvalue()
