"""Runs an ONNX graph in float64, by ONNX's own reference implementation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from mlpserve import functions
from mlpserve.block import Array, Function

FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE)


# What onnx's reference implementation computes in float32 or not at all.
class Gelu(OpRun):  # type: ignore[misc,unused-ignore]
    op_domain = ""

    def _run(self, x: Any, approximate: str | None = None) -> Any:
        name = "gelu_tanh" if (approximate or "none") == "tanh" else "gelu"
        return (functions.evaluate(Function(name), np.asarray(x)),)


class Erf(OpRun):  # type: ignore[misc,unused-ignore]
    op_domain = ""

    def _run(self, x: Any) -> Any:
        return (functions.erf(np.asarray(x, np.float64)),)


def original(model: onnx.ModelProto) -> Callable[[Array], Array]:
    doubled = _in_float64(model)
    replaced: Any = [Gelu, Erf]
    evaluator = ReferenceEvaluator(doubled, new_ops=replaced)
    names: set[str] = {i.name for i in doubled.graph.initializer}
    name: str = next(i.name for i in doubled.graph.input if i.name not in names)

    def run(x: Array) -> Array:
        with np.errstate(all="ignore"):
            answer: Any = list(evaluator.run(None, {name: x.astype(np.float64)}))[0]
        return np.asarray(answer, np.float64).reshape(x.shape[0], -1)

    return run


def _in_float64(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with every float constant in float64."""
    doubled = onnx.ModelProto()
    doubled.CopyFrom(model)
    for tensor in doubled.graph.initializer:
        if tensor.data_type in FLOATS:
            tensor.CopyFrom(numpy_helper.from_array(_float64(tensor), tensor.name))
    for node in doubled.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type in FLOATS:
                attribute.t.CopyFrom(numpy_helper.from_array(_float64(attribute.t)))
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i in FLOATS:
                attribute.i = onnx.TensorProto.DOUBLE
            if node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
                values = attribute.floats if attribute.name == "value_floats" else attribute.f
                tensor = numpy_helper.from_array(np.asarray(values, np.float64))
                attribute.CopyFrom(helper.make_attribute("value", tensor))
    for value in [*doubled.graph.input, *doubled.graph.output, *doubled.graph.value_info]:
        if value.type.tensor_type.elem_type in FLOATS:
            value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    return doubled


def _float64(tensor: onnx.TensorProto) -> Array:
    return numpy_helper.to_array(tensor).astype(np.float64)
