"""From a graph of linear layers and elementwise arithmetic to a block.

A front end walks its model and calls a Graph for what it meets. A Value stands for a tensor of the
model: the input of the block or the product of one linear layer, and the ops applied to it since.
Two values that come from the same product meet again as a residual or a gate of what differs; two
that come from different products can not, but for the block's own input, which may be added.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from mlpserve import ops as made
from mlpserve.block import (MAX_DEPTH, Add, AddInput, Array, BatchNorm, Block, Function, Gate, Hardtanh, Layer,
                            Op, Operand, Ops, Residual, Scale, Tensor, depth, flattened,
                            tensors_of, uses_batch_statistics)
from mlpserve.errors import ExportError

CAN = ("linear layers in a chain; after each: scale, add, batch norm, relu, leaky_relu, elu, gelu, sigmoid, "
       "tanh, silu, mish, softplus, hardtanh, hardsigmoid, hardswish and what these make; z + f(z), z * f(z) "
       "with f made of the same; adding the block's own input")


def refusal(where: str, what: str, hint: str = "") -> ExportError:
    tail = f"; {hint}" if hint else f"; a block can hold {CAN}"
    return ExportError(f"{where}: {what} cannot be expressed{tail}")


@dataclasses.dataclass(frozen=True)
class Constant:
    """Numbers that do not depend on the input, and what they are called in the original."""

    name: str
    tensor: Tensor
    rounded: bool = False  # the original has more bits than the tensor
    exact: Array | None = None  # then, the original

    def float64(self) -> Array:
        """For computing with it: what is made of several constants is rounded once, when it is stored."""
        return self.tensor.float64() if self.exact is None else self.exact.astype(np.float64)


def constant(name: str, values: Array, where: str) -> Constant:
    """Numbers of any real type, kept as they are if blocks can store that type, as float32 otherwise."""
    if values.dtype == np.float16:
        return _checked(Constant(name, Tensor("F16", np.ascontiguousarray(values))), values, where)
    if values.dtype.kind not in "fiub":
        raise ExportError(f"{where}: expected real numbers in '{name}', found {values.dtype}")
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(values, dtype=np.float32)
    rounded = values.dtype != np.float32 and not np.array_equal(stored, values)
    return _checked(Constant(name, Tensor("F32", stored), rounded, values if rounded else None), values, where)


def bits16(name: str, bits: Array, where: str) -> Constant:
    """BF16 numbers from their bits in uint16."""
    tensor = Tensor("BF16", np.ascontiguousarray(bits))
    return _checked(Constant(name, tensor), tensor.float64(), where)


def _checked(made_constant: Constant, values: Array, where: str) -> Constant:
    stored = made_constant.tensor.float64()
    if not np.isfinite(stored).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(stored))[0])
        found = values[at] if at else values[()]
        raise ExportError(f"{where}: expected finite numbers in the range of FP32 in "
                          f"'{made_constant.name}', found {found} at {list(at)}")
    return made_constant


@dataclasses.dataclass(frozen=True, eq=False)
class Product:
    """A linear layer without its epilogue."""

    name: str
    weight: str
    bias: str | None
    source: Value
    where: str


@dataclasses.dataclass(frozen=True)
class Value:
    """A tensor [rows, features] of the model."""

    product: Product | None  # None: the block's input
    ops: Ops
    features: int | None  # None: not known yet
    where: str  # what made it


@dataclasses.dataclass(frozen=True)
class Affine:
    """z · scale + shift, each a number or one for each column, in float64."""

    scale: Array
    shift: Array


class Graph:
    def __init__(self) -> None:
        self._tensors: dict[str, Tensor] = {}
        self._exact: dict[str, Array] = {}
        self._rounded: set[str] = set()
        self._layer_names: set[str] = set()
        self.input_features: int | None = None

    # -- values

    def input(self, features: int | None, where: str) -> Value:
        self.input_features = features
        return Value(None, (), features, where)

    def apply(self, value: Value, ops: Ops, where: str) -> Value:
        return dataclasses.replace(value, ops=value.ops + ops, where=where)

    def linear(self, value: Value, weight: Constant, bias: Constant | None, where: str,
               name: str = "") -> Value:
        """value · weightᵀ + bias, weight [N, K], bias [N] or [1]."""
        if len(weight.tensor.shape) != 2:
            raise ExportError(f"{where}: expected a weight [outputs, inputs], "
                              f"found {list(weight.tensor.shape)}")
        outputs, inputs = weight.tensor.shape
        if value.features not in (None, inputs):
            raise ExportError(f"{where}: expected {value.features} inputs, as {value.where} makes, "
                              f"found a weight {list(weight.tensor.shape)}")
        if value.product is None:
            self.input_features = inputs
            if value.ops:
                weight, bias = self._fold(value, weight, bias, where)
                value = Value(None, (), inputs, value.where)
        product = Product(self._layer_name(name or where), self._keep(weight),
                          self._keep(_vector(bias, outputs, where)) if bias else None, value, where)
        return Value(product, (), outputs, where)

    def scale(self, value: Value, by: float | Constant, where: str) -> Value:
        value = _sized(value, by)
        return self.apply(value, (Scale(self._operand(by, value, where)),), where)

    def add_constant(self, value: Value, by: float | Constant, where: str) -> Value:
        value = _sized(value, by)
        return self.apply(value, (Add(self._operand(by, value, where)),), where)

    def batch_norm(self, value: Value, weight: Constant | None, bias: Constant | None,
                   mean: Constant | None, variance: Constant | None, eps: float, where: str) -> Value:
        value = _sized(value, weight, bias, mean, variance)

        def column(by: Constant | None) -> str | None:
            return None if by is None else self._column(by, value, where)

        if variance is not None and (variance.float64() + eps <= 0).any():
            raise ExportError(f"{where}: expected variance + eps above 0 in '{variance.name}', found "
                              f"{(variance.float64() + eps).min():g}")
        op = BatchNorm(column(weight), column(bias), column(mean), column(variance), eps)
        return self.apply(value, (op,), where)

    def prelu(self, value: Value, slope: Constant, where: str) -> Value:
        """max(z, 0) + slope · min(z, 0)"""
        values = slope.float64().reshape(-1)
        if values.size == 1:
            return self.apply(value, made.as_leaky_relu(float(values[0])), where)
        less_one = self.derived(slope, lambda v: v - 1, "less_one", where)
        by = self._column(less_one, value, where)
        return self.apply(value, (Residual((Hardtanh(max=0.0), Scale(by))),), where)

    def derived(self, source: Constant, change: Callable[[Array], Array], suffix: str,
                where: str) -> Constant:
        """Other numbers made of a constant's, in float64, under a name that says so."""
        result = constant(f"{source.name}.{suffix}", change(source.float64()), where)
        return dataclasses.replace(result, rounded=result.rounded or source.rounded)

    # -- two values

    def add(self, a: Value, b: Value, where: str) -> Value:
        if a.product is b.product:
            return self._meet(a, b, where, self._sum)
        if b.product is None:
            return self._add_input(a, b, where)
        if a.product is None:
            return self._add_input(b, a, where)
        raise self._different(a, b, "the sum", where)

    def multiply(self, a: Value, b: Value, where: str) -> Value:
        if a.product is b.product:
            return self._meet(a, b, where, self._times)
        raise self._different(a, b, "the product", where)

    def _different(self, a: Value, b: Value, what: str, where: str) -> ExportError:
        return refusal(where, f"{what} of {a.where} and {b.where}, which do not come from the same linear layer,",
                       "a block can hold z + f(z) and z * f(z) after one linear layer, and can add its own input")

    def _meet(self, a: Value, b: Value, where: str, join: Callable[[Ops, Ops], Ops | None]) -> Value:
        shared = 0
        while shared < min(len(a.ops), len(b.ops)) and a.ops[shared] == b.ops[shared]:
            shared += 1
        rest = sorted((a.ops[shared:], b.ops[shared:]), key=bool)  # z itself, if it is one of them, first
        joined = join(rest[0], rest[1]) or join(rest[1], rest[0])
        if joined is None:
            both = " and ".join(made.describe(v.ops[shared]) for v in (a, b))
            raise refusal(where, f"f(z) with g(z), of which neither is z itself ({both}),")
        return Value(a.product, a.ops[:shared] + joined, a.features, where)

    def _sum(self, a: Ops, b: Ops) -> Ops | None:
        """a(z) + b(z) where a is affine."""
        if not a and not b:
            return (Scale(2.0),)
        if not a:
            return (Residual(b),)
        affine = self._affine(a)
        if affine is None or (affine.scale == 0).any():
            return None
        inner = b if (affine.scale == 1).all() else (*b, Scale(self._number(1 / affine.scale)))
        if not inner:
            inner = (Scale(1.0),)
        return (Residual(inner), *self._affine_ops(affine))

    def _times(self, a: Ops, b: Ops) -> Ops | None:
        """a(z) · b(z) where a is a scale."""
        if not a:
            return (Gate(b or (Scale(1.0),)),)
        affine = self._affine(a)
        if affine is None or affine.shift.any():
            return None
        return (Gate(b or (Scale(1.0),)), Scale(self._number(affine.scale)))

    def _add_input(self, value: Value, x: Value, where: str) -> Value:
        """value + (x · scale + shift) = (value / scale + x) · scale + shift"""
        affine = self._affine(x.ops)
        if affine is None or (affine.scale == 0).any():
            raise refusal(where, f"adding {x.where}, which is more than the block's input scaled and shifted,")
        if self.input_features not in (None, value.features):
            raise refusal(where, f"adding the block's input of {self.input_features} features to the "
                          f"{value.features} of {value.where}", "both need the same number")
        before: Ops = () if (affine.scale == 1).all() else (Scale(self._number(1 / affine.scale)),)
        return self.apply(value, (*before, AddInput(), *self._affine_ops(affine)), where)

    # -- affine ops

    def _affine(self, ops: Ops) -> Affine | None:
        scale, shift = np.ones(()), np.zeros(())
        for op in ops:
            if isinstance(op, Scale):
                by = self._values(op.by)
                scale, shift = scale * by, shift * by
            elif isinstance(op, Add):
                shift = shift + self._values(op.by)
            elif isinstance(op, BatchNorm) and not op.uses_batch:
                by = self._values_or(op.weight, 1.0) / np.sqrt(self._values_or(op.running_var, 1.0) + op.eps)
                moved = shift - self._values_or(op.running_mean, 0.0)
                scale, shift = scale * by, moved * by + self._values_or(op.bias, 0.0)
            else:
                return None
        return Affine(scale, shift)

    def _affine_ops(self, affine: Affine) -> Ops:
        done: list[Op] = []
        if (affine.scale != 1).any():
            done.append(Scale(self._number(affine.scale)))
        if affine.shift.any():
            done.append(Add(self._number(affine.shift)))
        return tuple(done)

    def _values(self, operand: Operand) -> Array:
        if not isinstance(operand, str):
            return np.asarray(operand)
        exact = self._exact.get(operand)
        return self._tensors[operand].float64() if exact is None else exact.astype(np.float64)

    def _values_or(self, tensor: str | None, otherwise: float) -> Array:
        return np.asarray(otherwise) if tensor is None else self._values(tensor)

    def _number(self, values: Array) -> Operand:
        """An operand for numbers made here."""
        flat = np.asarray(values, dtype=np.float64).reshape(-1)
        if flat.size == 1 or (flat == flat[0]).all():
            return float(flat[0])
        name = f"folded.{len(self._tensors)}"
        return self._keep(constant(name, flat, name))

    def _fold(self, x: Value, weight: Constant, bias: Constant | None,
              where: str) -> tuple[Constant, Constant]:
        """(x · s + t) · Wᵀ + b = x · (W · s)ᵀ + (b + W · t)"""
        affine = self._affine(x.ops)
        if affine is None:
            at = next(made.describe(op) for op in x.ops if self._affine((op,)) is None)
            raise refusal(x.where, f"{at} before the first linear layer",
                          "what precedes it may only scale and shift each column")
        w = weight.float64()
        for numbers in (affine.scale, affine.shift):
            if numbers.size not in (1, w.shape[1]):
                raise ExportError(f"{where}: expected {w.shape[1]} numbers for the input's columns in "
                                  f"{x.where}, found {numbers.size}")
        shift = np.broadcast_to(affine.shift.reshape(-1), (w.shape[1],))
        base = np.zeros(w.shape[0]) if bias is None else bias.float64()
        bias_name = bias.name if bias else f"{weight.name}.bias"
        folded = constant(f"{weight.name}.folded", w * affine.scale.reshape(1, -1), where)
        moved = constant(f"{bias_name}.folded", base + w @ shift, where)
        return dataclasses.replace(folded, rounded=True), dataclasses.replace(moved, rounded=True)

    # -- tensors and names

    def _operand(self, by: float | Constant, value: Value, where: str) -> Operand:
        if isinstance(by, Constant):
            return self._column(by, value, where)
        if not np.isfinite(np.float32(by)):
            raise ExportError(f"{where}: expected a finite number in the range of FP32, found {by}")
        return float(by)

    def _column(self, by: Constant, value: Value, where: str) -> str:
        shape = by.tensor.shape
        size = int(np.prod(shape))
        if size not in (1, value.features) or (len(shape) > 1 and size not in (1, shape[-1])):
            wanted = "N" if value.features is None else value.features
            raise ExportError(f"{where}: expected one number or one for each column [{wanted}] in "
                              f"'{by.name}', found {list(shape)}")
        flat = dataclasses.replace(by.tensor, array=by.tensor.array.reshape(-1))
        exact = None if by.exact is None else by.float64().reshape(-1)
        return self._keep(dataclasses.replace(by, tensor=flat, exact=exact))

    def _keep(self, kept: Constant) -> str:
        name, number = kept.name, 2
        while name in self._tensors and not _same(self._tensors[name], kept.tensor):
            name, number = f"{kept.name}#{number}", number + 1
        self._tensors[name] = kept.tensor
        if kept.rounded:
            self._rounded.add(name)
        if kept.exact is not None:
            self._exact.setdefault(name, kept.exact)
        return name

    def _layer_name(self, wanted: str) -> str:
        name, number = wanted, 2
        while name in self._layer_names:
            name, number = f"{wanted}#{number}", number + 1
        self._layer_names.add(name)
        return name

    # -- the block

    def finish(self, output: Value) -> Block:
        layers: list[Layer] = []
        value = output
        while value.product is not None:
            product = value.product
            layers.append(Layer(product.name, product.weight, product.bias, made.fused(value.ops),
                                product.where))
            value = product.source
        if not layers:
            raise ExportError(f"{output.where}: expected at least one linear layer between input and "
                              "output, found none")
        layers.reverse()
        for layer in layers:
            _check_epilogue(layer)
        used = dict.fromkeys(name for layer in layers for name in tensors_of(layer))
        return Block(tuple(layers), {name: self._tensors[name] for name in used},
                     frozenset(self._rounded & used.keys()))


def _sized(value: Value, *columns: float | Constant | None) -> Value:
    """The value with its features, which numbers for each column tell where nothing else has."""
    for column in columns:
        if value.features is None and isinstance(column, Constant) and column.tensor.array.size > 1:
            value = dataclasses.replace(value, features=int(column.tensor.array.size))
    return value


def _vector(bias: Constant, outputs: int, where: str) -> Constant:
    size = int(np.prod(bias.tensor.shape))
    if size not in (1, outputs):
        raise ExportError(f"{where}: expected a bias [{outputs}], found {list(bias.tensor.shape)} in "
                          f"'{bias.name}'")
    array = bias.tensor.array.reshape(-1)
    spread = array if size == outputs else np.repeat(array, outputs)
    return dataclasses.replace(bias, tensor=dataclasses.replace(bias.tensor, array=spread))


def _same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and (a.array is b.array or np.array_equal(a.array, b.array))


def _check_epilogue(layer: Layer) -> None:
    for op in flattened(layer.epilogue):
        if isinstance(op, Function) and op.name == made.ERF:
            raise refusal(layer.where, "erf outside of GELU")
        if isinstance(op, (Residual, Gate)) and uses_batch_statistics(op.ops):
            raise refusal(layer.where, "batch statistics inside a residual or a gate",
                          "outside they can, and stored statistics can anywhere")
    if depth(layer.epilogue) > MAX_DEPTH:
        raise refusal(layer.where, f"ops {depth(layer.epilogue)} deep in one another",
                      f"they may be {MAX_DEPTH} deep")


__all__ = ["CAN", "Constant", "Graph", "Value", "bits16", "constant", "refusal"]
