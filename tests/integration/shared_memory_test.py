"""System shared memory by the real tritonclient, and a client that takes its memory away."""

import os
import pathlib
import queue
import threading

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException

from conftest import DIGITS, Server, assert_close, digits

ROW, LOGITS = 64 * 4, 10 * 4  # bytes


@pytest.fixture(scope="module")
def sharing(tmp_path_factory):
    """One server with --shared-memory=system for the tests of this file."""
    server = Server(DIGITS, tmp_path_factory.mktemp("sharing") / "server.log", "--shared-memory", "system")
    yield server.await_ready()
    assert server.stop() == 0


class Region:
    """A region of the test's own memory, registered under its name."""

    def __init__(self, client, name, size):
        self.client, self.name = client, name
        self.key = f"/mlpserve_{os.getpid()}_{name}"
        self.handle = shm.create_shared_memory_region(name, self.key, size)
        client.register_system_shared_memory(name, self.key, size)

    def cut(self, size):
        os.truncate(pathlib.Path("/dev/shm") / self.key[1:], size)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.unregister_system_shared_memory(self.name)
        shm.destroy_shared_memory_region(self.handle)


def shared_input(region, rows, offset=0):
    tensor = triton.InferInput("x", [rows, 64], "FP32")
    tensor.set_shared_memory(region.name, rows * ROW, offset)
    return tensor


def shared_output(region, size, offset=0):
    output = triton.InferRequestedOutput("logits")
    output.set_shared_memory(region.name, size, offset)
    return output


def failure(call):
    with pytest.raises(InferenceServerException) as raised:
        call()
    return raised.value.status().removeprefix("StatusCode."), raised.value.message()


def test_rows_and_results_lie_in_shared_memory(sharing):
    cases = digits()
    with sharing.client() as client, Region(client, "in", 450 * ROW) as rows, \
            Region(client, "out", 1 << 20) as results:
        shm.set_shared_memory_region(rows.handle, [cases["x"]])
        for start, count in [(0, 1), (7, 20), (0, 450)]:
            answer = client.infer("digits", [shared_input(rows, count, start * ROW)],
                                  outputs=[shared_output(results, count * LOGITS, 4096)]).get_response()
            assert list(answer.raw_output_contents) == [b""]
            parameters = answer.outputs[0].parameters
            assert parameters["shared_memory_region"].string_param == "out"
            assert parameters["shared_memory_byte_size"].int64_param == count * LOGITS
            assert parameters["shared_memory_offset"].int64_param == 4096
            logits = shm.get_contents_as_numpy(results.handle, np.float32, [count, 10], 4096)
            assert_close(logits, cases["logits64"][start:start + count])


def test_either_may_lie_in_the_message(sharing):
    cases = digits()
    with sharing.client() as client, Region(client, "in", 8 * ROW) as rows, \
            Region(client, "out", 8 * LOGITS) as results:
        shm.set_shared_memory_region(rows.handle, [cases["x"][:8]])
        answer = client.infer("digits", [shared_input(rows, 8)])
        assert_close(answer.as_numpy("logits"), cases["logits64"][:8])
        plain = triton.InferInput("x", [8, 64], "FP32")
        plain.set_data_from_numpy(cases["x"][:8])
        client.infer("digits", [plain], outputs=[shared_output(results, 8 * LOGITS)])
        assert_close(shm.get_contents_as_numpy(results.handle, np.float32, [8, 10]), cases["logits64"][:8])


def test_a_stream_mixes_both(sharing):
    cases = digits()
    answers = queue.Queue()
    with sharing.client() as client, Region(client, "in", 100 * ROW) as rows, \
            Region(client, "out", 100 * LOGITS) as results:
        shm.set_shared_memory_region(rows.handle, [cases["x"][:100]])
        client.start_stream(lambda result, error: answers.put((result, error)))
        for index in range(100):
            outputs = [shared_output(results, LOGITS, index * LOGITS)] if index % 2 else None
            client.async_stream_infer("digits", [shared_input(rows, 1, index * ROW)], outputs=outputs)
        for index in range(100):
            result, error = answers.get(timeout=30)
            assert error is None
            if index % 2 == 0:
                assert_close(result.as_numpy("logits"), cases["logits64"][index:index + 1])
        client.stop_stream()
        logits = shm.get_contents_as_numpy(results.handle, np.float32, [100, 10])
        assert_close(logits[1::2], cases["logits64"][1:100:2])


def test_status_tells_what_is_registered(sharing):
    with sharing.client() as client:
        with Region(client, "in", 4096) as rows:
            status = client.get_system_shared_memory_status(as_json=True)["regions"]
            assert status == {"in": {"name": "in", "key": rows.key, "byte_size": "4096"}}
            assert failure(lambda: client.register_system_shared_memory("in", rows.key, 1)) == (
                "ALREADY_EXISTS", 'shared memory region "in": it is registered already')
            client.unregister_system_shared_memory()
            client.unregister_cuda_shared_memory()
        assert not client.get_system_shared_memory_status().regions
        assert not client.get_cuda_shared_memory_status().regions
        assert "system_shared_memory" in client.get_server_metadata().extensions


@pytest.mark.parametrize("name, key, offset, size, code, says", [
    ("in", "nothing_of_that_name", 0, 1, "NOT_FOUND", 'shared memory region "in": key "nothing_of_that_name"'),
    ("in", "../etc/passwd", 0, 1, "INVALID_ARGUMENT", 'found "../etc/passwd"'),
    ("in", "..", 0, 1, "INVALID_ARGUMENT", 'found ".."'),
    ("in", "a\0b", 0, 1, "INVALID_ARGUMENT", 'found "a\\x00b"'),
    ("in", "", 0, 1, "INVALID_ARGUMENT", 'found ""'),
    ("", "{key}", 0, 1, "INVALID_ARGUMENT", "expected a name of 1 to 255 bytes"),
    ("in", "{key}", 0, 0, "INVALID_ARGUMENT", "byte_size: expected 1 or more, found 0"),
    ("in", "{key}", 0, 101, "INVALID_ARGUMENT", "expected 101 bytes from offset 0 on, found a size of 100"),
    ("in", "{key}", 2**64 - 1, 2, "INVALID_ARGUMENT",
     "expected 2 bytes from offset 18446744073709551615 on, found a size of 100"),
    ("in", "{key}", 2**63, 2**63, "INVALID_ARGUMENT", "found a size of 100"),
])
def test_what_cannot_be_registered(sharing, name, key, offset, size, code, says):
    with sharing.client() as client, Region(client, "taken", 100) as taken:
        found, message = failure(lambda: client.register_system_shared_memory(
            name, key.replace("{key}", taken.key), size, offset))
        assert found == code and says in message, message


@pytest.mark.parametrize("size, offset, says", [
    (ROW, 2**63 - 1, "expected a range of its 512 bytes, found 256 bytes from offset 9223372036854775807 on"),
    (ROW, 257, "expected a range of its 512 bytes, found 256 bytes from offset 257 on"),
    (ROW, -1, '"shared_memory_offset": expected 0 or more, found -1'),
    (-1, 0, '"shared_memory_byte_size": expected 0 or more, found -1'),
    (2**63 - 1, 0, '"shared_memory_byte_size": expected 256 bytes for shape [1, 64], found 9223372036854775807'),
    (ROW - 1, 0, '"shared_memory_byte_size": expected 256 bytes for shape [1, 64], found 255'),
])
def test_ranges_that_no_region_has(sharing, size, offset, says):
    with sharing.client() as client, Region(client, "in", 2 * ROW):
        tensor = triton.InferInput("x", [1, 64], "FP32")
        tensor.set_shared_memory("in", size, offset)
        code, message = failure(lambda: client.infer("digits", [tensor]))
        assert code == "INVALID_ARGUMENT" and says in message, message


def test_a_client_that_cuts_its_memory_short_hurts_only_itself(sharing):
    """While another one asks; a server that had mapped it would be gone by SIGBUS."""
    cases = digits()
    wrong, ended = [], threading.Event()

    def other():
        with sharing.client() as client:
            while not ended.is_set():
                tensor = triton.InferInput("x", [3, 64], "FP32")
                tensor.set_data_from_numpy(cases["x"][:3])
                try:
                    assert_close(client.infer("digits", [tensor]).as_numpy("logits"), cases["logits64"][:3])
                except Exception as error:  # pylint: disable=broad-except
                    wrong.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    try:
        with sharing.client() as client, Region(client, "in", 4096 * ROW) as rows, \
                Region(client, "out", 4096 * LOGITS) as results:
            for _ in range(100):
                rows.cut(0)
                code, message = failure(lambda: client.infer("digits", [shared_input(rows, 4096)]))
                assert code == "INVALID_ARGUMENT" and f"expected the {4096 * ROW} bytes" in message, message
                rows.cut(4096 * ROW)
                results.cut(1)
                code, message = failure(lambda: client.infer(
                    "digits", [shared_input(rows, 4096)], outputs=[shared_output(results, 4096 * LOGITS)]))
                assert code == "INVALID_ARGUMENT" and 'region "out"' in message, message
                results.cut(4096 * LOGITS)
    finally:
        ended.set()
        thread.join()
    assert not wrong and sharing.process.poll() is None


def test_memory_that_comes_and_goes_while_batches_run(sharing):
    """One thread cuts and restores, registers and unregisters; whatever the requests get, the server lives."""
    with sharing.client() as client, Region(client, "in", 4096 * ROW) as rows, \
            Region(client, "out", 4096 * LOGITS) as results:
        codes, lock = {}, threading.Lock()

        def ask():
            with sharing.client() as own:
                for _ in range(100):
                    code = "OK"
                    try:
                        own.infer("digits", [shared_input(rows, 4096)],
                                  outputs=[shared_output(results, 4096 * LOGITS)])
                    except InferenceServerException as error:
                        code = error.status().removeprefix("StatusCode.")
                    with lock:
                        codes[code] = codes.get(code, 0) + 1

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            for region, size in ((rows, 4096 * ROW), (results, 4096 * LOGITS)):
                region.cut(size // 2)
                region.cut(size)
                client.unregister_system_shared_memory(region.name)
                client.register_system_shared_memory(region.name, region.key, size)
        assert set(codes) <= {"OK", "INVALID_ARGUMENT", "NOT_FOUND"} and sum(codes.values()) == 400, codes
    assert sharing.process.poll() is None


def test_memory_of_a_gpu_needs_a_server_that_computes_on_one(start):
    server = start(DIGITS, "--shared-memory", "all")
    assert "any client can have memory of this machine read and written" in server.log()
    assert "memory of a GPU cannot be registered" in server.log()
    with server.client() as client:
        code, message = failure(lambda: client.register_cuda_shared_memory("gpu", bytes(64), 0, 1))
        assert code == "FAILED_PRECONDITION" and "--backend=cuda" in message
        extensions = client.get_server_metadata().extensions
        assert "system_shared_memory" in extensions and "cuda_shared_memory" not in extensions


def test_without_the_flag_it_is_named(shared_server):
    with shared_server.client() as client:
        for call in (lambda: client.register_system_shared_memory("in", "key", 1),
                     client.get_system_shared_memory_status, client.unregister_cuda_shared_memory):
            code, message = failure(call)
            assert code == "FAILED_PRECONDITION" and "--shared-memory=" in message
        tensor = triton.InferInput("x", [1, 64], "FP32")
        tensor.set_shared_memory("in", ROW)
        code, message = failure(lambda: client.infer("digits", [tensor]))
        assert code == "FAILED_PRECONDITION" and "--shared-memory=" in message
