"""Starts real mlpserve processes on loopback for the tests of this folder."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
import safetensors.numpy
import tritonclient.grpc as triton

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("MLPSERVE_BIN", ROOT / "build/release/bin"))
DIGITS = ROOT / "deploy/models"
GOLDENS = ROOT / "tests/goldens"


class Server:
    """One mlpserve process on ports that it chose itself; its log is read for them."""

    def __init__(self, repository, log_path, *flags):
        self.log_path = pathlib.Path(log_path)
        command = [BIN / "mlpserve", "--model-repository", repository, "--backend", "cpu",
                   "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0",
                   *([] if "--drain-grace" in flags else ["--drain-grace", "0"]), *flags]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([str(part) for part in command], stderr=log)
        self.grpc_address = self._await(r"gRPC on (\S+:\d+)")
        self.http_address = self._await(r"HTTP on (\S+:\d+)")

    def log(self):
        return self.log_path.read_text()

    def _await(self, pattern, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = re.search(pattern, self.log())
            if found:
                return found.group(1)
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"no /{pattern}/ in the log:\n{self.log()}")

    def await_ready(self, seconds=60):
        deadline = time.monotonic() + seconds
        while self.get("/readyz")[0] != 200:
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        return self

    def get(self, path):
        """HTTP status and body."""
        try:
            with urllib.request.urlopen(f"http://{self.http_address}{path}", timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def client(self):
        return triton.InferenceServerClient(self.grpc_address)

    def stop(self, seconds=30):
        """SIGTERM, then the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@pytest.fixture
def start(tmp_path):
    """start(repository, *flags): a ready server, stopped after the test."""
    servers = []

    def run(repository, *flags, ready=True):
        server = Server(repository, tmp_path / f"server{len(servers)}.log", *flags)
        servers.append(server)
        return server.await_ready() if ready else server

    yield run
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory):
    """One server for every test that only asks: the golden blocks and digits."""
    folder = tmp_path_factory.mktemp("shared")
    repository = folder / "models"
    shutil.copytree(GOLDENS, repository)
    shutil.copytree(DIGITS / "digits", repository / "digits")
    server = Server(repository, folder / "server.log").await_ready()
    yield server
    assert server.stop() == 0


@pytest.fixture
def client(shared_server):
    with shared_server.client() as connected:
        yield connected


def infer(client, model, rows, **arguments):
    """One request with input x; returns the block's only output."""
    tensor = triton.InferInput("x", rows.shape, arguments.pop("datatype", "FP32"))
    tensor.set_data_from_numpy(rows)
    result = client.infer(model, [tensor], **arguments)
    return result.as_numpy(result.get_response().outputs[0].name)


def golden(name):
    """x float32 and y float64 of a golden case."""
    cases = safetensors.numpy.load_file(GOLDENS / name / "cases.safetensors")
    return cases["x"], cases["y"]


def digits():
    return safetensors.numpy.load_file(DIGITS / "digits/test.safetensors")


def assert_close(actual, expected):
    """2-norm error of FP32 arithmetic; the conformance suite holds each element to its bound."""
    error = np.linalg.norm(actual - expected) / max(np.linalg.norm(expected), 1e-30)
    assert error < 2e-6, f"relative 2-norm error {error:.2e}"
