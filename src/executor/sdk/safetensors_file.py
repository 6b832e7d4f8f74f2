"""Reads and writes safetensors files without the package of that name, which not every SDK environment has.

Reading maps the file, so that a tensor costs no memory until it is used. Writing starts each tensor where vector
instructions like it.
"""

import ctypes
import json
import math
import mmap
import struct

import torch

import failures

_TYPES = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
}
_NAMES = {kind: name for name, kind in _TYPES.items()}

# A cache line.
_ALIGNMENT = 64

# The bound that the format itself sets.
_HEADER_MAX = 100 * 1000 * 1000


def holds(kind):
    """Whether neuronc's files hold tensors of this type."""
    return kind in _NAMES


def write(path, tensors):
    """Writes `tensors`, pairs of a name and a tensor on the host, and returns the size of the file."""
    header = {"__metadata__": {"format": "pt"}}
    start = 0
    order = sorted(range(len(tensors)), key=lambda index: _place(tensors[index][1], index))
    for index in order:
        name, tensor = tensors[index]
        if not holds(tensor.dtype):
            raise ValueError("`{}` is of {}, which neuronc's files do not hold".format(name, tensor.dtype))
        end = start + _bytes(tensor)
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for index in order:
            _write_tensor(file, tensors[index][1])
        file.flush()
    return 8 + len(text) + start


def read(path, names=None):
    """The tensors of a file by name, all or those of `names`; they share the pages of the mapped file."""
    try:
        with open(path, "rb") as file:
            # A private mapping may be written to, which PyTorch expects of memory; the file stays as it is.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except ValueError:
        raise _damaged(path, "it is empty")
    except OSError as error:
        raise _damaged(path, str(error))
    header, base = _header(path, mapped)
    names = list(header) if names is None else names
    return {name: _tensor(path, mapped, base, name, header) for name in names}


def _header(path, mapped):
    length = struct.unpack("<Q", mapped[:8])[0] if len(mapped) >= 8 else _HEADER_MAX + 1
    if length > min(_HEADER_MAX, len(mapped) - 8):
        raise _damaged(path, "its header exceeds the file")
    try:
        header = json.loads(mapped[8 : 8 + length].decode("utf-8"))
        header.pop("__metadata__", None)
    except (ValueError, AttributeError):
        raise _damaged(path, "its header is not JSON")
    return header, 8 + length


def _tensor(path, mapped, base, name, header):
    if name not in header:
        raise _damaged(path, "it has no tensor `{}`".format(name))
    try:
        entry = header[name]
        kind = _TYPES[entry["dtype"]]
        shape = [int(size) for size in entry["shape"]]
        start, end = (int(offset) for offset in entry["data_offsets"])
    except (KeyError, TypeError, ValueError):
        raise _damaged(path, "tensor `{}` is described in a way that is not known".format(name))
    count = math.prod(shape)
    size = torch.empty(0, dtype=kind).element_size()
    fits = min(shape, default=0) >= 0 and 0 <= start <= end <= len(mapped) - base and end - start == count * size
    if not fits:
        raise _damaged(path, "tensor `{}` does not lie inside of it".format(name))
    if count == 0:
        return torch.empty(shape, dtype=kind)
    if (base + start) % size:
        return _unaligned(mapped, base + start, count, size, kind).reshape(shape)
    return torch.frombuffer(mapped, dtype=kind, count=count, offset=base + start).reshape(shape)


def _unaligned(mapped, start, count, size, kind):
    """A copy: processors read numbers that start anywhere more slowly, or not at all."""
    return torch.frombuffer(bytearray(mapped[start : start + count * size]), dtype=kind)


def _place(tensor, index):
    """Tensors that end at an aligned place come first, so that they all start at one; then wide elements."""
    return (_bytes(tensor) % _ALIGNMENT != 0, -tensor.element_size(), index)


def _bytes(tensor):
    return tensor.numel() * tensor.element_size()


def _write_tensor(file, tensor):
    tensor = tensor.detach().contiguous()
    size = _bytes(tensor)
    if size:
        file.write((ctypes.c_char * size).from_address(tensor.data_ptr()))


def _damaged(path, why):
    return failures.JobError(failures.INPUT, "`{}` is not a safetensors file that can be used".format(path), why)
