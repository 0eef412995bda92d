"""A block as data: what model.json says and the tensors that it names.

Layers are y = epilogue(x · Wᵀ + bias); proto/mlp_model.proto in the server's repository documents
the file. An op that takes a number for each column names a tensor; otherwise it holds the number.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, Union

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Dtype = Literal["F32", "F16", "BF16"]
Operand = Union[float, str]  # a number, or the name of a tensor [N] or [1]

MAX_DEPTH = 16  # of ops inside ops, as the server allows


@dataclasses.dataclass(frozen=True)
class Tensor:
    """Numbers as they are stored. BF16, which numpy lacks, is held as its bits in uint16."""

    dtype: Dtype
    array: Array  # of float32, float16 or uint16

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    def float64(self) -> Array:
        if self.dtype == "BF16":
            return (self.array.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        return self.array.astype(np.float64)


@dataclasses.dataclass(frozen=True)
class Scale:
    """z · by"""

    by: Operand


@dataclasses.dataclass(frozen=True)
class Add:
    """z + by"""

    by: Operand


@dataclasses.dataclass(frozen=True)
class Hardtanh:
    """min(max(z, min), max); None does not bound"""

    min: float | None = None
    max: float | None = None


@dataclasses.dataclass(frozen=True)
class Function:
    """A function of z alone; `functions.py` has the table of names."""

    name: str
    parameter: float | None = None


@dataclasses.dataclass(frozen=True)
class Residual:
    """z + ops(z)"""

    ops: Ops


@dataclasses.dataclass(frozen=True)
class Gate:
    """z · ops(z)"""

    ops: Ops


@dataclasses.dataclass(frozen=True)
class AddInput:
    """z + x of the block"""


@dataclasses.dataclass(frozen=True)
class BatchNorm:
    """(z - mean) / sqrt(variance + eps) · weight + bias; without running tensors: over a request's rows"""

    weight: str | None
    bias: str | None
    running_mean: str | None
    running_var: str | None
    eps: float

    @property
    def uses_batch(self) -> bool:
        return self.running_mean is None


Op = Union[Scale, Add, Hardtanh, Function, Residual, Gate, AddInput, BatchNorm]
Ops = tuple[Op, ...]


@dataclasses.dataclass(frozen=True)
class Layer:
    name: str
    weight: str  # tensor [N, K]
    bias: str | None  # tensor [N]
    epilogue: Ops
    where: str = ""  # in the original, for messages


@dataclasses.dataclass(frozen=True)
class Block:
    layers: tuple[Layer, ...]
    tensors: dict[str, Tensor]
    # Tensors whose numbers the original has in more bits than are stored.
    rounded: frozenset[str] = frozenset()

    @property
    def input_features(self) -> int:
        return self.tensors[self.layers[0].weight].shape[1]

    @property
    def output_features(self) -> int:
        return self.tensors[self.layers[-1].weight].shape[0]


def uses_batch_statistics(ops: Ops) -> bool:
    return any(isinstance(op, BatchNorm) and op.uses_batch for op in flattened(ops))


def flattened(ops: Ops) -> list[Op]:
    """Every op at any depth."""
    found: list[Op] = []
    for op in ops:
        found.append(op)
        if isinstance(op, (Residual, Gate)):
            found.extend(flattened(op.ops))
    return found


def depth(ops: Ops) -> int:
    nested = [depth(op.ops) + 1 for op in ops if isinstance(op, (Residual, Gate))]
    return max(nested, default=0)


def operands(op: Op) -> list[str]:
    """The tensors that an op itself names."""
    if isinstance(op, (Scale, Add)):
        return [op.by] if isinstance(op.by, str) else []
    if isinstance(op, BatchNorm):
        return [t for t in (op.weight, op.bias, op.running_mean, op.running_var) if t is not None]
    return []


def tensors_of(layer: Layer) -> list[str]:
    named = [layer.weight] + ([layer.bias] if layer.bias else [])
    for op in flattened(layer.epilogue):
        named.extend(operands(op))
    return list(dict.fromkeys(named))
