"""Reads an ONNX graph: products with constant matrices become layers, elementwise nodes become ops.

Nodes whose inputs are all constant are computed here, by ONNX's own reference implementation.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from mlpserve import graph as graphs
from mlpserve import ops as made
from mlpserve.block import Array, Function, Hardtanh, Ops
from mlpserve.errors import ExportError
from mlpserve.frontends.lowered import Lowered
from mlpserve.frontends.onnx_original import FLOATS, original

_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
_HINTS = {
    "Softmax": "leave it out (argmax stays the same) and apply it to the answer: it spans the columns of a row",
    "LogSoftmax": "leave it out and apply it to the answer: it spans the columns of a row",
    "LayerNormalization": "it takes statistics over the columns of a row; BatchNormalization can",
    "QuantizeLinear": "export the graph before it was quantized",
    "DynamicQuantizeLinear": "export the graph before it was quantized",
}


def _gelu(a: dict[str, Any]) -> Ops:
    return (Function("gelu_tanh" if a.get("approximate", "none") == "tanh" else "gelu"),)


# Nodes of one input that changes: attributes to ops.
_POINTWISE: dict[str, Callable[[dict[str, Any]], Ops]] = {
    "Identity": lambda a: (),
    "Dropout": lambda a: (),
    "Relu": lambda a: (Function("relu"),),
    "LeakyRelu": lambda a: made.as_leaky_relu(a.get("alpha", 0.01)),
    "Elu": lambda a: (Function("elu", a.get("alpha", 1.0)),),
    "Selu": lambda a: made.selu(a.get("alpha", 1.67326319217681884765625),
                                a.get("gamma", 1.05070102214813232421875)),
    "Celu": lambda a: made.celu(a.get("alpha", 1.0)),
    "Sigmoid": lambda a: (Function("sigmoid"),),
    "Tanh": lambda a: (Function("tanh"),),
    "Softplus": lambda a: (Function("softplus"),),
    "HardSigmoid": lambda a: made.hardsigmoid(a.get("alpha", 0.2), a.get("beta", 0.5)),
    "HardSwish": lambda a: (Function("hardswish"),),
    "Mish": lambda a: (Function("mish"),),
    "Swish": lambda a: made.swish(a.get("alpha", 1.0)),
    "Gelu": _gelu,
    "Erf": lambda a: (Function(made.ERF),),
    "Neg": lambda a: made.negated(),
    "Abs": lambda a: made.absolute(),
}


class _Reader:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._graph = graphs.Graph()
        self._results: dict[str, graphs.Value | Array] = {}
        self._opsets = {o.domain: o.version for o in model.opset_import}

    def read(self) -> Any:
        graph = self._model.graph
        for tensor in graph.initializer:
            self._results[tensor.name] = numpy_helper.to_array(tensor)
        if graph.sparse_initializer:
            raise ExportError(f"initializer '{graph.sparse_initializer[0].values.name}': expected it dense, found it "
                              "sparse")
        self._read_input(graph)
        for node in graph.node:
            where = f"node '{node.name or node.output[0]}' ({node.op_type})"
            try:
                result = self._node(node, where)
            except ExportError as error:
                text = str(error)
                raise (error if text.startswith(where) else ExportError(f"{where}: {text}")) from None
            self._results[node.output[0]] = result
        return self._graph.finish(self._output(graph))

    def _read_input(self, graph: onnx.GraphProto) -> None:
        inputs = [i for i in graph.input if i.name not in self._results]
        if len(inputs) != 1:
            raise ExportError(f"expected a graph of one input, found {len(inputs)}: {', '.join(i.name for i in inputs)}")
        kind = inputs[0].type.tensor_type
        if kind.elem_type not in FLOATS:
            raise ExportError(f"input '{inputs[0].name}': expected floats, found "
                              f"{helper.tensor_dtype_to_string(kind.elem_type)}")
        features = None
        if kind.HasField("shape") and len(kind.shape.dim) >= 2:
            sizes = [d.dim_value for d in kind.shape.dim[1:]]
            features = int(np.prod(sizes)) if all(s > 0 for s in sizes) else None
        self._results[inputs[0].name] = self._graph.input(features, f"input '{inputs[0].name}'")

    def _output(self, graph: onnx.GraphProto) -> graphs.Value:
        if len(graph.output) != 1:
            raise ExportError(f"expected a graph of one output, found {len(graph.output)}: "
                              f"{', '.join(o.name for o in graph.output)}")
        value = self._results.get(graph.output[0].name)
        if not isinstance(value, graphs.Value):
            raise ExportError(f"output '{graph.output[0].name}': expected it to depend on the input, found that it "
                              "does not")
        return value

    def _node(self, node: onnx.NodeProto, where: str) -> graphs.Value | Array:
        inputs = [self._results.get(name) if name else None for name in node.input]
        for name, found in zip(node.input, inputs):
            if name and found is None:
                raise ExportError(f"{where}: expected '{name}' to be made before it, found nothing of that name")
        changing = [i for i in inputs if isinstance(i, graphs.Value)]
        if not changing:
            return self._constant_node(node, inputs, where)
        attributes = {a.name: _attribute(a) for a in node.attribute}
        if node.domain not in _DOMAINS:
            raise graphs.refusal(where, f"the domain '{node.domain}'")
        x = inputs[0]
        if node.op_type in _POINTWISE and isinstance(x, graphs.Value):
            return self._graph.apply(x, _POINTWISE[node.op_type](attributes), where)
        read = getattr(self, f"_read_{node.op_type.lower()}", None)
        if read is None:
            raise graphs.refusal(where, "it", _HINTS.get(node.op_type, ""))
        result: graphs.Value | Array = read(node, inputs, attributes, where)
        return result

    def _constant_node(self, node: onnx.NodeProto, inputs: list[Any], where: str) -> Array:
        kept = onnx.NodeProto()
        kept.CopyFrom(node)
        names = [name for name in node.input if name]
        body = helper.make_graph(
            [kept], "constant",
            [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
             for n, a in zip(names, [i for i in inputs if i is not None])],
            [helper.make_empty_tensor_value_info(node.output[0])])
        model = helper.make_model(body, opset_imports=list(self._model.opset_import))
        feed = {n: a for n, a in zip(names, [i for i in inputs if i is not None])}
        try:
            result: Any = list(ReferenceEvaluator(model).run(None, feed))[0]
        except Exception as error:
            raise ExportError(f"{where}: its constant inputs cannot be computed: {error}") from error
        return np.asarray(result)

    # -- products

    def _read_gemm(self, node: onnx.NodeProto, inputs: list[Any], a: dict[str, Any], where: str) -> graphs.Value:
        x, b, c = inputs if len(inputs) == 3 else (*inputs, None)
        if not isinstance(x, graphs.Value) or isinstance(b, graphs.Value) or a.get("transA", 0):
            raise graphs.refusal(where, "a product other than the input's with a constant matrix")
        weight = self._constant(node.input[1], b if a.get("transB", 0) else b.T, where, not a.get("transB", 0))
        alpha, beta = a.get("alpha", 1.0), a.get("beta", 1.0)
        if alpha != 1:
            weight = self._graph.derived(weight, lambda v: alpha * v, "folded", where)
        if isinstance(c, graphs.Value):
            value = self._graph.linear(x, weight, None, where, self._layer(node))
            return self._graph.add(value, self._graph.scale(c, beta, where), where)
        bias = None if c is None or beta == 0 else self._constant(node.input[2], c, where)
        if bias is not None and beta != 1:
            bias = self._graph.derived(bias, lambda v: beta * v, "folded", where)
        return self._graph.linear(x, weight, bias, where, self._layer(node))

    def _read_matmul(self, node: onnx.NodeProto, inputs: list[Any], a: dict[str, Any], where: str) -> graphs.Value:
        x, b = inputs
        if not isinstance(x, graphs.Value) or isinstance(b, graphs.Value) or b.ndim != 2:
            raise graphs.refusal(where, "a product other than the input's with a constant matrix")
        return self._graph.linear(x, self._constant(node.input[1], b.T, where, True), None, where,
                                  self._layer(node))

    def _layer(self, node: onnx.NodeProto) -> str:
        return node.name or str(node.output[0])

    # -- arithmetic

    def _pair(self, node: onnx.NodeProto, inputs: list[Any], where: str) -> tuple[graphs.Value, float | graphs.Constant]:
        """The value and the constant of a node that has one of each."""
        index = 0 if isinstance(inputs[0], graphs.Value) else 1
        return inputs[index], self._number(node.input[1 - index], inputs[1 - index], where)

    def _read_add(self, node: onnx.NodeProto, inputs: list[Any], a: dict[str, Any], where: str) -> graphs.Value:
        if all(isinstance(i, graphs.Value) for i in inputs):
            return self._graph.add(inputs[0], inputs[1], where)
        return self._graph.add_constant(*self._pair(node, inputs, where), where)

    def _read_sum(self, node: onnx.NodeProto, inputs: list[Any], a: dict[str, Any], where: str) -> graphs.Value:
        if len(inputs) == 1:
            value: graphs.Value = inputs[0]
            return value
        if len(inputs) != 2:
            raise graphs.refusal(where, f"a sum of {len(inputs)}")
        return self._read_add(node, inputs, a, where)

    def _read_sub(self, node: onnx.NodeProto, inputs: list[Any], a: dict[str, Any], where: str) -> graphs.Value:
        left, right = inputs
        if isinstance(right, graphs.Value):
            negative = self._graph.scale(right, -1.0, where)
            return self._read_add(node, [left, negative], a, where)
        number = self._number(node.input[1], right, where)
        if isinstance(number, graphs.Constant):
            return self._graph.add_constant(left, self._graph.derived(number, lambda v: -v, "negated", where), where)
        return self._graph.add_constant(left, -number, where)

    def _read_mul(self, node: onnx.NodeProto, inputs: list[Any], a: dict[str, Any], where: str) -> graphs.Value:
        if all(isinstance(i, graphs.Value) for i in inputs):
            return self._graph.multiply(inputs[0], inputs[1], where)
        return self._graph.scale(*self._pair(node, inputs, where), where)

    def _read_div(self, node: onnx.NodeProto, inputs: list[Any], a: dict[str, Any], where: str) -> graphs.Value:
        left, right = inputs
        if isinstance(right, graphs.Value):
            raise graphs.refusal(where, "dividing by what depends on the input")
        number = self._number(node.input[1], right, where)
        if isinstance(number, graphs.Constant):
            return self._graph.scale(left, self._graph.derived(number, lambda v: 1 / v, "reciprocal", where), where)
        if number == 0:
            raise ExportError(f"{where}: expected a divisor other than 0")
        return self._graph.scale(left, 1 / number, where)

    def _read_pow(self, node: onnx.NodeProto, inputs: list[Any], a: dict[str, Any], where: str) -> graphs.Value:
        value, exponent = inputs
        ops = made.powered(float(exponent)) if isinstance(exponent, np.ndarray) and exponent.size == 1 else None
        if ops is None or not isinstance(value, graphs.Value):
            raise graphs.refusal(where, "a power other than z to 1, 2, 3 or 4")
        return self._graph.apply(value, ops, where)

    def _read_clip(self, node: onnx.NodeProto, inputs: list[Any], a: dict[str, Any], where: str) -> graphs.Value:
        low, high = (*inputs[1:], None, None)[:2]
        low = a.get("min") if low is None else _single(low, where)
        high = a.get("max") if high is None else _single(high, where)
        if low is not None and high is not None and low > high:
            raise ExportError(f"{where}: expected min <= max, found {low} and {high}")
        return self._graph.apply(inputs[0], (Hardtanh(low, high),), where)

    def _read_min(self, node: onnx.NodeProto, inputs: list[Any], a: dict[str, Any], where: str) -> graphs.Value:
        return self._bounded(inputs, "max", where)

    def _read_max(self, node: onnx.NodeProto, inputs: list[Any], a: dict[str, Any], where: str) -> graphs.Value:
        return self._bounded(inputs, "min", where)

    def _bounded(self, inputs: list[Any], field: str, where: str) -> graphs.Value:
        values = [i for i in inputs if isinstance(i, graphs.Value)]
        numbers = [i for i in inputs if not isinstance(i, graphs.Value)]
        if len(values) != 1 or len(numbers) != 1:
            raise graphs.refusal(where, "the larger or smaller of two tensors", "of a tensor and a number it can")
        return self._graph.apply(values[0], (Hardtanh(**{field: _single(numbers[0], where)}),), where)

    def _read_prelu(self, node: onnx.NodeProto, inputs: list[Any], a: dict[str, Any], where: str) -> graphs.Value:
        if not isinstance(inputs[0], graphs.Value) or isinstance(inputs[1], graphs.Value):
            raise graphs.refusal(where, "a slope that depends on the input")
        return self._graph.prelu(inputs[0], self._constant(node.input[1], inputs[1], where), where)

    def _read_batchnormalization(self, node: onnx.NodeProto, inputs: list[Any], a: dict[str, Any],
                                 where: str) -> graphs.Value:
        if a.get("training_mode", 0):
            raise ExportError(f"{where}: expected training_mode 0, found 1")
        x, *rest = inputs
        columns = [self._constant(name, i, where) for name, i in zip(node.input[1:], rest)]
        scale, bias, mean, variance = columns
        return self._graph.batch_norm(x, scale, bias, mean, variance, a.get("epsilon", 1e-5), where)

    def _read_scaler(self, node: onnx.NodeProto, inputs: list[Any], a: dict[str, Any], where: str) -> graphs.Value:
        """(x - offset) · scale, of ai.onnx.ml"""
        value: graphs.Value = inputs[0]
        name = node.name or node.output[0]
        offset, scale = (np.asarray(a.get(field, [otherwise]), np.float64)
                         for field, otherwise in (("offset", 0.0), ("scale", 1.0)))
        value = self._graph.add_constant(value, graphs.constant(f"{name}.offset", -offset, where), where)
        return self._graph.scale(value, graphs.constant(f"{name}.scale", scale, where), where)

    # -- shapes and types

    def _read_cast(self, node: onnx.NodeProto, inputs: list[Any], a: dict[str, Any], where: str) -> graphs.Value:
        if a["to"] not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
            raise graphs.refusal(where, f"rounding to {helper.tensor_dtype_to_string(a['to'])} on the way",
                                 "pass compute= for the whole block")
        value: graphs.Value = inputs[0]
        return value

    def _read_flatten(self, node: onnx.NodeProto, inputs: list[Any], a: dict[str, Any], where: str) -> graphs.Value:
        if a.get("axis", 1) not in (1, -1):
            raise graphs.refusal(where, "another shape than [rows, features]")
        value: graphs.Value = inputs[0]
        return value

    def _read_shape(self, node: onnx.NodeProto, inputs: list[Any], a: dict[str, Any], where: str) -> Array:
        """-1 stands for the rows, as in a Reshape, which is what shapes are read for."""
        features = inputs[0].features
        shape = np.array([-1, -1 if features is None else features], np.int64)
        return shape[a.get("start", 0):a.get("end", 2)]

    def _read_reshape(self, node: onnx.NodeProto, inputs: list[Any], a: dict[str, Any], where: str) -> graphs.Value:
        value, shape = inputs
        sizes = [int(s) for s in shape.reshape(-1)] if isinstance(shape, np.ndarray) else []
        if len(sizes) != 2 or sizes[0] not in (0, -1) or sizes[1] not in (-1, 0, value.features):
            raise graphs.refusal(where, "another shape than [rows, features]")
        found: graphs.Value = value
        return found

    # -- constants

    def _number(self, name: str, values: Any, where: str) -> float | graphs.Constant:
        if values.size == 1 and values.ndim <= 2:
            return float(values.reshape(-1)[0])
        return self._constant(name, values, where)

    def _constant(self, name: str, values: Any, where: str, transposed: bool = False) -> graphs.Constant:
        if isinstance(values, graphs.Value):
            raise graphs.refusal(where, f"'{name}', which depends on the input, in this place,")
        name = f"{name}.T" if transposed else name
        if values.dtype.name == "bfloat16":
            return graphs.bits16(name, np.ascontiguousarray(values).view(np.uint16), where)
        return graphs.constant(name, np.asarray(values), where)


def _single(values: Any, where: str) -> float:
    if isinstance(values, graphs.Value) or values.size != 1:
        raise graphs.refusal(where, "a bound that is not one number")
    return float(values.reshape(-1)[0])


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def lower(model: Any) -> Lowered:
    if isinstance(model, (str, os.PathLike)):
        path = pathlib.Path(model)
        try:
            model = onnx.load(path)
        except OSError as error:
            raise ExportError(f"{path}: cannot be read: {error.strerror or error}") from error
        except Exception as error:
            raise ExportError(f"{path}: expected an ONNX model: {error}") from error
    if not isinstance(model, onnx.ModelProto):
        raise ExportError(f"expected an onnx.ModelProto, found {type(model).__name__}")
    if not model.graph.node:
        raise ExportError("expected a graph with nodes, found none")
    return Lowered(_Reader(model).read(), original(model))
