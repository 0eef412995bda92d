"""--grpc-compression with real clients: who gets compressed answers, whose requests are taken, and
what a message may cost that inflates to a thousand times its size."""

import gzip
import socket
import struct
import threading
import time
import zlib

import grpc
import pytest
from tritonclient.utils import InferenceServerException

import attacks
from conftest import DIGITS, Server, assert_close, digits, infer
from memory_test import MB, process_status, resident_bytes
from wire import chunk, raw, request, shape

ROWS = 400
DIGITS_REQUEST = request(chunk(5, chunk(1, "x") + chunk(2, "FP32") + shape(ROWS, 64)),
                         raw(ROWS * 64 * 4), model="digits")
METADATA = "/inference.GRPCInferenceService/ModelMetadata"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
PADDING = chunk(1000, bytes(1000))  # a field that nobody knows, worth compressing
NO_LIMIT = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1)]
ALGORITHMS = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
REFUSED = ("expected a message that is not compressed, as the server was started without "
           "--grpc-compression, found one compressed with ")


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """A server for each value of the flag."""
    folder = tmp_path_factory.mktemp("compression")
    started = {name: Server(DIGITS, folder / f"{name}.log", "--grpc-compression", name)
               for name in ("none", "gzip", "deflate")}
    for server in started.values():
        server.await_ready()
    yield started
    assert {server.stop() for server in started.values()} == {0}


class Relay:
    """A connection to the server that counts the bytes of each side."""

    def __init__(self, address):
        self._to = attacks.connect(address, 30)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.sent = self.received = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        client, _ = self._listener.accept()
        threading.Thread(target=self._copy, args=(client, self._to, "sent"), daemon=True).start()
        self._copy(self._to, client, "received")

    def _copy(self, source, to, count):
        try:
            while piece := source.recv(1 << 16):
                setattr(self, count, getattr(self, count) + len(piece))
                to.sendall(piece)
        except OSError:
            pass


def call(address, message, compression=None, method=attacks.INFER):
    """The answer, or (code, message) of what failed."""
    with grpc.insecure_channel(address, options=NO_LIMIT) as channel:
        try:
            return channel.unary_unary(method)(message, timeout=30, compression=compression)
        except grpc.RpcError as error:
            return error.code().name, error.details()


@pytest.mark.parametrize("kind", ALGORITHMS)
@pytest.mark.parametrize("flag", ALGORITHMS)
def test_both_sides_are_compressed_and_say_the_same(servers, flag, kind):
    plain = call(servers["none"].grpc_address, DIGITS_REQUEST)
    assert len(plain) > ROWS * 10 * 4
    relay = Relay(servers[flag].grpc_address)
    assert call(relay.address, DIGITS_REQUEST, ALGORITHMS[kind]) == plain
    assert relay.sent < len(DIGITS_REQUEST) / 20
    assert relay.received < len(plain) / 5


def test_without_the_flag_answers_are_plain(servers):
    relay = Relay(servers["none"].grpc_address)
    answer = call(relay.address, DIGITS_REQUEST)
    assert relay.received > len(answer)


@pytest.mark.parametrize("kind", ALGORITHMS)
@pytest.mark.parametrize("method, message", [
    (attacks.INFER, DIGITS_REQUEST), (METADATA, chunk(1, "digits") + PADDING),
    ("/grpc.health.v1.Health/Check", PADDING)])
def test_without_the_flag_a_compressed_request_is_refused_by_its_name(servers, method, message, kind):
    address = servers["none"].grpc_address
    assert call(address, message, ALGORITHMS[kind], method) == ("UNIMPLEMENTED", REFUSED + kind)
    assert isinstance(call(address, message, None, method), bytes)


def test_without_the_flag_a_stream_goes_on_after_a_compressed_request(servers):
    with grpc.insecure_channel(servers["none"].grpc_address, options=NO_LIMIT) as channel:
        stream = channel.stream_stream(STREAM)(iter([DIGITS_REQUEST] * 2), timeout=30,
                                               compression=grpc.Compression.Gzip)
        for answer in stream:
            assert (REFUSED + "gzip").encode() in answer


@pytest.mark.parametrize("method, message", [
    (METADATA, chunk(1, "digits") + PADDING), ("/grpc.health.v1.Health/Check", PADDING)])
def test_every_method_takes_them(servers, method, message):
    assert (call(servers["gzip"].grpc_address, message, grpc.Compression.Gzip, method) ==
            call(servers["none"].grpc_address, message, None, method))


def test_streams_take_them(servers):
    with grpc.insecure_channel(servers["gzip"].grpc_address, options=NO_LIMIT) as channel:
        def answers(method, message):
            return list(channel.stream_stream(method)(iter([message] * 3), timeout=30,
                                                      compression=grpc.Compression.Gzip))
        assert [len(answer) > ROWS * 10 * 4 for answer in answers(STREAM, DIGITS_REQUEST)] == [True] * 3
        assert [b"inference.GRPCInferenceService" in answer for answer in
                answers(REFLECTION, chunk(7, "") + chunk(1000, bytes(900)))] == [True] * 3


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_tritonclient_compresses_as_it_names_it(servers, kind):
    rows = digits()["x"][:100]
    with servers["gzip"].client() as client:
        assert_close(infer(client, "digits", rows, compression_algorithm=kind), digits()["logits64"][:100])
    with servers["none"].client() as client:
        with pytest.raises(InferenceServerException, match="--grpc-compression") as raised:
            infer(client, "digits", rows, compression_algorithm=kind)
    assert raised.value.status() == "StatusCode.UNIMPLEMENTED"


def frames(address, message, *headers, flag=1):
    """What the server sends back to a message written by hand: (kind of frame, its bytes)."""
    link = attacks.http2(address)
    body = struct.pack(">BI", flag, len(message)) + message
    more = b"".join(attacks.literal(name, value) for name, value in headers)
    link.sendall(attacks.frame(attacks.HEADERS, attacks.END_HEADERS, 1, attacks.call_headers() + more))
    link.sendall(attacks.frame(attacks.DATA, attacks.END_STREAM, 1, body))
    received, found = b"", []
    with link:
        while piece := link.recv(1 << 16):
            received += piece
            while len(received) >= 9 and len(received) >= 9 + int.from_bytes(received[:3], "big"):
                size = int.from_bytes(received[:3], "big")
                kind, flags, payload = received[3], received[4], received[9:9 + size]
                received = received[9 + size:]
                if kind in (attacks.HEADERS, attacks.DATA):
                    found.append((kind, payload))
                if kind == attacks.HEADERS and flags & attacks.END_STREAM:
                    return found
    return found


SMALL = request(chunk(5, chunk(1, "x") + chunk(2, "FP32") + shape(8, 64)), raw(8 * 64 * 4),
                model="digits")


@pytest.mark.parametrize("accepted, compressed", [(None, 0), ("identity", 0), ("gzip", 1),
                                                  ("identity,deflate,gzip", 1)])
def test_only_who_takes_them_gets_compressed_answers(servers, accepted, compressed):
    headers = [("grpc-accept-encoding", accepted)] if accepted else []
    data = b"".join(payload for kind, payload in
                    frames(servers["gzip"].grpc_address, SMALL, *headers, flag=0)
                    if kind == attacks.DATA)
    assert data[0] == compressed
    if compressed:
        assert len(gzip.decompress(data[5:])) > 8 * 10 * 4


@pytest.mark.parametrize("kind, message", [
    ("gzip", b""), ("gzip", b"no gzip"), ("gzip", gzip.compress(SMALL)[:-1]),
    ("gzip", gzip.compress(SMALL) + b"x"), ("gzip", gzip.compress(SMALL)[:-8] + bytes(8)),
    ("gzip", zlib.compress(SMALL)), ("deflate", gzip.compress(SMALL)),
    ("deflate", zlib.compress(SMALL)[:20])])
def test_what_was_not_compressed_so_is_malformed(servers, kind, message):
    answer = b"".join(payload for _, payload in frames(servers["gzip"].grpc_address, message,
                                                       ("grpc-encoding", kind)))
    if message:
        assert f"malformed message: expected {len(message)} bytes compressed with {kind}".encode() in answer
    else:
        assert b'no block is named ""' in answer


def test_a_thousandfold_message_is_refused_and_costs_its_limit_at_most(start):
    server = start(DIGITS, "--grpc-compression", "gzip", "--max-message-bytes", "4000000")
    before = process_status(server, "VmHWM")
    code, message = call(server.grpc_address, bytes(256 << 20), grpc.Compression.Gzip)
    assert code == "RESOURCE_EXHAUSTED"
    assert message.startswith("expected a request of at most 4000000 bytes (--max-message-bytes), "
                              "found more in 26")
    assert message.endswith(" bytes compressed with gzip")
    assert process_status(server, "VmHWM") - before < 16 * 1024


def test_a_flood_of_them_costs_no_more_and_others_are_served(start):
    server = start(DIGITS, "--grpc-compression", "gzip", "--memory-quota-bytes", str(256 << 20))
    idle = resident_bytes(server)
    bomb = gzip.compress(bytes(1 << 30))
    assert len(bomb) > MB
    senders = [threading.Thread(target=frames, args=(server.grpc_address, bomb[:16_000],
                                                     ("grpc-encoding", "gzip")))
               for _ in range(16)]
    # Whole ones too, which take flow control: from the usual client, whose message is compressed.
    with grpc.insecure_channel(server.grpc_address, options=NO_LIMIT) as channel:
        send = channel.unary_unary(attacks.INFER)
        futures = [send.future(bytes(128 << 20), timeout=60, compression=grpc.Compression.Gzip)
                   for _ in range(8)]
        for sender in senders:
            sender.start()
        for _ in range(5):
            assert isinstance(call(server.grpc_address, SMALL), bytes)
        codes = {future.code().name for future in futures}
    for sender in senders:
        sender.join(60)
    peak = process_status(server, "VmHWM") * 1024
    print(f"idle {idle / MB:.0f} MB, peak {peak / MB:.0f} MB")
    assert codes == {"RESOURCE_EXHAUSTED"}
    assert peak < idle + 400 * MB
    deadline = time.monotonic() + 15
    while resident_bytes(server) > idle + 64 * MB:
        assert time.monotonic() < deadline, resident_bytes(server)
        time.sleep(0.1)
