"""A real mlpserve on loopback that serves what the tests of this folder exported."""

import importlib.util
import pathlib
import shutil

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent


def _integration():
    """The server of the integration tests, whose conftest this folder's hides by its name."""
    path = ROOT / "tests/integration/conftest.py"
    spec = importlib.util.spec_from_file_location("integration_conftest", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


integration = _integration()
start = integration.start  # the fixture start(repository, *flags)


@pytest.fixture(scope="session")
def digits_server(tmp_path_factory):
    """Serves deploy/models and the golden blocks."""
    folder = tmp_path_factory.mktemp("digits")
    shutil.copytree(integration.GOLDENS, folder / "models")
    shutil.copytree(integration.DIGITS / "digits", folder / "models/digits")
    server = integration.Server(folder / "models", folder / "server.log").await_ready()
    yield server
    assert server.stop() == 0


@pytest.fixture
def digits():
    """x [450, 64], labels, and the logits of the float64 oracle."""
    return integration.digits()


@pytest.fixture
def random():
    return np.random.default_rng(7)


class Served:
    """Exports models one after the other, then serves all of them by one process."""

    def __init__(self, folder):
        self._folder = folder
        self.models = folder / "models"
        self._server = None

    def start(self):
        if self._server is None:
            self._server = integration.Server(self.models, self._folder / "server.log").await_ready()
        return self._server.grpc_address

    def stop(self):
        if self._server is not None:
            assert self._server.stop() == 0


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    running = Served(tmp_path_factory.mktemp("served"))
    yield running
    running.stop()
