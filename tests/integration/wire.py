"""protobuf's wire format by hand, for messages that no library would write."""

import struct


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def tag(number, kind):
    return varint(number << 3 | kind)


def number(field, value):
    return tag(field, 0) + varint(value & (1 << 64) - 1)


def chunk(field, payload):
    if isinstance(payload, str):
        payload = payload.encode()
    return tag(field, 2) + varint(len(payload)) + payload


def fixed32(field, value):
    return tag(field, 5) + struct.pack("<I", value)


def fixed64(field, value):
    return tag(field, 1) + struct.pack("<Q", value)


# The protocol's own messages (proto/open_inference.proto), each part given as bytes.
def parameter(key, value):
    return chunk(1, key) + chunk(2, value)


BOOL, INT64, STRING, DOUBLE, UINT64 = range(1, 6)


def shape(*dims):
    return chunk(3, b"".join(varint(dim & (1 << 64) - 1) for dim in dims))


def tensor(name="x", datatype="FP32", dims=(1, 4), more=b""):
    return chunk(5, chunk(1, name) + chunk(2, datatype) + shape(*dims) + more)


def contents(field, payload):
    return chunk(5, chunk(field, payload))


def raw(size=16):
    return chunk(7, bytes(size))


def output(name="y", more=b""):
    return chunk(6, chunk(1, name) + more)


def request(*parts, model="b", version=None):
    return chunk(1, model) + (chunk(2, version) if version is not None else b"") + b"".join(parts)
