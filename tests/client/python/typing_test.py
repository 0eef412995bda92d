"""The package's types are complete and hold; it is marked as typed."""

import importlib.resources
import pathlib
import subprocess
import sys

import mlpserve

PACKAGE = pathlib.Path(mlpserve.__file__).parent
SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent.parent / "client/python"


def test_it_is_marked_as_typed():
    assert (importlib.resources.files(mlpserve) / "py.typed").is_file()


def test_mypy_finds_nothing(tmp_path):
    done = subprocess.run([sys.executable, "-m", "mypy", "--config-file", SOURCE / "pyproject.toml",
                           "--cache-dir", tmp_path], cwd=SOURCE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_users_mistake_is_found(tmp_path):
    (tmp_path / "use.py").write_text(
        "import mlpserve\n"
        "with mlpserve.Client('a:1') as client:\n"
        "    y = client.infer('b', [[1.0]])\n"
        "    reveal_type(y)\n"
        "    client.infer(1, [[1.0]])\n")
    done = subprocess.run([sys.executable, "-m", "mypy", "--cache-dir", tmp_path / "cache", tmp_path / "use.py"],
                          capture_output=True, text=True)
    assert "ndarray" in done.stdout and 'incompatible type "int"; expected "str"' in done.stdout, done.stdout
    assert "found 1 error" in done.stdout.lower(), done.stdout
