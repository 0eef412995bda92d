"""Start, refusal to start, failure of a block, and drain of a real process."""

import json
import queue
import re
import shutil
import signal
import socket
import subprocess
import time

import numpy as np
import pytest
import safetensors.numpy
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from conftest import BIN, DIGITS, assert_close, digits, infer


def refused(*flags):
    """Runs mlpserve until it exits: exit code and the lines it printed."""
    done = subprocess.run([BIN / "mlpserve", *map(str, flags)], capture_output=True, text=True,
                          timeout=60)
    return done.returncode, (done.stdout + done.stderr).strip().splitlines()


@pytest.mark.parametrize("flags, says", [
    ([], "--model-repository"),
    (["--model-repository", DIGITS, "--no-such-flag"], "--no-such-flag"),
    (["--model-repository", DIGITS, "--backend", "tpu"], "tpu"),
    (["--model-repository", DIGITS, "--cpu-threads", "-1"], "--cpu-threads"),
    (["--model-repository", "/no/such/folder"], "/no/such/folder"),
    (["--model-repository", DIGITS, "--grpc-address", "nonsense"], "nonsense"),
    (["--model-repository", DIGITS, "--http-address", "nonsense"], "nonsense"),
])
def test_bad_start_is_one_line_and_exit_code_2(flags, says):
    code, lines = refused(*flags)
    assert code == 2
    assert len(lines) == 1 and says in lines[0], lines


@pytest.mark.parametrize("flag, other", [("--grpc-address", "--http-address"),
                                         ("--http-address", "--grpc-address")])
def test_port_in_use_is_one_line_and_exit_code_2(flag, other):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, lines = refused("--model-repository", DIGITS, "--backend", "cpu", flag, address,
                              other, "127.0.0.1:0", "--log-level", "error")
    assert code == 2
    assert len(lines) == 1 and address in lines[0], lines


def test_help_names_every_flag():
    code, lines = refused("--help")
    assert code == 0
    for flag in ("--model-repository", "--grpc-address", "--http-address", "--backend",
                 "--cpu-threads", "--max-message-bytes", "--model-control", "--load-model", "--poll-interval",
                 "--strict-readiness", "--drain-grace",
                 "--drain-timeout", "--max-connections", "--token-file", "--tls-certificate",
                 "--log-format", "--log-level"):
        assert flag in "\n".join(lines)


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "models"
    shutil.copytree(DIGITS / "digits", folder / "digits")
    return folder


def break_weights(repository):
    shutil.copytree(repository / "digits", repository / "broken")
    config = json.loads((repository / "broken/model.json").read_text())
    config["name"] = "broken"
    (repository / "broken/model.json").write_text(json.dumps(config))
    path = repository / "broken/1/weights.safetensors"
    tensors = safetensors.numpy.load_file(path)
    tensors["fc1.weight"] = np.zeros((256, 255), np.float32)
    safetensors.numpy.save_file(tensors, path)


def test_failed_block_says_why_and_harms_no_other(repository, start):
    break_weights(repository)
    server = start(repository)
    reason = [line for line in server.log().splitlines() if "broken" in line and "error" in line]
    assert reason, server.log()
    for word in ("weights.safetensors", "fc1", "fc1.weight", "255", "256"):
        assert word in reason[0]
    with server.client() as client:
        index = {m.name: (m.state, m.reason) for m in client.get_model_repository_index().models}
        assert index["digits"][0] == "READY"
        assert index["broken"][0] == "UNAVAILABLE" and "fc1.weight" in index["broken"][1]
        assert infer(client, "digits", digits()["x"]).shape == (450, 10)
        with pytest.raises(InferenceServerException) as raised:
            infer(client, "broken", digits()["x"])
        assert raised.value.status() == "StatusCode.UNAVAILABLE"
    metrics = server.get("/metrics")[1]
    assert 'mlpserve_model_load_failures_total{model="broken"} 1' in metrics


def test_reason_with_bytes_that_are_no_text_leaves_log_and_index_readable(repository, start):
    (repository / "raw/1").mkdir(parents=True)
    (repository / "raw/model.json").write_bytes(b'{"name": "\xff"}')
    (repository / "two\nlines/1").mkdir(parents=True)
    (repository / "two\nlines/model.json").write_text("{}")
    server = start(repository)
    with server.client() as client:
        index = {m.name: m for m in client.get_model_repository_index().models}
    assert set(index) == {"digits", "raw"}
    assert index["raw"].state == "UNAVAILABLE" and r"\xff" in index["raw"].reason
    dated = re.compile(r"\d{4}-\d\d-\d\d ")
    assert all(dated.match(line) for line in server.log().splitlines()), server.log()


def test_highest_version_that_loaded_serves_and_the_others_answer_for_themselves(repository, start):
    block = repository / "digits"
    shutil.copytree(block / "1", block / "2")
    (block / "10").mkdir()
    (block / "10/weights.safetensors").write_bytes(b"no header")
    config = json.loads((block / "model.json").read_text())
    config["version_policy"] = {"all": True}
    (block / "model.json").write_text(json.dumps(config))
    server = start(repository)
    row = triton.InferInput("x", [1, 64], "FP32")
    row.set_data_from_numpy(np.zeros((1, 64), np.float32))

    with server.client() as client:
        def answer(version):
            try:
                return client.infer("digits", [row], model_version=version).get_response()
            except InferenceServerException as error:
                return error

        assert answer("").model_version == "2"
        assert answer("1").model_version == "1"
        assert answer("10").status() == "StatusCode.UNAVAILABLE"
        assert "10/weights.safetensors" in answer("10").message()
        assert answer("3").status() == "StatusCode.NOT_FOUND"
        assert "1, 2, 10" in answer("3").message()
        assert client.get_model_metadata("digits").versions == ["1", "2"]


def test_connections_are_counted_on_every_address(repository, start, tmp_path):
    path = f"unix:{tmp_path}/socket"
    server = start(repository, "--grpc-address", path)

    def await_count(expected):
        line = f"mlpserve_connections {expected}\n"
        deadline = time.monotonic() + 10
        while line not in server.get("/metrics")[1]:
            assert time.monotonic() < deadline, line + server.get("/metrics")[1]
            time.sleep(0.02)

    await_count(0)
    own = [("grpc.use_local_subchannel_pool", 1)]
    clients = [triton.InferenceServerClient(address, channel_args=own)
               for address in (server.grpc_address, server.grpc_address, path)]
    for connected in clients:
        assert connected.is_server_live()
    await_count(3)
    for connected in clients:
        connected.close()
    await_count(0)


def test_strict_readiness_stays_unready_while_a_block_has_failed(repository, start):
    break_weights(repository)
    server = start(repository, "--strict-readiness", ready=False)
    server._await("(loaded 1 of 2)")
    status, reason = server.get("/readyz")
    assert status == 503 and "broken" in reason
    with server.client() as client:
        assert not client.is_server_ready()
        assert client.is_model_ready("digits")


def test_repository_without_blocks_is_never_ready(tmp_path, start):
    server = start(tmp_path, ready=False)
    server._await("(loaded 0 of 0)")
    assert server.get("/readyz")[0] == 503
    assert server.get("/healthz")[0] == 200


def test_weights_written_by_the_safetensors_package_are_served(tmp_path, start):
    rng = np.random.default_rng(3)
    weight, bias = rng.standard_normal((5, 7)), rng.standard_normal(5)
    folder = tmp_path / "models/written"
    (folder / "3").mkdir(parents=True)
    safetensors.numpy.save_file({"w": weight, "b": bias.astype(np.float16)},
                                folder / "3/weights.safetensors", metadata={"made": "by a test"})
    (folder / "model.json").write_text(json.dumps({
        "input": {"name": "x", "features": 7}, "output": {"name": "y", "features": 5},
        "layers": [{"name": "fc", "weight": "w", "bias": "b"}]}))
    x = rng.standard_normal((11, 7)).astype(np.float32)
    with start(tmp_path / "models").client() as client:
        expected = x.astype(np.float64) @ weight.T + bias.astype(np.float16).astype(np.float64)
        assert_close(infer(client, "written", x), expected)


def test_sigterm_answers_every_request_that_was_sent_before_it(repository, start):
    server = start(repository, "--drain-grace", "2")
    cases, answers = digits(), queue.Queue()
    with server.client() as client:
        tensor = triton.InferInput("x", [450, 64], "FP32")
        tensor.set_data_from_numpy(cases["x"])
        for index in range(200):
            client.async_infer("digits", [tensor],
                               callback=lambda result, error: answers.put((result, error)))
            if index == 100:
                server.process.send_signal(signal.SIGTERM)
        for _ in range(200):
            result, error = answers.get(timeout=30)
            assert error is None
            assert (result.as_numpy("logits").argmax(1) == cases["logits64"].argmax(1)).all()
    assert server.process.wait(30) == 0


def test_sigterm_during_a_load_ends_it_within_a_second(tmp_path, start):
    """Blocks that take several seconds to load, of which none is ready yet."""
    weight = np.zeros((2048, 2048), np.float16)
    for name in ("first", "second", "third"):
        (tmp_path / name / "1").mkdir(parents=True)
        safetensors.numpy.save_file({f"w{i}": weight for i in range(16)},
                                    tmp_path / name / "1/weights.safetensors")
        (tmp_path / name / "model.json").write_text(json.dumps({
            "input": {"name": "x", "features": 2048}, "output": {"name": "y", "features": 2048},
            "layers": [{"name": f"fc{i}", "weight": f"w{i}"} for i in range(16)]}))
    server = start(tmp_path, "--cpu-threads", "1", ready=False)
    assert server.get("/readyz")[0] == 503
    asked = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    assert time.monotonic() - asked < 1
    assert "block third/1 is ready" not in server.log()


def test_second_sigterm_skips_the_grace(repository, start):
    server = start(repository, "--drain-grace", "3600")
    server.process.send_signal(signal.SIGTERM)
    server._await("(draining)")
    assert server.get("/readyz")[0] == 503
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
