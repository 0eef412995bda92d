"""The attacks of attacks.py against a real server, each bounded, with what it may cost asserted."""

import json
import re
import shlex
import signal
import socket
import struct
import subprocess
import threading
import time

import grpc
import numpy as np
import pytest
import safetensors.numpy

import attacks
import conftest
from conftest import DIGITS, digits, infer
from memory_test import MB, resident_bytes
from wire import raw, request, tensor

OWN = [("grpc.use_local_subchannel_pool", 1)]


@pytest.fixture
def limited(monkeypatch, tmp_path, start):
    """limited("ulimit -n 100", repository, *flags): a server started under a limit of the shell."""
    def run(limit, *arguments, **more):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "mlpserve"
        program.write_text(f"#!/bin/sh\n{limit}exec {shlex.quote(str(conftest_bin / 'mlpserve'))} "
                           '"$@"\n')
        program.chmod(0o755)
        monkeypatch.setattr(conftest, "BIN", folder)
        return start(*arguments, **more)
    conftest_bin = conftest.BIN
    return run


def answers(address, seconds=5):
    """Seconds until a new client has an answer; None: it had none in that time."""
    begun = time.monotonic()
    with grpc.insecure_channel(address, options=OWN) as channel:
        try:
            channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(
                b"", timeout=seconds, wait_for_ready=True)
        except grpc.RpcError:
            return None
    return time.monotonic() - begun


def probe(server):
    """Seconds that /healthz takes."""
    begun = time.monotonic()
    assert server.get("/healthz")[0] == 200
    return time.monotonic() - begun


def metric(server, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", server.get("/metrics")[1], re.MULTILINE)
    assert found, name
    return float(found.group(1))


def eventually(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def in_background(attack, *arguments, **more):
    thread = threading.Thread(target=attack, args=arguments, kwargs=more, daemon=True)
    thread.start()
    return thread


def test_with_all_connections_taken_it_says_so_and_serves_when_one_leaves(limited):
    server = limited("ulimit -n 100; ", DIGITS)
    limit = metric(server, "mlpserve_connections_limit")
    assert 10 < limit < 80
    held = [attacks.connect(server.grpc_address) for _ in range(300)]
    assert eventually(lambda: server.get("/readyz")[0] == 503)
    assert "--max-connections" in server.get("/readyz")[1]
    assert metric(server, 'mlpserve_connections_refused_total{reason="limit"}') >= 300 - limit
    assert metric(server, "mlpserve_connections") == limit
    assert "connections are refused" in server.log()
    for connection in held:
        connection.close()
    took = answers(server.grpc_address)
    assert took is not None and took < 1
    assert eventually(lambda: server.get("/readyz")[0] == 200)


def test_probes_are_answered_while_http_peers_are_slow_or_idle(start):
    server = start(DIGITS)
    idle = [attacks.connect(server.http_address) for _ in range(200)]
    attack = in_background(attacks.slow_http, server.http_address, 3)
    times = [probe(server) for _ in range(30)]
    print(f"probes: {np.median(times) * 1e3:.1f} ms, worst {max(times) * 1e3:.1f} ms")
    assert np.median(times) < 0.1
    attack.join()
    for connection in idle:
        connection.close()


def test_pings_do_not_cost_the_call_that_waits(start):
    """A client that asks each second whether the server is there, and one that floods it."""
    server = start(DIGITS)
    options = OWN + [("grpc.keepalive_time_ms", 1000), ("grpc.keepalive_timeout_ms", 5000),
                     ("grpc.http2.max_pings_without_data", 0),
                     ("grpc.keepalive_permit_without_calls", 1)]
    with grpc.insecure_channel(server.grpc_address, options=options) as channel:
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=8)
        assert next(watch) == b"\x08\x01"
        with pytest.raises(grpc.RpcError) as ended:
            next(watch)
        assert ended.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    link = attacks.http2(server.grpc_address)
    for _ in range(200):
        link.sendall(attacks.frame(attacks.PING, 0, 0, b"12345678"))
        time.sleep(0.005)
    link.settimeout(2)
    link.sendall(attacks.frame(attacks.PING, 0, 0, b"lastping"))
    received = b""
    while b"lastping" not in received:
        received += link.recv(1 << 16)
    assert attacks.GOAWAY not in frame_kinds(received)


def frame_kinds(stream):
    """The kinds of the HTTP/2 frames in what a server sent."""
    kinds, at = [], 0
    while at + 9 <= len(stream):
        kinds.append(stream[at + 3])
        at += 9 + int.from_bytes(stream[at:at + 3], "big")
    return kinds


def write_wide_block(folder):
    """"wide": 16 features in, 16,384 out, so that a small request has a large answer."""
    (folder / "wide/1").mkdir(parents=True)
    safetensors.numpy.save_file({"w": np.ones((16_384, 16), np.float32)},
                                folder / "wide/1/weights.safetensors")
    (folder / "wide/model.json").write_text(json.dumps({
        "input": {"name": "x", "features": 16}, "output": {"name": "y", "features": 16_384},
        "layers": [{"name": "fc", "weight": "w"}]}))


def unread_call(server, rows=32):
    """A call of "wide" whose answer is not read: its connection, held open."""
    message = request(tensor(dims=(rows, 16)), raw(rows * 16 * 4), model="wide")
    link = attacks.http2(server.grpc_address)
    attacks.drop_what_comes(link)  # the socket is read; the stream's window stays closed
    body = b"\0" + struct.pack(">I", len(message)) + message
    link.sendall(attacks.frame(attacks.HEADERS, attacks.END_HEADERS, 1, attacks.call_headers()) +
                 attacks.frame(attacks.DATA, attacks.END_STREAM, 1, body))
    return link


def test_answers_that_nobody_reads_are_cancelled_and_others_are_served(start, tmp_path):
    write_wide_block(tmp_path / "models")
    server = start(tmp_path / "models", "--unread-timeout", "1")
    links = [unread_call(server) for _ in range(20)]
    x = np.ones((1, 16), np.float32)
    with server.client() as client:
        assert infer(client, "wide", x).shape == (1, 16_384)
        assert eventually(
            lambda: metric(server, "mlpserve_unread_answers_cancelled_total") == len(links), 20)
        assert metric(server, "mlpserve_unread_answer_bytes") == 0
        assert infer(client, "wide", x).shape == (1, 16_384)
    for link in links:
        link.close()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT])
def test_an_unread_answer_delays_the_end_by_the_drain_timeout_at_most(start, tmp_path, sent):
    write_wide_block(tmp_path / "models")
    server = start(tmp_path / "models", "--drain-timeout", "2")
    link = unread_call(server)
    assert eventually(lambda: metric(server, "mlpserve_unread_answer_bytes") > 0)
    begun = time.monotonic()
    server.process.send_signal(sent)
    assert server.process.wait(10) == 0
    took = time.monotonic() - begun
    print(f"ended after {took:.2f} s")
    assert took < 2.5
    link.close()


def test_under_nohup_a_terminal_that_closes_ends_nothing(limited):
    server = limited("trap '' HUP INT QUIT\n", DIGITS)
    server.process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert answers(server.grpc_address) is not None
    # A shell has what it runs in the background ignore this one, which is no wish of anybody's.
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(10) == 0


def test_announced_messages_cost_the_quota_and_the_memory_comes_back(start):
    server = start(DIGITS, "--memory-quota-bytes", str(256 << 20))
    idle = resident_bytes(server)
    for _ in attacks.announced(server.grpc_address, 8):
        peak = resident_bytes(server)
    print(f"idle {idle / MB:.0f} MB, during {peak / MB:.0f} MB")
    assert answers(server.grpc_address) is not None
    assert peak < idle + 700 * MB
    assert eventually(lambda: resident_bytes(server) < idle + 128 * MB, 15), resident_bytes(server)


def test_rapid_reset_leaves_no_memory_and_no_stall(start):
    server = start(DIGITS)
    idle = resident_bytes(server)
    sent = attacks.rapid_reset(server.grpc_address, 10)
    took = answers(server.grpc_address, 10)
    assert took is not None
    assert eventually(lambda: resident_bytes(server) < idle + 128 * MB, 15), resident_bytes(server)
    print(f"{sent} calls reset; a new client waited {took:.2f} s; "
          f"{(resident_bytes(server) - idle) / MB:+.0f} MB kept")


@pytest.fixture
def proxied(start, tmp_path):
    """A server, and the address of deploy/proxy/haproxy.cfg's proxy before it."""
    server = start(DIGITS)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = (conftest.ROOT / "deploy/proxy/haproxy.cfg").read_text()
    # One server at a known place, without its checks; all that concerns clients stays.
    config = re.sub(r"resolvers cluster\n(    .*\n)+", "", config)
    config = config.replace("bind 0.0.0.0:8001", f"bind {address}")
    config = re.sub(r"    option httpchk.*\n", "", config)
    config = re.sub(r"    server-template .*", f"    server one {server.grpc_address} proto h2", config)
    (tmp_path / "haproxy.cfg").write_text(config + "\n")
    proxy = subprocess.Popen(["haproxy", "-f", tmp_path / "haproxy.cfg"])
    yield server, address
    proxy.terminate()
    proxy.wait(10)


def test_behind_the_proxy_a_flood_of_continuations_reaches_nobody(proxied):
    """The proxy ends the connections of the attack, which the server alone does not survive."""
    server, address = proxied
    assert answers(address) is not None
    begun = time.monotonic()
    attack = in_background(attacks.continuation, address, 20)
    for _ in range(20):
        took = answers(address)
        assert took is not None and took < 1
        assert answers(server.grpc_address) is not None
        time.sleep(0.1)
    attack.join(20)
    assert time.monotonic() - begun < 15, "the proxy has let the attack go on"


def test_one_processor_is_counted_as_one(limited):
    server = limited("taskset -p -c 0 $$ >/dev/null; ", DIGITS)
    assert re.search(r"computing on .*\b1 thread$", server.log(), re.MULTILINE), server.log()


def test_the_protocols_own_paths_of_health(start):
    server = start(DIGITS)
    for path, code in [("/v2/health/live", 200), ("/v2/health/ready", 200),
                       ("/v2/models/digits/ready", 200), ("/v2/models/digits/versions/1/ready", 200),
                       ("/v2/models/digits/versions/7/ready", 404), ("/v2/models/none/ready", 404)]:
        assert server.get(path)[0] == code, path


def test_ipv6(start):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    server = start(DIGITS, "--grpc-address", "[::1]:0")
    address = server._await(r"gRPC on (\[::1\]:\d+)")
    with grpc.insecure_channel(address) as channel:
        live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        assert live(b"", timeout=5) == b"\x08\x01"


def test_standard_metrics_of_the_process(start):
    server = start(DIGITS)
    assert metric(server, "process_resident_memory_bytes") > 10 * MB
    assert metric(server, "process_open_fds") > 5
    assert metric(server, "process_cpu_seconds_total") > 0
    assert abs(metric(server, "process_start_time_seconds") - time.time()) < 60
    with server.client() as client:
        assert infer(client, "digits", digits()["x"]).shape == (450, 10)
