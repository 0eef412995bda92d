"""ONNX graphs as different exporters write them."""

import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MODELS = {}


def model(made):
    MODELS[made.__name__] = made
    return made


def make(name):
    return MODELS[name]()


class Builder:
    """Numbers its nodes; names its initializers as PyTorch's exporter does."""

    def __init__(self, features, seed, shape=None, dtype=np.float32):
        self.random = np.random.default_rng(seed)
        self.dtype = dtype
        self.nodes, self.initializers = [], []
        self.input_shape = shape or ["rows", features]

    def constant(self, name, *shape, values=None):
        array = self.random.standard_normal(shape) / max(1, math.sqrt(shape[-1] if shape else 1)) if values is None else values
        self.initializers.append(numpy_helper.from_array(np.asarray(array, self.dtype), name))
        return name

    def number(self, value):
        return self.constant(f"number{len(self.initializers)}", values=value)

    def node(self, kind, *inputs, outputs=1, **attributes):
        name = f"{kind}_{len(self.nodes)}"
        made = [f"{name}_out{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, made, name=name, **attributes))
        return made[0]

    def gemm(self, x, inputs, outputs, **attributes):
        index = len(self.nodes)
        weight = self.constant(f"net.{index}.weight", outputs, inputs)
        return self.node("Gemm", x, weight, self.constant(f"net.{index}.bias", outputs), transB=1, **attributes)

    def done(self, output, features, opset=17):
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        graph = helper.make_graph(
            self.nodes, "graph", [helper.make_tensor_value_info("x", kind, self.input_shape)],
            [helper.make_tensor_value_info(output, kind, ["rows", features])], self.initializers)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset),
                                                       helper.make_opsetid("ai.onnx.ml", 3)])
        onnx.checker.check_model(made)
        return made


@model
def gemm_relu_gemm():
    b = Builder(20, 1)
    return b.done(b.gemm(b.node("Relu", b.gemm("x", 20, 50)), 50, 3), 3)


@model
def matmul_add_behind_a_scaler():
    """As tf2onnx and skl2onnx write layers."""
    b = Builder(6, 2)
    z = b.node("Div", b.node("Sub", "x", b.constant("mean", 6)), b.constant("std", values=np.arange(1, 7)))
    z = b.node("Add", b.node("MatMul", z, b.constant("w0", 6, 9)), b.constant("b0", 9))
    z = b.node("Tanh", z)
    return b.done(b.node("Add", b.constant("b1", 4), b.node("MatMul", z, b.constant("w1", 9, 4))), 4)


@model
def ml_scaler():
    b = Builder(5, 3)
    b.nodes.append(helper.make_node("Scaler", ["x"], ["scaled"], domain="ai.onnx.ml",
                                    offset=[1.0, 2, 3, 4, 5], scale=[0.5, 1, 2, 3, 4]))
    return b.done(b.gemm("scaled", 5, 7), 7)


@model
def gemm_with_factors():
    b = Builder(8, 4)
    z = b.node("Gemm", "x", b.constant("w", 8, 5), b.constant("b", 5), alpha=0.5, beta=2.0)
    return b.done(b.node("Gemm", z, b.constant("w2", 5, 5)), 5)


@model
def batch_normalization():
    b = Builder(12, 5)
    z = b.gemm("x", 12, 10)
    z = b.node("BatchNormalization", z, b.constant("gamma", 10), b.constant("beta", 10), b.constant("mean", 10),
               b.constant("var", values=b.random.uniform(0.5, 2, 10)), epsilon=1e-3)
    return b.done(b.node("LeakyRelu", z, alpha=0.2), 10)


@model
def gelu_of_erf():
    """As PyTorch exported nn.GELU before opset 20."""
    b = Builder(16, 6)
    z = b.gemm("x", 16, 24)
    e = b.node("Add", b.node("Erf", b.node("Div", z, b.number(math.sqrt(2)))), b.number(1.0))
    z = b.node("Mul", b.node("Mul", z, e), b.number(0.5))
    return b.done(b.gemm(z, 24, 4), 4)


@model
def gelu_of_erf_other_order():
    b = Builder(16, 7)
    z = b.gemm("x", 16, 24)
    e = b.node("Add", b.number(1.0), b.node("Erf", b.node("Mul", z, b.number(math.sqrt(0.5)))))
    return b.done(b.node("Mul", b.node("Mul", b.number(0.5), z), e), 24)


@model
def gelu_nodes():
    b = Builder(16, 8)
    z = b.node("Gelu", b.gemm("x", 16, 24), approximate="tanh")
    return b.done(b.node("Gelu", b.gemm(z, 24, 9)), 9, opset=20)


@model
def swish_hardswish_mish_written_out():
    b = Builder(10, 9)
    z = b.gemm("x", 10, 10)
    z = b.node("Mul", z, b.node("Sigmoid", z))
    z = b.gemm(z, 10, 10)
    z = b.node("Mul", z, b.node("HardSigmoid", z, alpha=1 / 6, beta=0.5))
    z = b.gemm(z, 10, 10)
    return b.done(b.node("Mul", z, b.node("Tanh", b.node("Softplus", z))), 10)


@model
def every_activation():
    b = Builder(7, 10)
    z = "x"
    for kind, attributes in (("Elu", {"alpha": 0.5}), ("Selu", {}), ("Celu", {"alpha": 1.5}), ("HardSwish", {}),
                             ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}), ("Mish", {}), ("Abs", {}), ("Neg", {}),
                             ("Softplus", {}), ("Identity", {}), ("Sigmoid", {})):
        z = b.node(kind, b.gemm(z, 7, 7), **attributes)
    return b.done(z, 7, opset=18)


@model
def clips_and_bounds():
    b = Builder(9, 11)
    z = b.node("Clip", b.gemm("x", 9, 9), b.number(-0.5), b.number(0.75))
    z = b.node("Clip", b.gemm(z, 9, 9), "", b.number(0.5))
    z = b.node("Max", b.gemm(z, 9, 9), b.number(0.1))
    z = b.node("Min", b.number(0.4), b.gemm(z, 9, 9))
    return b.done(b.node("PRelu", b.gemm(z, 9, 9), b.constant("slope", 9)), 9)


@model
def residuals():
    b = Builder(11, 12)
    z = b.node("Relu", b.gemm("x", 11, 30))
    z = b.node("Sub", z, b.node("Tanh", z))
    z = b.node("Add", b.gemm(z, 30, 11), "x")
    return b.done(b.node("Pow", z, b.number(2.0)), 11)


@model
def constants_computed_by_nodes():
    """Transposed weights, as PyTorch's MatMul exports; a Constant node; Cast, Dropout, Flatten and Reshape."""
    b = Builder(12, 13, shape=["rows", 3, 4])
    z = b.node("Flatten", "x", axis=1)
    w = b.node("Transpose", b.constant("fc.weight", 8, 12), perm=[1, 0])
    z = b.node("MatMul", z, w)
    half = b.node("Constant", value=numpy_helper.from_array(np.array([0.5], np.float32)))
    z = b.node("Mul", b.node("Cast", b.node("Dropout", z), to=TensorProto.FLOAT), half)
    b.initializers.append(numpy_helper.from_array(np.array([-1, 8], np.int64), "shape"))
    return b.done(b.node("Reshape", z, "shape"), 8)


@model
def rows_read_from_the_shape():
    """x.view(x.size(0), -1), as PyTorch exports it."""
    b = Builder(6, 15)
    z = b.gemm("x", 6, 8)
    b.initializers += [numpy_helper.from_array(np.array(0, np.int64), "first"),
                       numpy_helper.from_array(np.array([0], np.int64), "axis"),
                       numpy_helper.from_array(np.array([-1], np.int64), "rest")]
    rows = b.node("Unsqueeze", b.node("Gather", b.node("Shape", z), "first", axis=0), "axis")
    return b.done(b.node("Reshape", z, b.node("Concat", rows, "rest", axis=0)), 8)


@model
def in_float64():
    b = Builder(6, 14, dtype=np.float64)
    return b.done(b.node("Relu", b.gemm("x", 6, 5)), 5)
