"""What a block cannot express is refused by name, with what it can."""

import sys

import numpy as np
import onnx_models
import pytest
import sklearn_models
from onnx import TensorProto, helper
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer

import mlpserve
from mlpserve.frontends import lower


def refused(model, *says):
    with pytest.raises(mlpserve.ExportError) as raised:
        lower(model)
    text = str(raised.value)
    assert "\n" not in text
    for word in says:
        assert word in text, text


def graph(features, *nodes):
    b = onnx_models.Builder(features, 1)
    z = b.gemm("x", features, features)
    for kind, attributes in nodes:
        z = b.node(kind, z, **attributes)
    return b.done(z, features)


@pytest.mark.parametrize("kind, attributes, says", [
    ("Softmax", {}, ["node 'Softmax_1' (Softmax)", "leave it out"]),
    ("Exp", {}, ["node 'Exp_1' (Exp)", "a block can hold linear layers"]),
    ("Erf", {}, ["erf outside of GELU"]),
    ("Cast", {"to": TensorProto.FLOAT16}, ["FLOAT16", "compute="]),
])
def test_onnx_nodes(kind, attributes, says):
    refused(graph(4, (kind, attributes)), *says)


def test_onnx_branches_that_do_not_meet():
    b = onnx_models.Builder(6, 1)
    z = b.node("Add", b.node("Relu", b.gemm("x", 6, 6)), b.gemm("x", 6, 6))
    refused(b.done(z, 6), "the sum of node 'Relu_1' (Relu) and node 'Gemm_2' (Gemm)", "same linear layer")


def test_onnx_two_functions_of_one_product():
    b = onnx_models.Builder(6, 1)
    z = b.gemm("x", 6, 6)
    refused(b.done(b.node("Add", b.node("Relu", z), b.node("Tanh", z)), 6), "neither is z itself (relu and tanh)")


def test_onnx_product_of_two_computed_tensors():
    b = onnx_models.Builder(6, 1)
    z = b.gemm("x", 6, 6)
    refused(b.done(b.node("MatMul", z, z), 6), "MatMul", "a constant matrix")


def test_onnx_activation_before_the_first_layer():
    b = onnx_models.Builder(6, 1)
    refused(b.done(b.gemm(b.node("Relu", "x"), 6, 2), 2), "relu before the first linear layer")


def test_onnx_graph_without_a_product():
    b = onnx_models.Builder(6, 1)
    refused(b.done(b.node("Relu", "x"), 6), "at least one linear layer")


def test_onnx_two_inputs_and_two_outputs():
    b = onnx_models.Builder(4, 1)
    model = b.done(b.gemm("x", 4, 4), 4)
    two = type(model)()
    two.CopyFrom(model)
    two.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["rows", 4]))
    refused(two, "one input, found 2: x, more")
    model.graph.output.append(helper.make_tensor_value_info("Gemm_0_out0", TensorProto.FLOAT, ["rows", 4]))
    refused(model, "one output, found 2")


def test_onnx_residual_of_another_width():
    b = onnx_models.Builder(1, 1)
    z = b.gemm("x", 1, 5)
    refused(b.done(b.node("Add", z, "x"), 5), "input of 1 features to the 5")


def test_onnx_file_that_is_none(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    refused(tmp_path / "a.onnx", "a.onnx: expected an ONNX model")
    refused(tmp_path / "b.onnx", "b.onnx: cannot be read: No such file")


@pytest.mark.parametrize("model, says", [
    (make_pipeline(Normalizer(), LinearRegression()), ["normalizer (Normalizer)", "StandardScaler"]),
    (make_pipeline(MinMaxScaler(clip=True), LinearRegression()), ["minmaxscaler (MinMaxScaler)", "clip=True"]),
    (make_pipeline(SelectKBest(k=2), LinearRegression()), ["selectkbest (SelectKBest)"]),
    (GridSearchCV(Ridge(), {"alpha": [1, 2]}), ["the model (GridSearchCV)", "best_estimator_"]),
])
def test_scikit_learn_steps(model, says):
    refused(model.fit(*sklearn_models.data(4)), *says)


def test_scikit_learn_model_that_is_not_fitted():
    refused(make_pipeline(MLPClassifier()), "mlpclassifier (MLPClassifier): expected a fitted estimator")


def test_scikit_learn_probabilities_of_many_classes():
    model = sklearn_models.make("classifier_of_many_classes")
    with pytest.raises(mlpserve.ExportError, match="probabilities of 5 classes cannot be expressed.*softmax"):
        lower(model, probabilities=True)


@pytest.mark.parametrize("model", [None, 3, {"weight": np.zeros(3)}, np.zeros((3, 3)), "model.h5"])
def test_what_is_no_model(model):
    refused(model, "expected a")


@pytest.mark.parametrize("model, says", [
    ({"fc.weight": np.zeros((3, 3))}, ["found dict", "state dict", "export that"]),
    ("tower.pt", ["tower.pt", "is loaded first"]),
])
def test_weights_without_their_model_are_told_what_is_missing(model, says):
    refused(model, *says)


def test_onnx_graph_without_the_package_says_what_to_install(monkeypatch):
    import mlpserve.frontends
    for name in [name for name in sys.modules if name.startswith("mlpserve.frontends.onnx_")]:
        monkeypatch.delitem(sys.modules, name)
        monkeypatch.delattr(mlpserve.frontends, name.rpartition(".")[2], raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    refused("tower.onnx", "pip install onnx")
