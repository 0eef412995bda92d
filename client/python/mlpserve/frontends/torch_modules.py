"""Reads a torch.nn.Module: its forward is traced (torch.fx), and each step becomes a layer or an op.

Whatever a forward computes without its input (transposed weights, products of constants) is computed
here and stored. Parameters and buffers keep their names in the state dict.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.fx.node import map_arg
from torch.nn.parameter import is_lazy

from mlpserve import graph as graphs
from mlpserve.block import Array, Function, Hardtanh, Ops
from mlpserve.errors import ExportError
from mlpserve.frontends.lowered import Lowered
from mlpserve.frontends.torch_functions import FUNCTIONS

_HINTS = {
    "Softmax": "leave it out (argmax stays the same) and apply it to the answer: it spans the columns of a row",
    "LogSoftmax": "leave it out and apply it to the answer: it spans the columns of a row",
    "softmax": "leave it out (argmax stays the same) and apply it to the answer: it spans the columns of a row",
    "log_softmax": "leave it out and apply it to the answer: it spans the columns of a row",
    "LayerNorm": "it takes statistics over the columns of a row; BatchNorm1d can",
    "RMSNorm": "it takes statistics over the columns of a row; BatchNorm1d can",
    "GroupNorm": "it takes statistics over the columns of a row; BatchNorm1d can",
    "layer_norm": "it takes statistics over the columns of a row; batch_norm can",
    "GLU": "it multiplies different columns of one product; z * sigmoid(z), SiLU, can",
    "glu": "it multiplies different columns of one product; z * sigmoid(z), silu, can",
    "Embedding": "look the ids up before and send the rows",
}


def _flat(module: Any) -> Ops:
    if module.start_dim != 1 or module.end_dim not in (-1, 1):
        raise ExportError(f"expected start_dim 1 and end_dim -1, found {module.start_dim} and {module.end_dim}")
    return ()


# Modules of one input whose forward is a function of each value; read from their attributes.
_POINTWISE: dict[type, Callable[[Any], Ops]] = {
    nn.Identity: lambda m: (),
    nn.Dropout: lambda m: (),
    nn.Dropout1d: lambda m: (),
    nn.AlphaDropout: lambda m: (),
    nn.FeatureAlphaDropout: lambda m: (),
    nn.Flatten: _flat,
    nn.ReLU: lambda m: (Function("relu"),),
    nn.ReLU6: lambda m: FUNCTIONS["relu6"](),
    nn.LeakyReLU: lambda m: FUNCTIONS["leaky_relu"](m.negative_slope),
    nn.RReLU: lambda m: FUNCTIONS["rrelu"](m.lower, m.upper),
    nn.ELU: lambda m: FUNCTIONS["elu"](m.alpha),
    nn.SELU: lambda m: FUNCTIONS["selu"](),
    nn.CELU: lambda m: FUNCTIONS["celu"](m.alpha),
    nn.Sigmoid: lambda m: (Function("sigmoid"),),
    nn.Tanh: lambda m: (Function("tanh"),),
    nn.SiLU: lambda m: (Function("silu"),),
    nn.Mish: lambda m: (Function("mish"),),
    nn.Hardsigmoid: lambda m: (Function("hardsigmoid"),),
    nn.Hardswish: lambda m: (Function("hardswish"),),
    nn.GELU: lambda m: FUNCTIONS["gelu"](m.approximate),
    nn.Softplus: lambda m: FUNCTIONS["softplus"](m.beta, m.threshold),
    nn.LogSigmoid: lambda m: FUNCTIONS["logsigmoid"](),
    nn.Tanhshrink: lambda m: FUNCTIONS["tanhshrink"](),
    nn.Softshrink: lambda m: FUNCTIONS["softshrink"](m.lambd),
    nn.Threshold: lambda m: FUNCTIONS["threshold"](m.threshold, m.value),
    nn.Hardtanh: lambda m: FUNCTIONS["hardtanh"](m.min_val, m.max_val),
}
_WHOLE: tuple[type, ...] = (nn.Linear, nn.BatchNorm1d, nn.PReLU)


def _kind_of(module: nn.Module) -> type | None:
    """The class whose forward the module runs, if it is one that is read as a whole."""
    for kind in (*_WHOLE, *_POINTWISE):
        own = getattr(type(module), "forward", None)
        if isinstance(module, kind) and own is getattr(kind, "forward", None):
            return kind
    return None


def _described(path: str, module: nn.Module) -> str:
    return f"{path or 'the model'} ({type(module).__name__})"


class _Tracer(fx.Tracer):  # type: ignore[misc,unused-ignore]
    """Goes into every module but those that are read as a whole, and PyTorch's own."""

    def __init__(self) -> None:
        super().__init__()
        self.path: list[tuple[str, nn.Module]] = []

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if _kind_of(m) is not None:
            return True
        return super().is_leaf_module(m, module_qualified_name) and not isinstance(m, nn.Sequential)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        self.path.append((self.path_of_module(m), m))
        result = super().call_module(m, forward, args, kwargs)
        self.path.pop()
        return result


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
        self._names: dict[Any, str] = {}
        self._made: dict[int, tuple[torch.Tensor, str]] = {}  # tensors computed here, kept alive
        named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
        for name, tensor in named:
            self._names.setdefault(_identity(tensor), name)

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
            found = f"{len(value)} of them" if isinstance(value, (tuple, list, dict)) else type(value).__name__
            raise ExportError(f"output: expected one tensor that depends on the input, found {found}")
        return value

    def _where(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return _described(str(node.target), self._model.get_submodule(str(node.target)))
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
            self._made[id(result)] = (result, self._derived_name(node, args))
        return result

    def _derived_name(self, node: fx.Node, args: Any) -> str:
        sources = [a for a in args if isinstance(a, torch.Tensor)]
        base = self._name(sources[0]) if sources else "constant"
        step = _function_name(node)
        if step in ("t", "transpose", "permute", "T", "mT", "getattr"):
            return _transposed_name(base)
        return f"{base}.{step}"

    def _name(self, tensor: torch.Tensor) -> str:
        if id(tensor) in self._made:
            return self._made[id(tensor)][1]
        return self._names.get(_identity(tensor), "constant")

    # -- modules

    def _module(self, module: Any, args: Any, kwargs: Any, path: str, where: str) -> Any:
        kind = _kind_of(module)
        x = args[0] if args else next(iter(kwargs.values()))
        if kind is None or not isinstance(x, graphs.Value) or len(args) + len(kwargs) != 1:
            name = type(module).__name__
            raise graphs.refusal(f"{path} ({name})", "it", _HINTS.get(name, ""))
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if is_lazy(tensor):
                raise ExportError(f"{where}: expected numbers in {path}.{name}, found it uninitialized; run the "
                                  "model once")
        if kind is nn.Linear:
            return self._linear(x, module.weight, module.bias, where, path)
        if kind is nn.BatchNorm1d:
            return self._batch_norm(x, module.running_mean, module.running_var, module.weight, module.bias,
                                    module.training or module.running_mean is None, module.eps, where)
        if kind is nn.PReLU:
            return self._graph.prelu(x, self._constant(module.weight, where), where)
        return self._graph.apply(x, _POINTWISE[kind](module), where)

    def _linear(self, x: Any, weight: Any, bias: Any, where: str, name: str = "") -> graphs.Value:
        if not isinstance(x, graphs.Value) or not isinstance(weight, torch.Tensor):
            raise graphs.refusal(where, "a product of two tensors that depend on the input")
        stored = self._constant(weight, where)
        fallback = stored.name.removesuffix(".weight")
        return self._graph.linear(x, stored, None if bias is None else self._constant(bias, where), where,
                                  name or fallback)

    def _batch_norm(self, x: graphs.Value, mean: Any, variance: Any, weight: Any, bias: Any,
                    training: bool, eps: float, where: str) -> graphs.Value:
        def column(tensor: Any) -> graphs.Constant | None:
            return None if tensor is None else self._constant(tensor, where)

        if training:
            mean = variance = None
        return self._graph.batch_norm(x, column(weight), column(bias), column(mean), column(variance), eps, where)

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
        raise graphs.refusal(where, "it", _HINTS.get(name, ""))

    def _do_linear(self, where: str, input: Any, weight: Any, bias: Any = None) -> Any:
        return self._linear(input, weight, bias, where)

    def _do_matmul(self, where: str, a: Any, b: Any) -> Any:
        if isinstance(b, torch.Tensor) and b.dim() == 2:
            return self._linear(a, self._transposed(b), None, where)
        raise graphs.refusal(where, "a product other than the input's with a matrix")

    _do_mm = _do_matmul

    def _do_addmm(self, where: str, bias: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Any:
        if not isinstance(b, torch.Tensor) or beta != 1 or alpha != 1:
            raise graphs.refusal(where, "addmm other than bias + x · matrix")
        return self._linear(a, self._transposed(b), bias, where)

    def _transposed(self, tensor: torch.Tensor) -> torch.Tensor:
        result = tensor.detach().t()
        if _identity(result) not in self._names:
            self._made[id(result)] = (result, _transposed_name(self._name(tensor)))
        return result

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
        return self._graph.prelu(x, self._constant(weight, where), where)

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
            return self._constant(value, where)
        return float(value)

    def _constant(self, tensor: torch.Tensor, where: str) -> graphs.Constant:
        if not isinstance(tensor, torch.Tensor):
            raise graphs.refusal(where, "a weight that depends on the input")
        name = self._name(tensor)
        plain = tensor.detach()
        if plain.device.type == "meta":
            raise ExportError(f"{where}: expected numbers in '{name}', found a meta tensor, which has none")
        if plain.is_quantized or plain.layout != torch.strided:
            raise ExportError(f"{where}: expected a dense tensor of floats in '{name}', found "
                              f"{plain.dtype}, {plain.layout}")
        plain = plain.cpu().contiguous()
        if plain.dtype == torch.bfloat16:
            return graphs.bits16(name, plain.view(torch.int16).numpy().view(np.uint16), where)
        return graphs.constant(name, plain.numpy(), where)


def _identity(tensor: torch.Tensor) -> Any:
    if is_lazy(tensor) or tensor.layout != torch.strided or tensor.device.type == "meta":
        return id(tensor)
    return (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device)


def _transposed_name(name: str) -> str:
    return name[:-2] if name.endswith(".T") else f"{name}.T"


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


@contextlib.contextmanager
def _evaluating(model: nn.Module, batch_statistics: bool) -> Iterator[None]:
    """As when serving, then as it was."""
    before = [(module, module.training) for module in model.modules()]
    try:
        for module in model.modules():
            module.training = batch_statistics and isinstance(module, nn.BatchNorm1d)
        yield
    finally:
        for module, training in before:
            module.training = training


def _unwrapped(model: Any) -> nn.Module:
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):  # torch.compile's
            model = model._orig_mod
        else:
            found: nn.Module = model
            return found


@contextlib.contextmanager
def _in_float64() -> Iterator[None]:
    """Tensors that a forward makes are then float64, as its parameters are."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _trace(model: nn.Module) -> fx.Graph:
    tracer = _Tracer()
    optional = {name: parameter.default for name, parameter in inspect.signature(model.forward).parameters.items()
                if parameter.default is not inspect.Parameter.empty}
    try:
        return tracer.trace(model, concrete_args=optional or None)
    except Exception as error:  # whatever a forward of someone else's raises when it is run on no numbers
        path, module = tracer.path[-1] if tracer.path else ("", model)
        reason = str(error).strip().splitlines()
        raise ExportError(f"{_described(path, module)}: its forward cannot be traced: "
                          f"{reason[0] if reason else type(error).__name__}; it may not branch on, or loop over, "
                          "its input") from error


def _original(model: nn.Module, batch_statistics: bool) -> Callable[[Array], Array]:
    def run(x: Array) -> Array:
        def double(tensor: torch.Tensor) -> torch.Tensor:
            plain = tensor.detach().cpu()
            return plain.double().clone() if plain.is_floating_point() else plain.clone()

        state = {name: double(t) for name, t in [*model.named_parameters(), *model.named_buffers()]}
        with _evaluating(model, batch_statistics), _in_float64(), torch.no_grad():
            result = torch.func.functional_call(model, state, (torch.from_numpy(x.astype(np.float64)),))
        if isinstance(result, (tuple, list)):
            result = result[0]
        found: Array = result.double().reshape(x.shape[0], -1).numpy()
        return found

    return run


def lower(model: Any, *, batch_statistics: bool = False) -> Lowered:
    if not isinstance(model, nn.Module):
        raise ExportError(f"expected a torch.nn.Module, found {type(model).__name__}"
                          + ("; build the module and load the state dict into it" if isinstance(model, dict) else ""))
    if isinstance(model, torch.jit.ScriptModule):
        raise ExportError(f"expected a torch.nn.Module, found TorchScript ({type(model).__name__}); export the "
                          "module that it was made of, or its ONNX graph")
    model = _unwrapped(model)
    with _evaluating(model, batch_statistics):
        reader = _Reader(model, _trace(model))
        block = reader.finish(reader.read())
    return Lowered(block, _original(model, batch_statistics))
