"""pip install ./client/python from a clean clone, and from the sdist, with PyPI alone."""

import pathlib
import subprocess
import sys
import venv

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
USE = """
import pathlib, sys
import numpy, safetensors
import mlpserve
from mlpserve import folder
from mlpserve.block import Tensor

mlpserve.Client("127.0.0.1:1").close()
tensors = {"a": Tensor("F32", numpy.arange(6, dtype=numpy.float32).reshape(2, 3)),
           "b": Tensor("BF16", numpy.array([0x3f80, 0xc000], numpy.uint16)),
           "c": Tensor("F16", numpy.array([1.5], numpy.float16))}
folder.write(pathlib.Path(sys.argv[1]), 1, {"layers": []}, tensors, replace=False)
written = pathlib.Path(sys.argv[1], "1/weights.safetensors").read_bytes()
found = dict(safetensors.deserialize(written))
for name, tensor in tensors.items():
    assert found[name]["dtype"] == tensor.dtype and bytes(found[name]["data"]) == tensor.array.tobytes(), found
print(mlpserve.__file__)
"""


def run(*command, cwd=None):
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def clone(tmp_path):
    """The files of the working tree that git knows or would add, in a folder of their own."""
    listed = run("git", "ls-files", "-co", "--exclude-standard", "-z", "client/python", "proto", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            target = tmp_path / "clone" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    return tmp_path / "clone"


def fresh(folder):
    venv.create(folder, with_pip=True)
    return folder / "bin/python"


def installed(python):
    listed = run(python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check")
    return {line.partition("==")[0].lower() for line in listed.splitlines()} - {"pip", "setuptools"}


def test_it_installs_from_a_clean_clone_with_what_it_names(clone, tmp_path):
    python = fresh(tmp_path / "venv")
    run(python, "-m", "pip", "install", "--quiet", "./client/python", cwd=clone)
    assert str(tmp_path / "venv") in run(python, "-c", USE, tmp_path / "block", cwd=tmp_path)
    assert installed(python) <= {"mlpserve", "numpy", "grpcio", "protobuf", "safetensors", "typing_extensions",
                                 "typing-extensions"}


def test_an_sdist_brings_the_protos(clone, tmp_path):
    run(sys.executable, "setup.py", "-q", "sdist", "-d", tmp_path / "dist", cwd=clone / "client/python")
    sdist, = (tmp_path / "dist").iterdir()
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path / "wheels",
        sdist, cwd=tmp_path)
    wheel, = (tmp_path / "wheels").iterdir()
    listed = run(sys.executable, "-m", "zipfile", "-l", wheel)
    for name in ("mlpserve/messages.binpb", "mlpserve/py.typed", "mlpserve/frontends/torch_graphs.py"):
        assert name in listed


def test_without_the_protos_it_says_where_they_were_expected(clone):
    (clone / "proto/open_inference.proto").unlink()
    done = subprocess.run([sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", "wheels",
                           "."], cwd=clone / "client/python", capture_output=True, text=True)
    assert done.returncode != 0 and "expected model_config.proto and open_inference.proto in" in done.stdout + done.stderr
