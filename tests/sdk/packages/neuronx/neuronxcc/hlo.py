"""Reads as much of a serialized HloModuleProto as a double needs: how often each operation occurs, and on which types."""

from collections import Counter

C64, C128 = 15, 18


def fields(data):
    """(number, value) for each field: an int, or the bytes of what has a length."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value, at = data[at : at + size], at + size
        elif kind == 2:
            size, at = varint(data, at)
            if at + size > len(data):
                raise ValueError("cut off")
            value, at = data[at : at + size], at + size
        else:
            raise ValueError(f"no protobuf field has kind {kind}")
        yield key >> 3, value


def varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("cut off")
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def operations(data):
    """A Counter of (opcode, custom call target or "", True if complex)."""
    found = Counter()
    for number, computation in fields(memoryview(data)):
        if number != 3:
            continue
        for number, instruction in fields(computation):
            if number != 2:
                continue
            opcode = target = ""
            is_complex = False
            for number, value in fields(instruction):
                if number == 2:
                    opcode = bytes(value).decode()
                elif number == 28:
                    target = bytes(value).decode()
                elif number == 3:
                    is_complex = any(number == 2 and value in (C64, C128) for number, value in fields(value))
            found[opcode, target, is_complex] += 1
    if not found:
        raise ValueError("no instruction")
    return found
