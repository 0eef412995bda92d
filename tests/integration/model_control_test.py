"""Loading and unloading while the server runs, by tritonclient and by files that change."""

import shutil

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from conftest import DIGITS, assert_close, digits, infer
from reload_soak import soak


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "models"
    shutil.copytree(DIGITS / "digits", folder / "digits")
    return folder


def state(client, name):
    index = {model.name: model for model in client.get_model_repository_index().models}
    return index[name] if name in index else None


def test_a_client_loads_and_unloads(repository, start):
    server = start(repository, "--model-control", "explicit")
    with server.client() as client:
        assert client.is_server_ready() and not client.is_model_ready("digits")
        client.load_model("digits")
        assert client.is_model_ready("digits")
        assert_close(infer(client, "digits", digits()["x"]), digits()["logits64"])
        client.unload_model("digits")
        assert not client.is_model_ready("digits")
        with pytest.raises(InferenceServerException) as raised:
            client.load_model("nobody")
        assert raised.value.status() == "StatusCode.NOT_FOUND"


def test_a_client_sends_a_block_with_its_files(repository, start):
    server = start(repository, "--model-control", "explicit", "--load-model", "digits")
    config = (repository / "digits/model.json").read_text().replace('"digits"', '"sent"')
    weights = (repository / "digits/1/weights.safetensors").read_bytes()
    with server.client() as client:
        client.load_model("sent", config=config, files={"file:3/weights.safetensors": weights})
        assert client.is_model_ready("sent", "3")
        assert_close(infer(client, "sent", digits()["x"]), digits()["logits64"])
        assert client.is_model_ready("digits")


def test_a_failed_load_leaves_what_serves_and_says_why(repository, start):
    server = start(repository, "--model-control", "explicit", "--load-model", "*")
    (repository / "digits/1/weights.safetensors").write_bytes(b"no header")
    with server.client() as client:
        with pytest.raises(InferenceServerException, match="weights.safetensors"):
            client.load_model("digits")
        assert_close(infer(client, "digits", digits()["x"]), digits()["logits64"])
        entry = state(client, "digits")
        assert entry.state == "READY" and "weights.safetensors" in entry.reason
    assert 'mlpserve_model_load_failures_total{model="digits"} 1' in server.get("/metrics")[1]
    assert "it serves as it was loaded before" in server.log()


@pytest.mark.parametrize("poll", [False, True], ids=["by_rpc", "by_poll"])
def test_reloads_under_load_fail_no_request_and_mix_no_versions(tmp_path, poll):
    problems, figures = soak(tmp_path, reloads=60, clients=3, poll=poll)
    assert not problems, problems[:5]
    assert figures["requests"] > 60
    grown = figures["memory_after_kb"] - figures["memory_before_kb"]
    assert grown < 32 << 10, figures
    print(figures)


def test_without_model_control_a_block_stays(repository, start):
    server = start(repository)
    with server.client() as client:
        with pytest.raises(InferenceServerException, match="--model-control=explicit"):
            client.unload_model("digits")
        assert infer(client, "digits", np.zeros((1, 64), np.float32)).shape == (1, 10)
