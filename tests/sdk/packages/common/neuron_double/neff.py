"""The double's NEFF: the header of 1024 bytes that real ones have, and behind it a TorchScript file instead of machine code."""

import struct
import uuid
import zlib

# Versions of package, header and data sizes, NEFF's major and minor version, build, cores, hash, uuid, name, requested
# cores, cores per node, features, size of a logical core, padding.
HEADER = struct.Struct("<QQQQQ128sI32s16s256sI64sQI468s")
assert HEADER.size == 1024


def write(path, data, major, cores=1):
    checksum = struct.pack("<I", zlib.crc32(data))
    fields = (2, HEADER.size, len(data), major, 0, b"double", cores, checksum, uuid.uuid4().bytes, b"graph", cores, b"", 0, 1, b"")
    with open(path, "wb") as file:
        file.write(HEADER.pack(*fields))
        file.write(data)


def damage(path):
    """What a full disk leaves: the first half."""
    with open(path, "r+b") as file:
        file.truncate(file.seek(0, 2) // 2)
