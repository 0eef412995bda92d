"""Reads a torch.nn.Module: its forward is traced, and each step becomes a layer or an op.

Whatever a forward computes without its input (transposed weights, products of constants) is computed
here and stored. Parameters and buffers keep their names in the state dict.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn
from torch.fx.node import map_arg
from torch.nn.parameter import is_lazy

from mlpserve import graph as graphs
from mlpserve.block import Hardtanh
from mlpserve.errors import ExportError
from mlpserve.frontends.lowered import Lowered
from mlpserve.frontends.torch_constants import Constants
from mlpserve.frontends.torch_functions import FUNCTIONS
from mlpserve.frontends.torch_modules import BATCH_NORMS, HINTS, POINTWISE, described, hint_for, kind_of
from mlpserve.frontends.torch_trace import evaluating, original, trace, unwrapped


class _Rows:
    """The number of rows, which is not known."""


class _Shape:
    def __init__(self, value: graphs.Value) -> None:
        self.value = value

    def at(self, index: int) -> Any:
        if index in (0, -2):
            return _Rows()
        return self.value.features if self.value.features is not None else _Features()


class _Features:
    """The number of the input's features, before anything says it."""


class _Reader:
    """Walks a traced graph; the results of its nodes are Values, constants, or plain Python."""

    def __init__(self, model: nn.Module, traced: fx.Graph) -> None:
        self._model = model
        self._nodes = traced.nodes
        self._graph = graphs.Graph()
        self._results: dict[fx.Node, Any] = {}
        self._constants = Constants(model)

    def read(self) -> graphs.Value:
        for node in self._nodes:
            where = self._where(node)
            try:
                self._results[node] = self._result(node, where)
            except ExportError as error:
                text = str(error)
                raise (error if text.startswith(where) else ExportError(f"{where}: {text}")) from None
            if node.op == "output":
                return self._output(node, where)
        raise ExportError("expected an output, found none")

    def finish(self, value: graphs.Value) -> Any:
        return self._graph.finish(value)

    def _output(self, node: fx.Node, where: str) -> graphs.Value:
        value = self._results[node]
        if isinstance(value, (tuple, list)) and len(value) == 1:
            value = value[0]
        if not isinstance(value, graphs.Value):
            found = f"{len(value)} of them" if isinstance(value, (tuple, list)) else type(value).__name__
            if isinstance(value, dict):
                found = f"a dict with {', '.join(map(str, value))}"
            raise ExportError(f"output: expected one tensor that depends on the input, found {found}")
        return value

    def _where(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return described(str(node.target), self._model.get_submodule(str(node.target)))
        stack = node.meta.get("nn_module_stack")
        within = ""
        if stack:
            path, kind = list(stack.values())[-1]
            within = f"{path} ({getattr(kind, '__name__', kind)}): " if path else ""
        return f"{within}{_function_name(node)}"

    # -- nodes

    def _result(self, node: fx.Node, where: str) -> Any:
        args = map_arg(node.args, lambda n: self._results[n])
        kwargs = map_arg(node.kwargs, lambda n: self._results[n])
        if node.op == "placeholder":
            return self._placeholder(node)
        if node.op == "get_attr":
            return _attribute(self._model, str(node.target))
        if node.op == "output":
            return args[0]
        name = _function_name(node)
        if not _holds_value((args, kwargs)):
            return self._computed(node, args, kwargs)
        if node.op == "call_module":
            module = self._model.get_submodule(str(node.target))
            return self._module(module, args, kwargs, str(node.target), where)
        return self._function(name, args, kwargs, where)

    def _placeholder(self, node: fx.Node) -> Any:
        if any(isinstance(v, graphs.Value) for v in self._results.values()):
            if node.args:
                return node.args[0]
            raise ExportError(f"input {node.target}: expected one input, found another")
        return self._graph.input(None, "the block's input")

    def _computed(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        """A step without the input is run as it is."""
        with torch.no_grad():
            if node.op == "call_module":
                result = self._model.get_submodule(str(node.target))(*args, **kwargs)
            elif node.op == "call_method":
                result = getattr(args[0], str(node.target))(*args[1:], **kwargs)
            else:
                assert callable(node.target)
                result = node.target(*args, **kwargs)
        if isinstance(result, torch.Tensor):
            self._constants.keep(result, _function_name(node), [a for a in args if isinstance(a, torch.Tensor)])
        return result

    # -- modules

    def _module(self, module: Any, args: Any, kwargs: Any, path: str, where: str) -> Any:
        kind = kind_of(module)
        x = args[0] if args else next(iter(kwargs.values()))
        if kind is None or not isinstance(x, graphs.Value) or len(args) + len(kwargs) != 1:
            raise graphs.refusal(f"{path} ({type(module).__name__})", "it", hint_for(module))
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if is_lazy(tensor):
                raise ExportError(f"{where}: expected numbers in {path}.{name}, found it uninitialized; run the "
                                  "model once")
        if kind is nn.Linear:
            return self._linear(x, module.weight, module.bias, where, path)
        if kind in BATCH_NORMS:
            return self._batch_norm(x, module.running_mean, module.running_var, module.weight, module.bias,
                                    module.training or module.running_mean is None, module.eps, where)
        if kind is nn.PReLU:
            return self._graph.prelu(x, self._constants.of(module.weight, where), where)
        return self._graph.apply(x, POINTWISE[kind](module), where)

    def _linear(self, x: Any, weight: Any, bias: Any, where: str, name: str = "") -> graphs.Value:
        if not isinstance(x, graphs.Value) or not isinstance(weight, torch.Tensor):
            raise graphs.refusal(where, "a product of two tensors that depend on the input")
        stored = self._constants.of(weight, where)
        fallback = stored.name.removesuffix(".weight")
        return self._graph.linear(x, stored, self._constants.optional(bias, where), where,
                                  name or fallback)

    def _batch_norm(self, x: graphs.Value, mean: Any, variance: Any, weight: Any, bias: Any,
                    training: bool, eps: float, where: str) -> graphs.Value:
        if training:
            mean = variance = None
        of = self._constants.optional
        return self._graph.batch_norm(x, of(weight, where), of(bias, where), of(mean, where), of(variance, where), eps,
                                      where)

    # -- functions and methods

    def _function(self, name: str, args: Any, kwargs: Any, where: str) -> Any:
        arithmetic = getattr(self, f"_do_{name}", None)
        try:
            if arithmetic is not None:
                return arithmetic(where, *args, **kwargs)
            if name in FUNCTIONS and isinstance(_first(args, kwargs), graphs.Value):
                x, rest, named = _split_first(args, kwargs)
                if not _holds_value((rest, named)):
                    return self._graph.apply(x, FUNCTIONS[name](*map(_plain, rest), **_plain_all(named)), where)
        except TypeError as error:
            raise graphs.refusal(where, f"this call ({error})") from None
        raise graphs.refusal(where, "it", HINTS.get(name, ""))

    def _do_linear(self, where: str, input: Any, weight: Any, bias: Any = None) -> Any:
        return self._linear(input, weight, bias, where)

    def _do_matmul(self, where: str, a: Any, b: Any) -> Any:
        if isinstance(b, torch.Tensor) and b.dim() == 2:
            return self._linear(a, self._constants.transposed(b), None, where)
        raise graphs.refusal(where, "a product other than the input's with a matrix")

    _do_mm = _do_matmul

    def _do_addmm(self, where: str, bias: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Any:
        if not isinstance(b, torch.Tensor) or beta != 1 or alpha != 1:
            raise graphs.refusal(where, "addmm other than bias + x · matrix")
        return self._linear(a, self._constants.transposed(b), bias, where)

    def _do_batch_norm(self, where: str, input: Any, running_mean: Any, running_var: Any, weight: Any = None,
                       bias: Any = None, training: bool = False, momentum: float = 0.1,
                       eps: float = 1e-5) -> Any:
        return self._batch_norm(input, running_mean, running_var, weight, bias, training, eps, where)

    def _do_add(self, where: str, a: Any, b: Any, alpha: float = 1) -> Any:
        if alpha != 1:
            b = self._do_mul(where, b, alpha) if isinstance(b, graphs.Value) else b * alpha
        if isinstance(a, graphs.Value) and isinstance(b, graphs.Value):
            return self._graph.add(a, b, where)
        value, other = (a, b) if isinstance(a, graphs.Value) else (b, a)
        return self._graph.add_constant(value, self._number(other, where), where)

    def _do_sub(self, where: str, a: Any, b: Any, alpha: float = 1) -> Any:
        if isinstance(b, graphs.Value):
            return self._do_add(where, self._graph.scale(b, -1.0 * alpha, where), a)
        number = self._number(b, where)
        if isinstance(number, graphs.Constant):
            return self._graph.add_constant(
                a, self._graph.derived(number, lambda v: -alpha * v, "negated", where), where)
        return self._graph.add_constant(a, -number * alpha, where)

    def _do_mul(self, where: str, a: Any, b: Any) -> Any:
        if isinstance(a, graphs.Value) and isinstance(b, graphs.Value):
            return self._graph.multiply(a, b, where)
        value, other = (a, b) if isinstance(a, graphs.Value) else (b, a)
        return self._graph.scale(value, self._number(other, where), where)

    _do_multiply = _do_mul

    def _do_div(self, where: str, a: Any, b: Any, rounding_mode: Any = None) -> Any:
        if isinstance(b, graphs.Value) or rounding_mode is not None:
            raise graphs.refusal(where, "dividing by what depends on the input")
        number = self._number(b, where)
        if isinstance(number, graphs.Constant):
            return self._graph.scale(
                a, self._graph.derived(number, lambda v: 1 / v, "reciprocal", where), where)
        if number == 0:
            raise ExportError(f"{where}: expected a divisor other than 0")
        return self._graph.scale(a, 1 / number, where)

    _do_truediv = _do_divide = _do_div

    def _bounded(self, where: str, a: Any, b: Any, field: str) -> Any:
        value, other = (a, b) if isinstance(a, graphs.Value) else (b, a)
        if isinstance(other, torch.Tensor) and other.numel() == 1:
            other = other.item()
        if not isinstance(other, (int, float)) or isinstance(other, bool):
            raise graphs.refusal(where, "the larger or smaller of two tensors", "of a tensor and a number it can")
        return self._graph.apply(value, (Hardtanh(**{field: float(other)}),), where)

    def _do_maximum(self, where: str, a: Any, b: Any) -> Any:
        return self._bounded(where, a, b, "min")

    def _do_minimum(self, where: str, a: Any, b: Any) -> Any:
        return self._bounded(where, a, b, "max")

    _do_max, _do_min = _do_maximum, _do_minimum

    def _do_prelu(self, where: str, x: Any, weight: Any) -> Any:
        return self._graph.prelu(x, self._constants.of(weight, where), where)

    # -- shapes

    def _do_getattr(self, where: str, x: Any, name: str) -> Any:
        if name == "shape" and isinstance(x, graphs.Value):
            return _Shape(x)
        if name in ("dtype", "device"):
            return name
        raise graphs.refusal(where, f"'.{name}'")

    def _do_size(self, where: str, x: graphs.Value, dim: int | None = None) -> Any:
        return _Shape(x) if dim is None else _Shape(x).at(dim)

    def _do_dim(self, where: str, x: Any) -> int:
        return 2

    def _do_getitem(self, where: str, x: Any, index: Any) -> Any:
        if isinstance(x, _Shape) and isinstance(index, int):
            return x.at(index)
        raise graphs.refusal(where, "taking a part of a tensor")

    def _do_view(self, where: str, x: Any, *shape: Any) -> Any:
        dims = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        if len(dims) == 2 and (isinstance(dims[0], _Rows) or dims[0] == -1):
            last = dims[1]
            if isinstance(last, _Features) or last in (-1, x.features):
                return x
            if x.features is None and isinstance(last, int):
                return graphs.Value(x.product, x.ops, last, x.where)
        raise graphs.refusal(where, "another shape than [rows, features]")

    _do_reshape = _do_view

    def _do_flatten(self, where: str, x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
        if start_dim != 1 or end_dim not in (-1, 1):
            raise graphs.refusal(where, "another shape than [rows, features]")
        return x

    def _do_squeeze(self, where: str, x: Any, dim: Any = None) -> Any:
        if dim in (1, -1) and x.features == 1:
            return x
        raise graphs.refusal(where, "another shape than [rows, features]", "squeeze(-1) of one column can")

    def _do_to(self, where: str, x: Any, *args: Any, **kwargs: Any) -> Any:
        for kind in (*args, *kwargs.values()):
            if isinstance(kind, torch.dtype) and kind not in (torch.float32, torch.float64):
                raise graphs.refusal(where, f"rounding to {kind} on the way", "pass compute= for the whole block")
        return x

    def _do__assert(self, where: str, *_: Any) -> None:
        return None

    # -- constants

    def _number(self, value: Any, where: str) -> float | graphs.Constant:
        if isinstance(value, bool) or not isinstance(value, (int, float, torch.Tensor)):
            raise graphs.refusal(where, f"arithmetic with {type(value).__name__}")
        if isinstance(value, torch.Tensor):
            return self._constants.of(value, where)
        return float(value)


def _attribute(model: nn.Module, path: str) -> Any:
    found: Any = model
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _function_name(node: fx.Node) -> str:
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    if node.op == "call_function" and name in ("iadd", "isub", "imul", "itruediv", "imatmul"):
        name = name[1:]
    return name if name.startswith("_") else name.rstrip("_")


def _holds_value(found: Any) -> bool:
    if isinstance(found, (tuple, list)):
        return any(_holds_value(f) for f in found)
    if isinstance(found, dict):
        return any(_holds_value(f) for f in found.values())
    return isinstance(found, (graphs.Value, _Shape, _Rows, _Features))


def _first(args: Any, kwargs: Any) -> Any:
    return args[0] if args else kwargs.get("input")


def _split_first(args: Any, kwargs: Any) -> tuple[Any, Any, dict[str, Any]]:
    if args:
        return args[0], args[1:], dict(kwargs)
    return kwargs["input"], (), {k: v for k, v in kwargs.items() if k != "input"}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else value


def _plain_all(named: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in named.items()}


def lower(model: Any, *, batch_statistics: bool = False) -> Lowered:
    if not isinstance(model, nn.Module):
        raise ExportError(f"expected a torch.nn.Module, found {type(model).__name__}"
                          + ("; build the module and load the state dict into it" if isinstance(model, dict) else ""))
    if isinstance(model, torch.jit.ScriptModule):
        raise ExportError(f"expected a torch.nn.Module, found TorchScript ({type(model).__name__}); export the "
                          "module that it was made of, or its ONNX graph")
    model = unwrapped(model)
    with evaluating(model, batch_statistics):
        reader = _Reader(model, trace(model))
        block = reader.finish(reader.read())
    return Lowered(block, original(model, batch_statistics))
