"""deploy/quickstart and mlpserve-client, as a newcomer runs them."""

import re
import subprocess

import numpy as np
import pytest

from conftest import BIN, DIGITS, ROOT, digits


def run(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          timeout=240, cwd=ROOT)


@pytest.mark.skipif(BIN.resolve() != (ROOT / "build/release/bin").resolve(),
                    reason="quickstart builds the release preset")
def test_quickstart_shows_the_accuracy_of_the_float64_oracle():
    done = run("deploy/quickstart")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Accuracy 97.1% (437 of 450)" in done.stdout
    decisions = re.search(r"(\d+) of (\d+) decisions as in float64", done.stdout)
    assert decisions and decisions[1] == decisions[2]


def test_client_prints_status_list_and_accuracy(shared_server):
    address = ("--address", shared_server.grpc_address)
    cases = DIGITS / "digits/test.safetensors"
    assert "digits" in run(BIN / "mlpserve-client", *address, "list").stdout
    assert "ready" in run(BIN / "mlpserve-client", *address, "status").stdout
    done = run(BIN / "mlpserve-client", *address, "infer", "digits", "--input", cases,
               "--labels", cases)
    assert done.returncode == 0, done.stderr
    assert "97.1" in done.stdout + done.stderr


def test_client_reads_and_writes_npy(shared_server, tmp_path):
    np.save(tmp_path / "x.npy", digits()["x"])
    done = run(BIN / "mlpserve-client", "--address", shared_server.grpc_address, "infer", "digits",
               "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy")
    assert done.returncode == 0, done.stderr
    logits = np.load(tmp_path / "y.npy")
    assert (logits.argmax(1) == digits()["logits64"].argmax(1)).all()


def test_client_says_in_one_line_why_a_call_failed(shared_server, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 63), np.float32))
    done = run(BIN / "mlpserve-client", "--address", shared_server.grpc_address, "infer", "digits",
               "--input", tmp_path / "x.npy")
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and "64" in lines[0] and "63" in lines[0], done.stderr


def test_print_safetensors_agrees_with_the_safetensors_package(tmp_path):
    import json
    import safetensors.numpy

    rng = np.random.default_rng(7)
    tensors = {f"t.{kind}": (rng.standard_normal((3, 5)) * 50).astype(kind)
               for kind in ("float64", "float32", "float16", "int64", "int32", "int16", "int8",
                            "uint8")}
    safetensors.numpy.save_file(tensors, tmp_path / "t.safetensors", metadata={"a": "b"})
    done = run(BIN / "print_safetensors", tmp_path / "t.safetensors")
    assert done.returncode == 0, done.stderr
    printed = {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert printed.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert printed[name]["shape"] == [3, 5]
        assert np.array_equal(np.array(printed[name]["values"]).reshape(3, 5), tensor), name
