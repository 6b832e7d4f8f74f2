"""Frames between neuronc and a worker, as neuronc's `executor::wire` has them.

A frame is two little-endian u32 (bytes of the header, bytes of the payload), a JSON header with the message and
the layouts of its tensors, and the bytes of these tensors one after the other.
"""

import ctypes
import json
import struct

import torch

# A damaged or hostile peer can make us allocate no more than this.
HEADER_BYTES_MAX = 1 << 20
PAYLOAD_BYTES_MAX = 1 << 30

# The types of tensors by their names in headers.
TYPES = {
    "f32": torch.float32,
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "i64": torch.int64,
    "i32": torch.int32,
    "u8": torch.uint8,
}
_NAMES = {kind: name for name, kind in TYPES.items()}


class WireError(Exception):
    """The peer does not keep to the protocol."""


def send(stream, message, tensors=()):
    """Writes one frame."""
    payload = [_bytes_of(tensor) for tensor in tensors]
    layouts = [{"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape)} for tensor in tensors]
    header = json.dumps({"message": message, "tensors": layouts}).encode("utf-8")
    size = sum(len(each) for each in payload)
    _bounded(len(header), HEADER_BYTES_MAX, "header")
    _bounded(size, PAYLOAD_BYTES_MAX, "payload")
    stream.sendall(b"".join([struct.pack("<II", len(header), size), header] + payload))


def receive(stream):
    """Reads one frame: its message and its tensors; None when the peer closed the stream between two frames."""
    first = stream.recv(1)
    if not first:
        return None
    header_size, payload_size = struct.unpack("<II", first + _read(stream, 7))
    _bounded(header_size, HEADER_BYTES_MAX, "header")
    _bounded(payload_size, PAYLOAD_BYTES_MAX, "payload")
    try:
        header = json.loads(bytes(_read(stream, header_size)).decode("utf-8"))
        message, layouts = header["message"], [_layout(each) for each in header["tensors"]]
    except (ValueError, KeyError, TypeError):
        raise WireError("the header of a frame is not the expected JSON")
    if sum(size for _, _, size in layouts) != payload_size:
        raise WireError("a frame of {} payload bytes lists tensors of another size".format(payload_size))
    return message, [_tensor(kind, shape, _read(stream, size)) for kind, shape, size in layouts]


def _layout(value):
    kind, shape = TYPES[value["dtype"]], value["shape"]
    count = torch.empty(0, dtype=kind).element_size()
    for size in shape:
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise ValueError("a size is a number")
        count *= size
    return kind, shape, count


def _tensor(kind, shape, content):
    if not content:
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(content, dtype=kind).reshape(shape)


def _bytes_of(tensor):
    size = tensor.numel() * tensor.element_size()
    return ctypes.string_at(tensor.data_ptr(), size) if size else b""


def _bounded(size, bound, part):
    if size > bound:
        raise WireError("a frame's {} of {} bytes exceeds the bound of {}".format(part, size, bound))


def _read(stream, size):
    """Reads exactly `size` bytes, allocating as they arrive."""
    content = bytearray()
    while len(content) < size:
        part = stream.recv(min(size - len(content), 1 << 20))
        if not part:
            raise WireError("the stream ends inside of a frame")
        content += part
    return content
