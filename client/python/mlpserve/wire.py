"""Tensors as their bytes on the wire: row-major, little-endian, without padding."""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt

from mlpserve.block import Array
from mlpserve.errors import MlpserveError

_NUMPY: dict[str, npt.DTypeLike] = {
    "FP32": "<f4", "FP16": "<f2", "FP64": "<f8", "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
    "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "BOOL": "?",
}

assert sys.byteorder == "little", "mlpserve: this machine is big-endian, which numpy's BF16 bits are not read for"


def to_wire(x: Array, datatype: str) -> bytes:
    """Numbers rounded to the datatype (to nearest, ties to even)."""
    if datatype == "BF16":
        return _bf16_bits(x).tobytes()
    if datatype not in _NUMPY:
        raise MlpserveError(f"expected an input of numbers, found {datatype}")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(x, dtype=_NUMPY[datatype]).tobytes()


def from_wire(data: bytes, datatype: str, shape: tuple[int, ...]) -> Array:
    """BF16 comes back as float32, which holds it exactly."""
    if datatype != "BF16" and datatype not in _NUMPY:
        raise MlpserveError(f"expected an output of numbers, found {datatype}")
    kind = np.dtype("<u2" if datatype == "BF16" else _NUMPY[datatype])
    expected = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    if len(data) != expected:
        raise MlpserveError(f"expected {expected} bytes for {datatype} {list(shape)}, found {len(data)}")
    values = np.frombuffer(data, kind).reshape(shape)
    if datatype == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.copy()


def _bf16_bits(x: Array) -> npt.NDArray[np.uint16]:
    if x.dtype.name == "bfloat16":  # ml_dtypes' type: these bits already
        return np.ascontiguousarray(x).view(np.uint16)
    with np.errstate(over="ignore"):
        bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    quiet = (bits >> 16) | 0x40  # the carry would turn some NaNs into infinity
    is_nan = (bits & 0x7FFFFFFF) > 0x7F800000
    return np.where(is_nan, quiet, rounded).astype(np.uint16)
