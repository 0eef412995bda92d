"""The real tritonclient from PyPI against a running server, nothing changed on its side."""

import asyncio
import queue
import re

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as aio
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase)
from tritonclient.utils import InferenceServerException

from conftest import GOLDENS, assert_close, digits, golden, infer

CASES = sorted(path.parent.name for path in GOLDENS.glob("*/model.json"))


def failure(call):
    with pytest.raises(InferenceServerException) as raised:
        call()
    return raised.value.status(), raised.value.message()


def test_server_is_live_and_ready(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("digits") and client.is_model_ready("digits", "1")


def test_the_server_says_what_computes_as_its_log_and_its_metric_do(shared_server, client):
    metadata = client.get_server_metadata()
    assert metadata.name == "mlpserve"
    computes = re.search(r"computing on (.+)", shared_server.log()).group(1)
    assert re.fullmatch(r".+, [\w-]+, \d+ threads?", computes), "processor, instruction set, threads"
    assert f"computes_on({computes})" in metadata.extensions
    assert f'devices="{computes}"' in shared_server.get("/metrics")[1]


@pytest.mark.parametrize("name", CASES)
def test_golden_block_answers_as_pytorch_does_in_float64(client, name):
    x, y = golden(name)
    assert_close(infer(client, name, x), y)


def test_digits_are_classified_as_the_float64_oracle_classifies_them(client):
    cases = digits()
    for rows in (1, 7, 64, 450):
        logits = np.concatenate([infer(client, "digits", cases["x"][i:i + rows])
                                 for i in range(0, 450, rows)])
        assert (logits.argmax(1) == cases["logits64"].argmax(1)).all()
        assert (logits.argmax(1) == cases["label"]).mean() == pytest.approx(0.971, abs=5e-4)


def test_requests_in_flight_at_once_get_their_own_rows(client):
    cases = digits()
    answers = queue.Queue()
    sizes = [1, 3, 17, 100, 2, 64, 5] * 20
    for index, rows in enumerate(sizes):
        start = (index * 37) % (450 - rows)
        tensor = triton.InferInput("x", [rows, 64], "FP32")
        tensor.set_data_from_numpy(cases["x"][start:start + rows])
        client.async_infer(
            "digits", [tensor], request_id=str(index),
            callback=lambda result, error, at=start, n=rows: answers.put((result, error, at, n)))
    for _ in sizes:
        result, error, start, rows = answers.get(timeout=30)
        assert error is None
        assert_close(result.as_numpy("logits"), cases["logits64"][start:start + rows])


def test_metadata_and_config_describe_the_block(client):
    metadata = client.get_model_metadata("digits")
    assert (metadata.name, list(metadata.versions)) == ("digits", ["1"])
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [("x", "FP32", [-1, 64])]
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.outputs] == [
        ("logits", "FP32", [-1, 10])]
    config = client.get_model_config("digits").config
    assert config.max_batch_size == 4096
    assert (config.input[0].name, list(config.input[0].dims)) == ("x", [64])


def test_statistics_count_each_request_once(client):
    def counted():
        stats = client.get_inference_statistics("one_by_one").model_stats[0]
        return stats.inference_stats.queue.count, stats.inference_count, stats.execution_count

    before = counted()
    infer(client, "one_by_one", np.ones((5, 1), np.float32))
    after = counted()
    assert [b - a for a, b in zip(before, after)] == [1, 5, 1]


def test_repository_index_lists_every_block_as_ready(client):
    index = {model.name: model.state for model in client.get_model_repository_index().models}
    assert index == dict.fromkeys([*CASES, "digits"], "READY")


@pytest.mark.parametrize("call, code, says", [
    (lambda c: infer(c, "nobody", np.ones((1, 64), np.float32)), "NOT_FOUND", ["nobody"]),
    (lambda c: infer(c, "digits", np.ones((1, 64), np.float32), model_version="7"), "NOT_FOUND",
     ["digits", "7"]),
    (lambda c: infer(c, "digits", np.ones((1, 64), np.float32), model_version="new"),
     "INVALID_ARGUMENT", ["new"]),
    (lambda c: infer(c, "digits", np.ones((1, 63), np.float32)), "INVALID_ARGUMENT",
     ["x", "64", "63"]),
    (lambda c: infer(c, "digits", np.ones((0, 64), np.float32)), "INVALID_ARGUMENT", ["x", "0"]),
    (lambda c: infer(c, "digits", np.ones((1, 64), np.float16), datatype="FP16"),
     "INVALID_ARGUMENT", ["x", "FP32", "FP16"]),
    (lambda c: infer(c, "scale_batchnorm_train", np.ones((1, 72), np.float32)),
     "INVALID_ARGUMENT", ["2"]),
    (lambda c: c.load_model("digits"), "FAILED_PRECONDITION", ["--model-control=explicit"]),
])
def test_wrong_request_gets_one_clear_error(client, call, code, says):
    status, message = failure(lambda: call(client))
    assert status == f"StatusCode.{code}", message
    for word in says:
        assert word in message


def test_nan_stays_in_its_row(client):
    x = digits()["x"][:9].copy()
    x[4, 10] = np.nan
    logits = infer(client, "digits", x)
    assert np.isnan(logits[4]).all()
    assert np.isfinite(np.delete(logits, 4, axis=0)).all()


def rows_input(rows):
    tensor = triton.InferInput("x", rows.shape, "FP32")
    tensor.set_data_from_numpy(rows)
    return tensor


def test_what_is_not_there_is_not_ready(client):
    assert not client.is_model_ready("nobody") and not client.is_model_ready("digits", "7")


def test_a_stream_answers_in_order_with_errors_in_their_place(shared_server):
    answers = queue.Queue()
    with shared_server.client() as streaming:
        streaming.start_stream(lambda result, error: answers.put((result, error)))
        for index in range(300):
            streaming.async_stream_infer("nobody" if index == 7 else "digits",
                                         [rows_input(digits()["x"][index:index + 1])],
                                         request_id=str(index),
                                         enable_empty_final_response=index % 2 == 0)
        for index in range(300):
            result, error = answers.get(timeout=30)
            if index == 7:
                assert "nobody" in error.message()
                continue
            assert error is None
            response = result.get_response()
            assert response.id == str(index)
            assert ("triton_final_response" in response.parameters) == (index % 2 == 0)
            assert_close(result.as_numpy("logits"), digits()["logits64"][index:index + 1])
        streaming.stop_stream()
    assert answers.empty()


def test_the_aio_client_asks_and_streams(shared_server):
    async def run():
        async with aio.InferenceServerClient(shared_server.grpc_address) as asynchronous:
            x = digits()["x"]
            result = await asynchronous.infer("digits", [rows_input(x[:5])])
            assert_close(result.as_numpy("logits"), digits()["logits64"][:5])

            async def requests():
                for index in range(50):
                    yield {"model_name": "digits", "inputs": [rows_input(x[index:index + 1])],
                           "request_id": str(index)}

            ids = []
            async for result, error in asynchronous.stream_infer(requests()):
                assert error is None
                ids.append(result.get_response().id)
            assert ids == [str(index) for index in range(50)]

    asyncio.run(run())


def test_trace_and_log_settings_are_answered_as_triton_names_them(client):
    trace = client.get_trace_settings(as_json=True)["settings"]
    assert trace["trace_level"]["value"] == ["OFF"]
    status, message = failure(
        lambda: client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]}))
    assert status == "StatusCode.UNIMPLEMENTED" and "trace_level" in message
    log = client.get_log_settings(as_json=True)["settings"]
    assert log["log_info"]["bool_param"] and log["log_verbose_level"]["uint32_param"] == 0
    changed = client.update_log_settings({"log_verbose_level": 1}, as_json=True)["settings"]
    assert changed["log_verbose_level"]["uint32_param"] == 1
    client.update_log_settings({"log_verbose_level": 0})


def test_reflection_tells_a_generic_client_services_and_messages(shared_server):
    with grpc.insecure_channel(shared_server.grpc_address) as channel:
        reflected = ProtoReflectionDescriptorDatabase(channel)
        assert "inference.GRPCInferenceService" in reflected.get_services()
        pool = DescriptorPool(reflected)
        service = pool.FindServiceByName("inference.GRPCInferenceService")
        assert service.FindMethodByName("ModelInfer").input_type.name == "ModelInferRequest"
