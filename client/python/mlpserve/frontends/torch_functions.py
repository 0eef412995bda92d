"""What PyTorch's functions of one tensor are as ops; signatures as in torch.nn.functional."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlpserve import ops as made
from mlpserve.block import Function, Hardtanh, Ops
from mlpserve.errors import ExportError


def _hardtanh(min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Ops:
    return (Hardtanh(float(min_val), float(max_val)),)


def _clamp(min: Any = None, max: Any = None) -> Ops:
    if min is not None and max is not None and min > max:
        raise ExportError(f"clamp: expected min <= max, found {min} and {max}")
    return (Hardtanh(None if min is None else float(min), None if max is None else float(max)),)


def _gelu(approximate: str = "none") -> Ops:
    return (Function("gelu_tanh" if approximate == "tanh" else "gelu"),)


def _softplus(beta: float = 1.0, threshold: float = 20.0) -> Ops:
    if threshold < 20:
        raise ExportError(f"softplus: expected a threshold of at least 20, found {threshold}")
    return made.softplus(float(beta))


def _threshold(threshold: float, value: float, inplace: bool = False) -> Ops:
    if threshold != value:
        raise ExportError(f"threshold: expected value = threshold, found {value} and {threshold}")
    return (Hardtanh(min=float(value)),)


def _pow(exponent: Any) -> Ops:
    ops = made.powered(exponent)
    if ops is None:
        raise ExportError(f"pow: expected an exponent of 1, 2, 3 or 4, found {exponent}")
    return ops


def _dropout(p: float = 0.5, training: bool = True, inplace: bool = False) -> Ops:
    if training and p > 0:
        raise ExportError("dropout: expected training=self.training, found True, with which it drops values of every "
                          "request too")
    return ()


def _nothing(*_: Any, **__: Any) -> Ops:
    return ()


def _function(name: str) -> Callable[..., Ops]:
    return lambda inplace=False, out=None: (Function(name),)


FUNCTIONS: dict[str, Callable[..., Ops]] = {
    "relu": _function("relu"),
    "relu6": lambda inplace=False: made.relu6(),
    "leaky_relu": lambda negative_slope=0.01, inplace=False: made.as_leaky_relu(float(negative_slope)),
    "rrelu": lambda lower=1 / 8, upper=1 / 3, training=False, inplace=False: made.as_leaky_relu(
        (lower + upper) / 2),
    "elu": lambda alpha=1.0, inplace=False: (Function("elu", float(alpha)),),
    "selu": lambda inplace=False: made.selu(),
    "celu": lambda alpha=1.0, inplace=False: made.celu(float(alpha)),
    "sigmoid": _function("sigmoid"),
    "tanh": _function("tanh"),
    "silu": _function("silu"),
    "mish": _function("mish"),
    "hardsigmoid": _function("hardsigmoid"),
    "hardswish": _function("hardswish"),
    "gelu": _gelu,
    "softplus": _softplus,
    "logsigmoid": lambda: made.logsigmoid(),
    "log_sigmoid": lambda: made.logsigmoid(),
    "tanhshrink": lambda: made.tanhshrink(),
    "softshrink": lambda lambd=0.5: made.softshrink(float(lambd)),
    "threshold": _threshold,
    "hardtanh": _hardtanh,
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": lambda min: _clamp(min=min),
    "clamp_max": lambda max: _clamp(max=max),
    "abs": lambda: made.absolute(),
    "absolute": lambda: made.absolute(),
    "neg": lambda: made.negated(),
    "negative": lambda: made.negated(),
    "square": lambda: _pow(2),
    "pow": _pow,
    "dropout": _dropout,
    "alpha_dropout": lambda p=0.5, training=False, inplace=False: _dropout(p, training),
    "feature_alpha_dropout": lambda p=0.5, training=False, inplace=False: _dropout(p, training),
    "clone": _nothing,
    "detach": _nothing,
    "contiguous": _nothing,
    "cpu": _nothing,
    "cuda": _nothing,
    "float": _nothing,
    "double": _nothing,
    "pos": _nothing,
    "positive": _nothing,
}
