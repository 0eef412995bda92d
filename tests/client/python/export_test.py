"""Every exported model, served by a real mlpserve, beside the original in float64."""

import json

import numpy as np
import onnx_models
import pytest
import sklearn_models

import mlpserve
from mlpserve.frontends import lower

try:
    import torch_models
except ImportError:  # PyTorch is large: tests/run --with-torch installs it
    torch_models = None

FRAMEWORKS = {"sklearn": sklearn_models, "onnx": onnx_models, **({"torch": torch_models} if torch_models else {})}


def names(module):
    return [*module.MODELS, *getattr(module, "KERNELBENCH", {})]


CASES = [(framework, name) for framework, module in FRAMEWORKS.items() for name in names(module)]


def test_there_are_models_of_at_least_30_shapes_and_12_of_kernelbench():
    if torch_models is None:
        pytest.skip("PyTorch is not installed")
    assert len(CASES) >= 30 and len(torch_models.KERNELBENCH) >= 12


@pytest.fixture(scope="module")
def exported(served):
    """The models by their blocks' names, all exported before the server starts."""
    made = {}
    for framework, name in CASES:
        block = f"{framework}_{name}"
        made[block] = FRAMEWORKS[framework].make(name)
        mlpserve.export(made[block], served.models / block)
    return made, served.start()


@pytest.mark.parametrize("framework, name", CASES)
def test_block_answers_as_its_original_within_the_bounds(exported, framework, name):
    models, address = exported
    block = f"{framework}_{name}"
    found = mlpserve.verify(models[block], address, block)
    assert found.ok and found.rows == 64
    # The worst case that a bound allows is far from what happens: this notices what a bound would let pass.
    assert found.relative_error < 2e-6, str(found)


def test_what_is_folded_is_rounded_once():
    model = sklearn_models.make("linear_behind_two_scalers")
    robust, largest, ridge = (step for _, step in model.steps)
    scale = 1 / (robust.scale_ * largest.scale_)
    weight = ridge.coef_ * scale
    tensors = lower(model).block.tensors
    for name, exact in (("ridge.coef_.folded", weight), ("ridge.intercept_.folded",
                                                         ridge.intercept_ - weight @ robust.center_)):
        assert tensors[name].array.ravel() == pytest.approx(np.ravel(exact), rel=1.001 * 2.0**-24, abs=0)


@pytest.mark.parametrize("rows", [1, 2, 777])
def test_any_number_of_rows_is_verified(exported, rows):
    models, address = exported
    block = "onnx_gelu_of_erf"
    assert mlpserve.verify(models[block], address, block, rows=rows).rows == rows


@pytest.mark.parametrize("compute, datatype, worst", [
    ("TF32", "FP32", 2e-3), ("FP16", "FP16", 4e-3), ("BF16", "FP32", 3e-2), ("BF16", "BF16", 3e-2)])
def test_other_formats_stay_within_their_wider_bounds(start, tmp_path, compute, datatype, worst):
    model = onnx_models.make("gelu_of_erf")
    mlpserve.export(model, tmp_path / "models/block", compute=compute, input_datatype=datatype,
                    output_datatype=datatype)
    found = mlpserve.verify(model, start(tmp_path / "models").grpc_address, compute=compute)
    assert 1e-6 < found.relative_error < worst, str(found)


def test_a_model_that_is_not_what_is_served_is_found_out(exported):
    models, address = exported
    other = onnx_models.make("gemm_relu_gemm")
    weight = other.graph.initializer[0]
    values = np.frombuffer(weight.raw_data, np.float32).copy()
    values[7] *= 1.01
    weight.raw_data = values.tobytes()
    with pytest.raises(mlpserve.VerificationError, match=r"OUTSIDE.*worst at row \d+, column \d: expected"):
        mlpserve.verify(other, address, "onnx_gemm_relu_gemm")


def test_probabilities_of_two_classes_are_served_when_asked_for(start, tmp_path):
    model = sklearn_models.make("classifier_of_two_classes")
    mlpserve.export(model, tmp_path / "models/block", probabilities=True)
    x, _ = sklearn_models.data(9, classes=2)
    address = start(tmp_path / "models").grpc_address
    mlpserve.verify(model, address, x=x, probabilities=True)
    with mlpserve.Client(address) as client:
        assert client.infer("block", x)[:, 0] == pytest.approx(model.predict_proba(x.astype(np.float32))[:, 1], abs=1e-5)


def test_logits_choose_the_class_that_the_classifier_predicts(exported):
    models, address = exported
    model = models["sklearn_classifier_behind_a_scaler"]
    x, _ = sklearn_models.data(20, classes=4)
    with mlpserve.Client(address) as client:
        logits = client.infer("sklearn_classifier_behind_a_scaler", x)
    assert (model.classes_[logits.argmax(1)] == model.predict(x.astype(np.float32))).all()


@pytest.mark.skipif(torch_models is None, reason="PyTorch is not installed")
def test_batch_statistics_are_those_of_the_request(start, tmp_path):
    model = torch_models.make("kernelbench_33")
    mlpserve.export(model, tmp_path / "models/block", batch_statistics=True)
    ops = json.loads((tmp_path / "models/block/model.json").read_text())["layers"][0]["epilogue"]
    assert ops[1]["batch_norm"]["statistics"] == "BATCH" and "running_mean" not in ops[1]["batch_norm"]
    address = start(tmp_path / "models").grpc_address
    mlpserve.verify(model, address, batch_statistics=True)
    with pytest.raises(mlpserve.VerificationError):
        mlpserve.verify(model, address)
    with pytest.raises(mlpserve.MlpserveError, match="at least 2 rows"):
        mlpserve.verify(model, address, batch_statistics=True, rows=1)
