"""What an export writes, and what it leaves alone."""

import json
import os
import re
import stat

import numpy as np
import onnx_models
import pytest
import safetensors.numpy
from onnx import numpy_helper

import mlpserve


def export(folder, **options):
    return mlpserve.export(onnx_models.make("gemm_relu_gemm"), folder, **options)


def test_tensors_keep_their_names_and_model_json_says_the_rest(tmp_path):
    done = export(tmp_path / "tower", input_name="features", output_name="score", batching={"max_rows": 128})
    assert (done.name, done.version, done.input_features, done.output_features, done.layers) == ("tower", 1, 20, 3, 2)
    described = json.loads((tmp_path / "tower/model.json").read_text())
    assert described["name"] == "tower"
    assert described["input"] == {"name": "features", "features": 20, "datatype": "FP32"}
    assert described["layers"][0]["epilogue"] == [{"relu": {}}]
    assert described["batching"] == {"max_rows": 128}
    tensors = safetensors.numpy.load_file(tmp_path / "tower/1/weights.safetensors")
    assert sorted(tensors) == ["net.0.bias", "net.0.weight", "net.2.bias", "net.2.weight"]
    assert done.bytes == sum(t.nbytes for t in tensors.values())


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o002])
def test_files_have_the_mode_that_the_umask_gives(tmp_path, mask):
    before = os.umask(mask)
    try:
        export(tmp_path / "block")
    finally:
        os.umask(before)
    for name in ("model.json", "1/weights.safetensors"):
        assert stat.S_IMODE((tmp_path / "block" / name).stat().st_mode) == 0o666 & ~mask
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["1", "block", "model.json", "weights.safetensors"]


def test_a_new_version_keeps_model_json_as_it_was_edited(tmp_path):
    export(tmp_path / "block")
    described = tmp_path / "block/model.json"
    edited = {**json.loads(described.read_text()), "batching": {"max_rows": 7}}
    described.write_text(json.dumps(edited))
    export(tmp_path / "block", version=2)
    assert json.loads(described.read_text()) == edited
    assert (tmp_path / "block/2/weights.safetensors").exists()


def test_a_version_that_is_there_is_not_overwritten_unasked(tmp_path):
    export(tmp_path / "block")
    with pytest.raises(mlpserve.ExportError, match=r"weights.safetensors: expected no such file.*version=2"):
        export(tmp_path / "block")
    export(tmp_path / "block", replace=True)


def test_another_model_is_no_new_version(tmp_path):
    export(tmp_path / "block")
    with pytest.raises(mlpserve.ExportError, match="model.json: expected the same input"):
        mlpserve.export(onnx_models.make("batch_normalization"), tmp_path / "block", version=2)
    assert not (tmp_path / "block/2").exists()


def test_a_model_json_that_is_not_json_is_named(tmp_path):
    (tmp_path / "block").mkdir()
    (tmp_path / "block/model.json").write_text("{")
    with pytest.raises(mlpserve.ExportError, match="expected the block's model.json"):
        export(tmp_path / "block")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(mlpserve.ExportError, match="file.*cannot be written"):
        export(tmp_path / "file/block")


@pytest.mark.parametrize("options, says", [
    ({"folder": "/"}, "folder: expected a name for the block that does not begin with a dot, found ''"),
    ({"folder": ".hidden"}, "found '.hidden'"),
    ({"version": 0}, "version: expected a positive number, found 0"),
    ({"compute": "FP8"}, "compute: expected FP32 or TF32 or FP16 or BF16, found 'FP8'"),
    ({"input_datatype": "TF32"}, "input_datatype: expected FP32 or FP16 or BF16, found 'TF32'"),
])
def test_wrong_options_are_refused(tmp_path, options, says):
    with pytest.raises(mlpserve.ExportError, match=says):
        export(options.pop("folder", tmp_path / "block"), **options)
    assert not (tmp_path / "block").exists()


def test_nothing_is_written_of_a_model_that_is_refused(tmp_path):
    model = onnx_models.make("gemm_relu_gemm")
    model.graph.initializer[0].raw_data = np.full(20 * 50, np.nan, np.float32).tobytes()
    with pytest.raises(mlpserve.ExportError, match=r"expected finite numbers.*'net.0.weight', found nan at \[0, 0\]"):
        mlpserve.export(model, tmp_path / "block")
    assert not (tmp_path / "block").exists()


def test_every_op_of_the_schema_is_known_to_the_package():
    from conftest import ROOT
    from mlpserve import block, folder, functions
    schema = (ROOT / "proto/mlp_model.proto").read_text()
    ops = set(re.findall(r"^    \w+ (\w+) = \d+;", re.search(r"oneof op \{(.*?)\}", schema, re.S).group(1), re.M))
    inner = (block.Scale(2.0),)
    others = [block.Scale(1.0), block.Add(1.0), block.Hardtanh(0.0), block.Residual(inner), block.Gate(inner),
              block.AddInput(), block.BatchNorm(None, None, "m", "v", 1e-5)]
    written = [folder._op_json(op) for op in [*others, *map(block.Function, functions.FUNCTIONS)]]
    assert {name for op in written for name in op} == ops


def test_a_float64_number_beyond_fp32_is_refused(tmp_path):
    model = onnx_models.make("in_float64")
    values = numpy_helper.to_array(model.graph.initializer[1]).copy()
    values[2] = 1e39
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(values, "net.0.bias"))
    with pytest.raises(mlpserve.ExportError, match=r"range of FP32 in 'net.0.bias', found 1e\+39 at \[2\]"):
        mlpserve.export(model, tmp_path / "block")


def test_a_shared_tensor_is_stored_once(tmp_path):
    torch_models = pytest.importorskip("torch_models", reason="PyTorch is not installed", exc_type=ImportError)
    mlpserve.export(torch_models.make("tied_weights"), tmp_path / "block")
    tensors = safetensors.numpy.load_file(tmp_path / "block/1/weights.safetensors")
    assert sorted(tensors) == ["first.bias", "first.weight", "second.bias"]
    layers = json.loads((tmp_path / "block/model.json").read_text())["layers"]
    assert [layer["weight"] for layer in layers] == ["first.weight", "first.weight"]
    assert [layer["name"] for layer in layers] == ["first", "second"]
