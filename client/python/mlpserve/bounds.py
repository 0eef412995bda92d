"""A block in float64, with a bound on how far FP32 arithmetic may end up from the original.

The rules are those of the server's own conformance suite (tests/goldens/README.md): a product adds
2^-22 · sqrt(K) of the sum of its terms' magnitudes, an op passes a bound on by its largest slope and
adds 2^-22 of its result, a store adds the format's unit roundoff. Added here: what rounding inputs,
weights and activations to the compute type takes away, since the original does not round. A value
that may overflow FP32 has bound infinity: nothing is claimed of it.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from mlpserve import functions
from mlpserve.block import (Add, AddInput, Array, BatchNorm, Block, Function, Gate, Hardtanh, Layer, Operand,
                            Ops, Residual, Scale, Tensor)

_PART = 1 << 22  # elements of a weight that are held in float64 at once
OP_ERROR = 2.0**-22
FP32_ROUNDING = 2.0**-24
SMALLEST = 2.0**-149
LARGEST = float(np.finfo(np.float32).max)

# Unit roundoff, half the smallest subnormal number, largest number.
FORMATS = {
    "FP32": (2.0**-24, 2.0**-150, LARGEST),
    "TF32": (2.0**-11, 2.0**-136, LARGEST),
    "FP16": (2.0**-11, 2.0**-25, 65504.0),
    "BF16": (2.0**-8, 2.0**-134, LARGEST),
}


@dataclasses.dataclass(frozen=True)
class Bounded:
    """Values [rows, columns] in float64, and for each how far the served one may be from it."""

    value: Array
    bound: Array


def _settled(value: Array, carried: Array, rounding: Array) -> Bounded:
    with np.errstate(invalid="ignore", over="ignore"):
        bound = carried + rounding + SMALLEST
        bound = np.where(np.isnan(bound) | (np.abs(value) + bound > LARGEST), np.inf, bound)
        # NaN and infinity come out exactly as long as what they came from was known.
        exact = ~np.isfinite(value) & np.isfinite(carried)
    return Bounded(value, np.where(exact, 0.0, bound))


def store(kind: str, z: Bounded) -> Bounded:
    """Rounded to a format and read back."""
    unit, step, largest = FORMATS[kind]
    magnitude = np.abs(z.value)
    bound = z.bound + unit * (magnitude + z.bound) + step
    over = np.isfinite(z.value) & (magnitude + z.bound > largest)
    return Bounded(z.value, np.where(over, np.inf, np.where(np.isfinite(z.value), bound, z.bound)))


def evaluate(block: Block, x: Array, compute: str = "FP32", output: str = "FP32") -> Bounded:
    """What the block makes of x [rows, features], with bounds on what is served."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        exact = Bounded(x.astype(np.float64), np.zeros(x.shape))
        stored = exact if compute in ("FP32", "TF32") else store(compute, exact)
        values = stored
        for index, layer in enumerate(block.layers):
            z = _product(block, layer, values, compute)
            z = _Epilogue(block, stored).apply(layer.epilogue, z)
            last = index + 1 == len(block.layers)
            kind = output if last else "FP32" if compute == "TF32" else compute
            values = store(kind, z)
        return values


def _product(block: Block, layer: Layer, x: Bounded, compute: str) -> Bounded:
    tensor = block.tensors[layer.weight]
    terms = tensor.shape[1]
    bias = block.tensors[layer.bias].float64() if layer.bias else np.zeros(tensor.shape[0])
    x_bound = x.bound + (FORMATS["TF32"][0] * np.abs(x.value) if compute == "TF32" else 0)
    value, magnitude, of_x = _products(tensor, x.value, x_bound)
    # What the weights lost: in the compute type, and where the original's had more bits than are stored.
    lost = 0.0 if compute == "FP32" else FORMATS[compute][0]
    lost += FP32_ROUNDING if layer.weight in block.rounded or layer.bias in block.rounded else 0.0
    smallest = FORMATS[compute][1] * np.abs(x.value).sum(axis=1, keepdims=True) if compute != "FP32" else 0.0
    carried = of_x * (1 + lost) + lost * (magnitude + np.abs(bias)) + smallest
    rounding = OP_ERROR * math.sqrt(terms) * (magnitude + np.abs(bias)) + terms * SMALLEST
    if compute == "BF16":
        rounding = rounding + terms * 2.0**-126
    return _settled(value + bias, carried, rounding)


def _products(weight: Tensor, x: Array, x_bound: Array) -> tuple[Array, Array, Array]:
    """x · Wᵀ, |x| · |W|ᵀ and x_bound · |W|ᵀ, by parts of W: in float64 a whole one may be large."""
    outputs, inputs = weight.shape
    found = [np.empty((x.shape[0], outputs)) for _ in range(3)]
    step = max(1, _PART // inputs)
    for first in range(0, outputs, step):
        at = slice(first, first + step)
        part = Tensor(weight.dtype, weight.array[at]).float64().T
        found[0][:, at] = x @ part
        np.abs(part, out=part)
        found[1][:, at] = np.abs(x) @ part
        found[2][:, at] = x_bound @ part
    return found[0], found[1], found[2]


class _Epilogue:
    def __init__(self, block: Block, x: Bounded) -> None:
        self._block = block
        self._input = x

    def apply(self, ops: Ops, z: Bounded) -> Bounded:
        for op in ops:
            if isinstance(op, Scale):
                z = self._multiply_add(z, self._column(op.by), np.zeros(()))
            elif isinstance(op, Add):
                z = self._multiply_add(z, np.ones(()), self._column(op.by))
            elif isinstance(op, Hardtanh):
                value = np.clip(z.value, op.min, op.max) if (op.min, op.max) != (None, None) else z.value
                z = _settled(value, z.bound, OP_ERROR * np.abs(value))
            elif isinstance(op, Function):
                value = functions.evaluate(op, z.value)
                z = _settled(value, functions.slope(op) * z.bound, OP_ERROR * np.abs(value))
            elif isinstance(op, Residual):
                z = _sum(z, self.apply(op.ops, z))
            elif isinstance(op, Gate):
                z = _times(z, self.apply(op.ops, z))
            elif isinstance(op, AddInput):
                z = _sum(z, self._input)
            else:
                z = self._batch_norm(op, z)
        return z

    def _column(self, by: Operand | None, otherwise: float = 0.0) -> Array:
        if by is None:
            return np.asarray(otherwise)
        return self._block.tensors[by].float64() if isinstance(by, str) else np.asarray(by)

    def _multiply_add(self, z: Bounded, scale: Array, shift: Array) -> Bounded:
        product = z.value * scale
        value = product + shift
        # A number that the original holds in more bits is off by FP32_ROUNDING of itself.
        lost = FP32_ROUNDING * (np.abs(product) + np.abs(shift))
        rounding = OP_ERROR * (np.abs(value) + np.where(shift == 0, 0.0, np.abs(product))) + lost
        return _settled(value, np.abs(scale) * z.bound, rounding)

    def _batch_norm(self, op: BatchNorm, z: Bounded) -> Bounded:
        weight, bias = self._column(op.weight, 1.0), self._column(op.bias)
        if op.uses_batch:
            return _normalized(z, weight, bias, op.eps)
        deviation = np.sqrt(self._column(op.running_var) + op.eps)
        z = self._multiply_add(z, np.ones(()), -self._column(op.running_mean))
        z = self._multiply_add(z, 1 / deviation, np.zeros(()))
        return self._multiply_add(z, weight, bias)


def _sum(a: Bounded, b: Bounded) -> Bounded:
    value = a.value + b.value
    return _settled(value, a.bound + b.bound, OP_ERROR * np.abs(value))


def _times(a: Bounded, b: Bounded) -> Bounded:
    value = a.value * b.value
    carried = np.abs(a.value) * b.bound + np.abs(b.value) * a.bound + a.bound * b.bound
    return _settled(value, carried, OP_ERROR * np.abs(value))


def _normalized(z: Bounded, weight: Array, bias: Array, eps: float) -> Bounded:
    """By the rows' own mean and variance, each of which has an error of its own."""
    mean = z.value.mean(axis=0)
    centred = z.value - mean
    variance = (centred**2).mean(axis=0)
    mean_bound = SMALLEST + (z.bound + OP_ERROR * np.abs(z.value)).mean(axis=0)
    error = z.bound + mean_bound + OP_ERROR * np.abs(centred)
    variance_bound = OP_ERROR * variance + (2 * np.abs(centred) * error + error**2).mean(axis=0)
    inverse = 1 / np.sqrt(variance + eps)
    largest = 1 / np.sqrt(np.maximum(0.0, variance - variance_bound) + eps)
    smallest = 1 / np.sqrt(variance + variance_bound + eps)
    inverse_bound = np.maximum(largest - inverse, inverse - smallest)
    scaled = centred * inverse * weight
    value = scaled + bias
    carried = np.abs(weight) * (np.abs(centred) * inverse_bound + (z.bound + mean_bound) * largest)
    return _settled(value, carried, OP_ERROR * (2 * np.abs(scaled) + np.abs(value)))


@dataclasses.dataclass(frozen=True)
class Worst:
    """The value that is furthest out for its bound."""

    row: int
    column: int
    expected: float
    actual: float
    bound: float
    ratio: float  # |actual - expected| / bound

    @property
    def ok(self) -> bool:
        return self.ratio <= 1

    def __str__(self) -> str:
        return (f"worst at row {self.row}, column {self.column}: expected {self.expected:.9g}, found "
                f"{self.actual:.9g}, bound {self.bound:.3g} ({self.ratio:.3g} of it)")


def find_worst(expected: Array, bound: Array, actual: Array) -> Worst:
    """All [rows, columns], of one shape."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.abs(actual - expected) / bound
    ratio = np.where(np.isinf(bound), 0.0, ratio)
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    ratio = np.where(same, 0.0, np.where(np.isnan(ratio), np.inf, ratio))
    row, column = (int(i) for i in np.unravel_index(int(np.argmax(ratio)), ratio.shape))
    return Worst(row, column, float(expected[row, column]), float(actual[row, column]),
                 float(bound[row, column]), float(ratio[row, column]))
