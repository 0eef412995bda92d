"""Every row of hostile_requests.py, sent as its bytes to a real server: exact code and message."""

import json

import grpc
import numpy as np
import pytest
import safetensors.numpy

from conftest import Server
from hostile_requests import table

ROWS = list(table())


def write_block(folder, datatype):
    (folder / "1").mkdir(parents=True)
    safetensors.numpy.save_file({"w": np.ones((2, 4), np.float32)},
                                folder / "1/weights.safetensors")
    (folder / "model.json").write_text(json.dumps({
        "input": {"name": "x", "features": 4, "datatype": datatype},
        "output": {"name": "y", "features": 2, "datatype": datatype},
        "layers": [{"name": "fc", "weight": "w"}], "batching": {"priority_levels": 2}}))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    write_block(folder / "models/b", "FP32")
    write_block(folder / "models/h", "FP16")
    started = Server(folder / "models", folder / "server.log").await_ready()
    yield started
    assert started.stop() == 0


@pytest.fixture(scope="module")
def infer(server):
    """Sends bytes as a ModelInferRequest: code and message."""
    with grpc.insecure_channel(server.grpc_address,
                               options=[("grpc.max_receive_message_length", -1)]) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")

        def send(message):
            try:
                call(message, timeout=10)
            except grpc.RpcError as error:
                return error.code().name, error.details()
            return "OK", ""

        yield send


def test_there_are_enough_of_them_and_each_is_another():
    assert len(ROWS) >= 150
    assert len({name for name, *_ in ROWS}) == len(ROWS)
    assert len({message for _, message, *_ in ROWS}) >= len(ROWS) - 10


def test_each_is_answered_with_its_code_and_message(infer):
    wrong = []
    for name, message, code, text in ROWS:
        answer = infer(message)
        if answer != (code, text):
            wrong.append(f"{name}:\n  expected {(code, text)}\n  found    {answer}")
    assert not wrong, "\n".join(wrong)


def test_they_are_counted_by_code(server, infer):
    def failures():
        text = server.get("/metrics")[1]
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if line.startswith("mlpserve_request_failures_total{"))

    before = failures()
    sent = [message for _, message, code, _ in ROWS if code != "OK"][::10]
    for message in sent:
        infer(message)
    assert failures() - before == len(sent)


def test_a_message_that_is_too_long_is_counted_and_the_flag_named(tmp_path):
    write_block(tmp_path / "models/b", "FP32")
    server = Server(tmp_path / "models", tmp_path / "log", "--max-message-bytes", "1000000")
    server.await_ready()
    with grpc.insecure_channel(server.grpc_address) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as refused:
            call(bytes(1_000_001), timeout=10)
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused.value.details() == ("expected a request of at most 1000000 bytes "
                                       "(--max-message-bytes), found 1000001")
    assert ('mlpserve_request_failures_total{code="RESOURCE_EXHAUSTED"} 1'
            in server.get("/metrics")[1])
    assert server.stop() == 0
