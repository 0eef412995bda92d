"""An ONNX file: usage: onnx_file.py [FILE.onnx]; without one, a small graph is made."""

import pathlib
import sys

import numpy as np
import onnx
import served
from onnx import TensorProto, helper, numpy_helper

import mlpserve


def small_graph(path: pathlib.Path) -> pathlib.Path:
    """32 features, Gemm, Relu, Gemm, 4 outputs."""
    random = np.random.default_rng(0)
    sizes = {"w0": (64, 32), "b0": (64,), "w1": (4, 64), "b1": (4,)}
    weights = [numpy_helper.from_array(random.standard_normal(s).astype(np.float32) / 8, n) for n, s in sizes.items()]
    nodes = [helper.make_node("Gemm", ["x", "w0", "b0"], ["hidden"], transB=1),
             helper.make_node("Relu", ["hidden"], ["active"]),
             helper.make_node("Gemm", ["active", "w1", "b1"], ["y"], transB=1)]
    graph = helper.make_graph(
        nodes, "small", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 4])], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


models = served.repository()
file = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else small_graph(models / "small.onnx")
mlpserve.export(file, models / "block")
address = served.serve(models)
with mlpserve.Client(address) as client:
    client.wait_until_ready()
print(mlpserve.verify(file, address))
