"""python -m mlpserve, as a user types it."""

import subprocess
import sys

import joblib
import numpy as np
import onnx
import onnx_models
import pytest
import sklearn_models


def run(*arguments, cwd=None):
    return subprocess.run([sys.executable, "-m", "mlpserve", *map(str, arguments)], capture_output=True, text=True,
                          cwd=cwd, timeout=120)


def ok(*arguments, cwd=None):
    done = run(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_export_verify_infer(start, tmp_path):
    onnx.save(onnx_models.make("gemm_relu_gemm"), tmp_path / "tower.onnx")
    joblib.dump(sklearn_models.make("regressor_of_one_output"), tmp_path / "price.joblib")
    (tmp_path / "mine.py").write_text("import onnx\ndef model():\n    return onnx.load('tower.onnx')\n")
    said = ok("export", "tower.onnx", "models/tower", "--max-rows", "64", cwd=tmp_path)
    assert "tower version 1: 2 layers, 20 features to 3, 4,812 bytes" in said
    ok("export", "price.joblib", "models/price", cwd=tmp_path)
    ok("export", "mine:model", "models/mine", "--output-name", "score", cwd=tmp_path)

    address = start(tmp_path / "models").grpc_address
    assert "within the bounds of FP32" in ok("verify", "tower.onnx", address, "--block", "tower", cwd=tmp_path)
    ok("verify", "mine:model", address, "--block", "mine", cwd=tmp_path)
    x = np.random.default_rng(1).standard_normal((3, 7))
    np.savetxt(tmp_path / "x.csv", x, delimiter=",")
    np.save(tmp_path / "x.npy", x)
    ok("verify", "price.joblib", address, "--block", "price", "--input", "x.csv", cwd=tmp_path)
    printed = np.array(ok("infer", address, "price", "x.csv", cwd=tmp_path).split(), float)
    assert "[3, 1] float32" in ok("infer", address, "price", "x.npy", "--output", "y.npy", cwd=tmp_path)
    assert printed == pytest.approx(np.load(tmp_path / "y.npy")[:, 0], rel=1e-7)

    other = run("verify", "tower.onnx", address, cwd=tmp_path)
    assert other.returncode == 1 and "expected its name, since the server has 3" in other.stderr
    unlike = run("verify", "tower.onnx", address, "--block", "price", cwd=tmp_path)
    assert unlike.returncode == 1 and len(unlike.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments, says", [
    (("export", "none.onnx", "b"), "none.onnx: cannot be read: No such file"),
    (("export", "none.joblib", "b"), "none.joblib: cannot be loaded"),
    (("export", "model", "b"), "expected FILE.onnx, MODULE:NAME"),
    (("export", "nothere:model", "b"), "nothere:model: No module named 'nothere'"),
    (("export", "json:dumped", "b"), "json:dumped: module 'json' has no attribute 'dumped'"),
    (("infer", "127.0.0.1:1", "block", "none.npy"), "none.npy: cannot be read"),
    (("infer", "127.0.0.1:1", "block", "x.txt"), "x.txt: expected a name that ends with .npy or .csv"),
])
def test_what_fails_says_why_in_one_line(tmp_path, arguments, says):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 1 and says in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_wrong_usage_is_code_2():
    assert run("serve").returncode == 2 and run().returncode == 2
