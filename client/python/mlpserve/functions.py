"""The functions of z alone that an epilogue knows: model.json's form, values, and largest slope."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mlpserve.block import Array, Function

_erfc = np.vectorize(math.erfc, otypes=[np.float64])
erf = np.vectorize(math.erf, otypes=[np.float64])


@dataclasses.dataclass(frozen=True)
class Definition:
    json_name: str
    evaluate: Callable[[Array, float], Array]  # keeps the dtype of z
    slope: Callable[[float], float]  # the largest |f'(z)|
    parameter: str | None = None  # its name in model.json
    fixed: dict[str, Any] | None = None  # what else model.json says


def _sigmoid(z: Array) -> Array:
    one = z.dtype.type(1)
    made: Array = one / (one + np.exp(-z))
    return made


def _relu6(z: Array) -> Array:
    return np.clip(z, 0, 6)


def _softplus(z: Array) -> Array:
    return np.where(z > 20, z, np.log1p(np.exp(np.minimum(z, 20))))


def _gelu_erf(z: Array, _: float) -> Array:
    share: Array = 0.5 * _erfc(-z.astype(np.float64) * math.sqrt(0.5))
    made: Array = z * share.astype(z.dtype)
    return made


def _gelu_tanh(z: Array, _: float) -> Array:
    t = z.dtype.type
    inner = t(math.sqrt(2 / math.pi)) * (z + t(0.044715) * z * z * z)
    made: Array = t(0.5) * z * (t(1) + np.tanh(inner))
    return made


def _at_least_one(parameter: float) -> float:
    return max(1.0, abs(parameter))


FUNCTIONS: dict[str, Definition] = {
    "relu": Definition("relu", lambda z, _: np.maximum(z, 0), lambda _: 1.0),
    "leaky_relu": Definition(
        "leaky_relu", lambda z, p: np.where(z > 0, z, z * z.dtype.type(p)), _at_least_one, "slope"),
    "elu": Definition(
        "elu", lambda z, p: np.where(z > 0, z, np.expm1(np.minimum(z, 0)) * z.dtype.type(p)),
        _at_least_one, "alpha"),
    "sigmoid": Definition("sigmoid", lambda z, _: _sigmoid(z), lambda _: 0.25),
    "tanh": Definition("tanh", lambda z, _: np.tanh(z), lambda _: 1.0),
    "silu": Definition("silu", lambda z, _: z * _sigmoid(z), lambda _: 1.10),
    "mish": Definition("mish", lambda z, _: z * np.tanh(_softplus(z)), lambda _: 1.09),
    "softplus": Definition("softplus", lambda z, _: _softplus(z), lambda _: 1.0),
    "hardsigmoid": Definition("hardsigmoid", lambda z, _: _relu6(z + 3) / 6, lambda _: 1 / 6),
    "hardswish": Definition("hardswish", lambda z, _: z * (_relu6(z + 3) / 6), lambda _: 1.5),
    "gelu": Definition("gelu", _gelu_erf, lambda _: 1.13, fixed={"approximate": "NONE"}),
    "gelu_tanh": Definition("gelu", _gelu_tanh, lambda _: 1.13, fixed={"approximate": "TANH"}),
}


def evaluate(op: Function, z: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        return FUNCTIONS[op.name].evaluate(z, op.parameter or 0.0)


def slope(op: Function) -> float:
    return FUNCTIONS[op.name].slope(op.parameter or 0.0)
