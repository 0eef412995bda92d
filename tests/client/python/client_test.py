"""The synchronous client, against a real mlpserve and against servers that misbehave on purpose."""

import pickle
import threading
import time

import grpc
import numpy as np
import pytest
import test_server
from conftest import integration

import mlpserve
from mlpserve import messages


@pytest.fixture
def client(digits_server):
    with mlpserve.Client(digits_server.grpc_address) as connected:
        yield connected


def failure(call):
    with pytest.raises(mlpserve.ServerError) as raised:
        call()
    return raised.value


def test_digits_are_classified(client, digits):
    logits = client.infer("digits", digits["x"])
    assert logits.dtype == np.float32 and logits.shape == (450, 10)
    integration.assert_close(logits, digits["logits64"])


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, np.int32, bool, list])
def test_rows_of_any_real_type_are_rounded_to_the_blocks(client, kind, random):
    x = random.integers(0, 2, (3, 64))
    given = x.tolist() if kind is list else x.astype(kind)
    assert (client.infer("digits", given) == client.infer("digits", x.astype(np.float32))).all()


class Tensor:
    """What a tensor of PyTorch does here: numpy refuses it while it has a gradient, lies on a GPU or is BF16."""

    def __init__(self, values, has_gradient=True, place="cuda", dtype="torch.bfloat16"):
        self.values, self.has_gradient, self.place, self.dtype = values, has_gradient, place, dtype

    def detach(self):
        return Tensor(self.values, False, self.place, self.dtype)

    def cpu(self):
        return Tensor(self.values, self.has_gradient, "cpu", self.dtype)

    def float(self):
        return Tensor(self.values, self.has_gradient, self.place, "torch.float32")

    def __array__(self, dtype=None, copy=None):
        if self.has_gradient:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        if self.place != "cpu" or self.dtype == "torch.bfloat16":
            raise TypeError(f"can't convert {self.place} {self.dtype}")
        return self.values


def test_rows_may_be_a_tensor_wherever_it_lies(client, digits):
    x = digits["x"][:3]
    assert (client.infer("digits", Tensor(x)) == client.infer("digits", x)).all()


@pytest.mark.parametrize("x, says", [
    ([[1, 2], [3]], "'x': expected numbers"),
    ("abc", "expected numbers"),
    (None, "expected numbers"),
    (np.ones(64), r"expected 'x' \[rows, 64\], found \[64\]"),
])
def test_what_is_no_matrix_of_numbers_is_refused(client, x, says):
    with pytest.raises(mlpserve.MlpserveError, match=says):
        client.infer("digits", x)


def test_rows_that_do_not_lie_in_order_are_copied(client, digits):
    x = digits["x"][:6]
    expected = client.infer("digits", x)
    assert (client.infer("digits", np.asfortranarray(x)) == expected).all()
    assert (client.infer("digits", digits["x"][:12:2]) == client.infer("digits", digits["x"][:12:2].copy())).all()


def test_bfloat16_and_half_go_over_the_wire(start, tmp_path, random):
    import onnx_models
    for datatype in ("FP16", "BF16"):
        mlpserve.export(onnx_models.make("gemm_relu_gemm"), tmp_path / "models" / datatype, input_datatype=datatype,
                        output_datatype=datatype)
    with mlpserve.Client(start(tmp_path / "models").grpc_address) as client:
        x = random.integers(-8, 8, (5, 20)).astype(np.float32)
        assert client.infer("FP16", x).dtype == np.float16
        assert client.infer("BF16", x).dtype == np.float32
        assert client.infer("BF16", x) == pytest.approx(client.infer("FP16", x), rel=0.02, abs=0.02)


def test_what_the_server_says_of_itself(client):
    assert client.live() and client.ready() and client.block_ready("digits")
    client.wait_until_ready(5)
    assert client.server().name == "mlpserve" and "statistics" in client.server().extensions
    assert mlpserve.BlockState("digits", "1", "READY", "") in client.blocks()
    info = client.describe("digits")
    assert info.versions == ("1",)
    assert info.input == mlpserve.TensorInfo("x", "FP32", (-1, 64))
    assert info.output == mlpserve.TensorInfo("logits", "FP32", (-1, 10))


@pytest.mark.parametrize("call, code, says", [
    (lambda c: c.infer("nobody", np.ones((1, 64))), "NOT_FOUND", ["nobody"]),
    (lambda c: c.infer("digits", np.ones((1, 64)), version="7"), "NOT_FOUND", ["digits version 7"]),
    (lambda c: c.infer("digits", np.ones((1, 63))), "INVALID_ARGUMENT", ["x", "64", "63"]),
    (lambda c: c.infer("digits", np.ones((0, 64))), "INVALID_ARGUMENT", ["x"]),
    (lambda c: list(c.stream("nobody", [])), "NOT_FOUND", ["nobody"]),
])
def test_errors_say_what_the_server_said(client, call, code, says):
    error = failure(lambda: call(client))
    assert error.code.name == code and client.address in str(error) and code in str(error)
    for word in says:
        assert word in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("x, says", [
    (np.ones(64), r"expected 'x' \[rows, 64\], found \[64\]"),
    (np.ones((1, 2, 64)), r"found \[1, 2, 64\]"),
    (np.array([["a"] * 64]), "expected numbers for 'x', found <U1"),
    (np.ones((1, 64), complex), "expected numbers for 'x', found complex128"),
])
def test_what_is_no_matrix_of_numbers_is_refused_before_it_is_sent(client, x, says):
    with pytest.raises(mlpserve.MlpserveError, match=says):
        client.infer("digits", x)


def test_parameters_go_with_the_request():
    asked = []

    def keep(request, context):
        asked.append(request)
        return test_server.doubled(request)

    with test_server.running(infer=keep) as address, mlpserve.Client(address) as client:
        client.infer("block", [[1, 2]], version="3", priority=2, queue_timeout=0.5, request_id="seven")
        client.infer("block", [[1, 2]])
        with pytest.raises(mlpserve.MlpserveError, match="a priority of at least 0, found -1"):
            client.infer("block", [[1, 2]], priority=-1)
    first, second = asked
    assert (first.model_version, first.id) == ("3", "seven")
    assert first.parameters["priority"].uint64_param == 2 and first.parameters["timeout"].int64_param == 500_000
    assert not second.parameters


def test_a_server_that_is_not_there_is_unavailable():
    with mlpserve.Client("127.0.0.1:1", timeout=5) as client:
        started = time.monotonic()
        error = failure(client.live)
    assert error.code is grpc.StatusCode.UNAVAILABLE and "127.0.0.1:1" in str(error)
    assert time.monotonic() - started < 5
    with mlpserve.Client("127.0.0.1:1") as client:
        assert failure(lambda: client.wait_until_ready(0.3)).code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_closed_client_says_so(digits_server):
    client = mlpserve.Client(digits_server.grpc_address)
    client.close()
    with pytest.raises(mlpserve.MlpserveError, match="closed"):
        client.live()


def test_many_threads_share_a_client(client, digits):
    expected = client.infer("digits", digits["x"])
    wrong = []

    def ask(offset):
        for row in range(offset, 450, 8):
            if not np.allclose(client.infer("digits", digits["x"][row:row + 1]), expected[row:row + 1], atol=1e-4):
                wrong.append(row)

    threads = [threading.Thread(target=ask, args=(offset,)) for offset in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_deadline_covers_the_call():
    def slow(request, context):
        time.sleep(2)
        return test_server.doubled(request)

    with test_server.running(infer=slow) as address, mlpserve.Client(address, timeout=0.3) as client:
        started = time.monotonic()
        error = failure(lambda: client.infer("block", [[1, 2]]))
        assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED and time.monotonic() - started < 1.5


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_what_the_policy_names_is_asked_for_again_large_requests_too(code):
    asked = []

    def fails_twice(request, context):
        asked.append(len(request.raw_input_contents[0]))
        if len(asked) < 3:
            context.abort(grpc.StatusCode[code], "not now")
        return test_server.doubled(request)

    x = np.ones((100_000, 2), np.float32)
    with test_server.running(infer=fails_twice) as address, mlpserve.Client(address) as client:
        assert (client.infer("block", x) == 2).all()
    assert asked == [800_000] * 3


@pytest.mark.parametrize("retry, code", [
    (None, "UNAVAILABLE"), (mlpserve.Retry(attempts=1), "UNAVAILABLE"), (mlpserve.Retry(), "INVALID_ARGUMENT")])
def test_the_rest_is_not(retry, code):
    asked = []

    def fails(request, context):
        asked.append(1)
        context.abort(grpc.StatusCode[code], "no")

    with test_server.running(infer=fails) as address, mlpserve.Client(address, retry=retry) as client:
        error = failure(lambda: client.infer("block", [[1, 2]]))
    assert error.code.name == code and error.details == "no" and asked == [1]


@pytest.mark.parametrize("options, says", [
    ({"attempts": 6}, "Retry.attempts: expected 1 to 5, found 6"),
    ({"first_wait": 2.0}, "Retry.first_wait"), ({"codes": ()}, "Retry.codes: expected at least one")])
def test_policies_are_checked(options, says):
    with pytest.raises(mlpserve.MlpserveError, match=says):
        mlpserve.Retry(**options)


def test_several_servers_are_asked_in_turn():
    counts = [0, 0]

    def counting(index):
        def infer(request, context):
            counts[index] += 1
            return test_server.doubled(request)
        return infer

    with test_server.running(infer=counting(0)) as one, test_server.running(infer=counting(1)) as two:
        with mlpserve.Client([one, two]) as client:
            client.describe("block")
            time.sleep(0.2)  # until both connections stand
            for _ in range(40):
                client.infer("block", [[1, 2]])
    assert sum(counts) == 40 and min(counts) >= 15


@pytest.mark.parametrize("address, says", [
    ("", "expected host:port"), ("8001", "found '8001'"), ("http://a:1", "expected host:port"),
    ("a", "expected host:port"), ("a:", "expected host:port"), ("a:0", "expected host:port"),
    ("a:65536", "expected host:port"), ("::1:8001", "expected host:port"), ("unix:", "expected host:port"),
    ([], "expected at least one"), (["a:1", "b:2"], "dns:///name:port")])
def test_addresses_are_checked(address, says):
    with pytest.raises(mlpserve.MlpserveError, match=says):
        mlpserve.Client(address)


def test_a_stream_answers_in_order_whatever_the_servers_is():
    def backwards_in_pairs(requests, context):
        held = []
        for request in requests:
            held.append(messages.StreamResponse(infer_response=test_server.doubled(request)))
            if len(held) == 2:
                yield from reversed(held)
                held = []

    with test_server.running(stream=backwards_in_pairs) as address, mlpserve.Client(address) as client:
        found = list(client.stream("block", ([[i, i]] for i in range(10))))
    assert [y[0, 0] for y in found] == [2 * i for i in range(10)]


def test_a_request_that_fails_ends_the_stream_with_its_error():
    def third_fails(requests, context):
        for number, request in enumerate(requests):
            answer = messages.StreamResponse(infer_response=test_server.doubled(request))
            if number == 2:
                answer.error_message = "queue full"
            yield answer

    with test_server.running(stream=third_fails) as address, mlpserve.Client(address) as client:
        answers = client.stream("block", ([[i, i]] for i in range(5)))
        assert [next(answers)[0, 0], next(answers)[0, 0]] == [0, 2]
        error = failure(lambda: next(answers))
    assert "queue full" in str(error) and "request 2" in str(error)


def test_mlpserve_answers_a_stream_and_tells_the_code_of_a_failure(digits_server):
    cases = [np.full((rows, 64), rows, np.float32) for rows in (1, 7, 3)]
    with mlpserve.Client(digits_server.grpc_address) as client:
        found = list(client.stream("digits", cases))
        for x, y in zip(cases, found):
            np.testing.assert_allclose(y, client.infer("digits", x), rtol=1e-5)
        assert len(found) == 3
        over = threading.Event()

        def unended():
            yield cases[0]
            over.wait(60)

        error = failure(lambda: list(client.stream("digits", unended(), timeout=0.1)))
        over.set()
        assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_failure_on_a_stream_has_the_code_that_the_server_tells():
    def refuses(requests, context):
        for request in requests:
            answer = messages.StreamResponse(error_message="full")
            answer.infer_response.id = request.id
            answer.infer_response.parameters["grpc_status"].int64_param = 8
            yield answer

    with test_server.running(stream=refuses) as address, mlpserve.Client(address) as client:
        error = failure(lambda: list(client.stream("block", [[[1, 2]]])))
    assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_server_without_streams_says_so():
    with test_server.running() as address, mlpserve.Client(address) as client:
        assert failure(lambda: list(client.stream("block", [[[1, 2]]]))).code is grpc.StatusCode.UNIMPLEMENTED


def test_a_stream_that_is_left_early_is_cancelled():
    ended = threading.Event()

    def endless(requests, context):
        context.add_callback(ended.set)
        for request in requests:
            yield messages.StreamResponse(infer_response=test_server.doubled(request))

    def forever():
        while not ended.is_set():
            yield [[1, 2]]
            time.sleep(0.01)

    with test_server.running(stream=endless) as address, mlpserve.Client(address) as client:
        answers = client.stream("block", forever())
        next(answers)
        answers.close()
        assert ended.wait(5)


def test_an_answer_that_contradicts_itself_is_refused():
    def short(request, context):
        answer = test_server.doubled(request)
        answer.raw_output_contents[0] = b"123"
        return answer

    with test_server.running(infer=short) as address, mlpserve.Client(address) as client:
        with pytest.raises(mlpserve.MlpserveError, match=r"expected 8 bytes for FP32 \[1, 2\], found 3"):
            client.infer("block", [[1, 2]])


def test_a_block_that_has_changed_is_described_again():
    names = ["old", "new"]

    def changed(request, context):
        answer = test_server.metadata(request, context)
        answer.inputs[0].name = names[0]
        return answer

    def infer(request, context):
        if request.inputs[0].name != names[0]:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"expected {names[0]}")
        return test_server.doubled(request)

    with test_server.running(infer=infer, describe=changed) as address, mlpserve.Client(address) as client:
        client.infer("block", [[1, 2]])
        names.pop(0)
        assert failure(lambda: client.infer("block", [[1, 2]])).details == "expected new"
        client.infer("block", [[1, 2]])


def test_tritonclient_may_be_loaded_beside_it(client):
    import tritonclient.grpc as triton
    with triton.InferenceServerClient(client.address) as other:
        assert other.is_server_live() and client.live()
