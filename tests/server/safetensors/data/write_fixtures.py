#!/usr/bin/env python3
"""Writes the fixtures beside it with the safetensors package from PyPI.

Run it with `pip install safetensors numpy ml_dtypes` done. types.safetensors holds a tensor of each
type that the readers know, with values at the edges of the type; nothing.safetensors holds none.
"""
import pathlib

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).parent

INTEGERS = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.int64]


def main():
    tensors = {}
    for kind in INTEGERS:
        limits = np.iinfo(kind)
        tensors[np.dtype(kind).name] = np.array([limits.min, 1, limits.max], dtype=kind)
    tensors["uint64"] = np.array([7, 2**63 - 1], dtype=np.uint64)
    tensors["uint64_large"] = np.array([7, 2**63], dtype=np.uint64)
    tensors["bool"] = np.array([[True, False], [False, True]])
    tensors["float64"] = np.array([1 / 3, -0.0, 1e300, 5e-324, np.inf, np.nan])
    tensors["float32"] = np.array([[1 / 3, -0.0, 1e-45], [np.inf, -np.inf, np.nan]], np.float32)
    tensors["float16"] = np.array([1 / 3, -0.0, 6e-8, 65504, np.inf, np.nan], np.float16)
    tensors["bfloat16"] = np.array([1 / 3, -0.0, 1e-40, np.inf], ml_dtypes.bfloat16)
    tensors["float8"] = np.array([1, 2, 3], ml_dtypes.float8_e4m3fn)
    tensors["scalar"] = np.array(2.5, np.float32)
    tensors["empty"] = np.zeros((0, 3), np.float32)
    tensors['gr\u00fc\u00dfe "x"\n'] = np.array([4], np.float32)
    save_file(tensors, FOLDER / "types.safetensors", {"format": "np", "note": "\u00e9"})
    save_file({}, FOLDER / "nothing.safetensors")


if __name__ == "__main__":
    main()
