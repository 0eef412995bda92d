"""Every row of hostile_requests.py and hostile_methods.py, sent as its bytes to a real server: exact
code and message."""

import json

import grpc
import numpy as np
import pytest
import safetensors.numpy

import hostile_methods
from conftest import Server
from hostile_requests import table
from wire import chunk, number

ROWS = list(table())
METHODS = list(hostile_methods.table())
CONTROL = list(hostile_methods.rows_of_control())
STREAMS = list(hostile_methods.streams())


def write_block(folder, datatype):
    (folder / "1").mkdir(parents=True)
    safetensors.numpy.save_file({"w": np.ones((2, 4), np.float32)},
                                folder / "1/weights.safetensors")
    (folder / "model.json").write_text(json.dumps({
        "input": {"name": "x", "features": 4, "datatype": datatype},
        "output": {"name": "y", "features": 2, "datatype": datatype},
        "layers": [{"name": "fc", "weight": "w"}], "batching": {"priority_levels": 2}}))


def write_repository(folder):
    """The blocks that the tables speak of."""
    write_block(folder / "b", "FP32")
    write_block(folder / "h", "FP16")
    (folder / "broken/1").mkdir(parents=True)
    (folder / "broken/model.json").write_text("{")
    return folder


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return write_repository(tmp_path_factory.mktemp("hostile") / "models")


@pytest.fixture(scope="module")
def server(repository):
    started = Server(repository, repository.parent / "server.log").await_ready()
    yield started
    assert started.stop() == 0


def caller(server):
    """call(method, message): code and message of the answer to these bytes."""
    channel = grpc.insecure_channel(server.grpc_address, options=[
        ("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)])

    def call(method, message):
        try:
            channel.unary_unary(method)(message, timeout=10)
        except grpc.RpcError as error:
            return error.code().name, error.details()
        return "OK", ""

    return call


@pytest.fixture(scope="module")
def call(server):
    return caller(server)


@pytest.fixture(scope="module")
def infer(call):
    """Sends bytes as a ModelInferRequest: code and message."""
    return lambda message: call("/inference.GRPCInferenceService/ModelInfer", message)


def test_there_are_enough_of_them_and_each_is_another():
    assert len(ROWS) >= 150 and len(METHODS) >= 150 and len(CONTROL) >= 25
    for rows in (METHODS, CONTROL):
        assert len({(method, message) for _, method, message, *_ in rows}) == len(rows)
    assert len({name for name, *_ in ROWS}) == len(ROWS)
    assert len({message for _, message, *_ in ROWS}) >= len(ROWS) - 10


def test_each_is_answered_with_its_code_and_message(infer):
    wrong = []
    for name, message, code, text in ROWS:
        answer = infer(message)
        if answer != (code, text):
            wrong.append(f"{name}:\n  expected {(code, text)}\n  found    {answer}")
    assert not wrong, "\n".join(wrong)


def check(rows, call, repository):
    wrong = []
    for name, method, message, code, text in rows:
        answer, expected = call(method, message), (code, text.replace("{repository}", str(repository)))
        if answer != expected:
            wrong.append(f"{name}:\n  expected {expected}\n  found    {answer}")
    assert not wrong, "\n".join(wrong)


def test_every_method_answers_each_with_its_code_and_message(server, call, repository):
    check(METHODS, call, repository)
    assert call(*METHODS[0][1:3])[0] != "OK"
    assert "libprotobuf" not in server.log(), "strangers write into the log"


def test_what_clients_ask_to_load_wrongly_leaves_what_serves(repository, tmp_path):
    controlled = Server(repository, tmp_path / "log", "--model-control", "explicit", "--load-model",
                        "*").await_ready()
    call = caller(controlled)
    check(CONTROL, call, repository)
    assert call("/inference.GRPCInferenceService/ModelInfer", hostile_methods.GOOD) == ("OK", "")
    assert controlled.stop() == 0


def test_a_stream_answers_each_in_its_place_and_goes_on(server):
    def answers(messages):
        with grpc.insecure_channel(server.grpc_address) as channel:
            stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
            return list(stream(iter(messages), timeout=30))

    good = answers([hostile_methods.GOOD])
    assert len(good) == 1 and good[0][:1] == chunk(2, b"")[:1], "an answer and no error"
    messages = [message for _, bad, *_ in STREAMS for message in (bad, hostile_methods.GOOD)]
    found = answers(messages)
    assert found[1::2] == good * len(STREAMS)
    for (what, _, request_id, code, text), answer in zip(STREAMS, found[::2]):
        named = chunk(3, request_id) if request_id else b""
        status = chunk(4, chunk(1, "grpc_status") + chunk(2, number(2, code)))
        assert answer == chunk(1, text) + chunk(2, named + status), what


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
