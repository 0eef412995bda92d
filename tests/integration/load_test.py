"""mlpserve-load against real servers: what it says agrees with what happened."""

import json
import signal
import subprocess
import time

import numpy as np
import pytest

from conftest import BIN, DIGITS

LOAD = BIN / "mlpserve-load"


def load(server, *flags, code=0):
    """Runs mlpserve-load on digits; its JSON."""
    command = [LOAD, "digits", "--address", server.grpc_address, "--json", "-", *flags]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def p99_of_stall(rate, seconds, stall_s):
    """By hand: at a constant rate, who was to be sent during the stall waits for its end."""
    sent = np.arange(0, seconds, 1 / rate)
    waited = np.where(sent < stall_s, stall_s - sent, 0)
    return np.sort(waited)[int(np.ceil(0.99 * len(sent))) - 1]


def test_answers_are_right_and_the_servers_counters_agree(start):
    server = start(DIGITS)
    cases = DIGITS / "digits/test.safetensors"
    report = load(server, "--data", f"{cases}:x", "--expect", f"{cases}:logits64", "--tolerance", "1e-4",
                  "--rows", "1,7", "--concurrency", "1,8", "--duration-s", "0.5", "--warm-up-s",
                  "0.1", "--server-pid", server.process.pid)
    assert len(report["results"]) == 4
    for result in report["results"]:
        assert result["failed"] == 0
        assert result["server"]["queue_us"] + result["server"]["compute_us"] \
            < result["latency_us"]["mean"]
        assert result["server"]["rows_per_batch"] >= result["rows"]
        assert result["server_cpu_us"] > 0
    text = server.get("/metrics")[1]
    counted = sum(float(line.split()[-1]) for line in text.splitlines()
                  if line.startswith('mlpserve_requests_total{model="digits"'))
    assert counted >= sum(result["requests"] for result in report["results"])


@pytest.mark.parametrize("streaming", [[], ["--streaming"]])
def test_answers_in_shared_memory_are_right(start, streaming):
    server = start(DIGITS, "--shared-memory", "system")
    cases = DIGITS / "digits/test.safetensors"
    report = load(server, "--shared-memory", "system", "--data", f"{cases}:x", "--expect", f"{cases}:logits64",
                  "--rows", "1,77", "--concurrency", "8", "--duration-s", "0.5", "--warm-up-s", "0.1", *streaming)
    for result in report["results"]:
        assert result["failed"] == 0 and result["requests"] > 100
        assert result["request_bytes"] < 1000, "no rows in it"
    with server.client() as client:
        assert not client.get_system_shared_memory_status().regions


def test_shared_memory_that_the_server_does_not_offer(start):
    server = start(DIGITS)
    done = subprocess.run([LOAD, "digits", "--address", server.grpc_address, "--shared-memory", "system"],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1 and "--shared-memory=system" in done.stderr and done.stderr.count("\n") == 1


def test_an_open_loop_shows_a_stall_as_computed_by_hand(start):
    server = start(DIGITS)
    rate, seconds = 500, 4
    tester = subprocess.Popen(
        [LOAD, "digits", "--address", server.grpc_address, "--json", "-", "--rate", str(rate),
         "--arrivals", "constant", "--duration-s", str(seconds), "--warm-up-s", "1"],
        stdout=subprocess.PIPE, text=True)
    time.sleep(2.5)
    server.process.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    time.sleep(0.2)
    server.process.send_signal(signal.SIGCONT)
    stall = time.monotonic() - stopped
    out, _ = tester.communicate(timeout=60)
    result = json.loads(out)["results"][0]
    assert result["requests"] == rate * seconds
    by_hand = 1e6 * p99_of_stall(rate, seconds, stall)
    # What came during the stall is answered behind it, which takes some milliseconds itself.
    assert by_hand * 0.97 < result["latency_us"]["p99"] < by_hand * 1.1 + 20e3
    assert result["latency_us"]["p50"] < 20e3
    # And none but those who waited are slow: about as many as were to be sent meanwhile.
    slow = sum(count for upper, count in result["latency_us"]["buckets"] if upper > 50e3)
    assert slow == pytest.approx(rate * (stall - 0.05), rel=0.3)


def test_a_closed_loop_hardly_sees_the_same_stall(start):
    server = start(DIGITS)
    tester = subprocess.Popen(
        [LOAD, "digits", "--address", server.grpc_address, "--json", "-", "--duration-s", "2",
         "--warm-up-s", "1"], stdout=subprocess.PIPE, text=True)
    time.sleep(2)
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    server.process.send_signal(signal.SIGCONT)
    out, _ = tester.communicate(timeout=60)
    latency = json.loads(out)["results"][0]["latency_us"]
    assert latency["p100"] > 190e3, "one request waited"
    assert latency["p99"] < 50e3, "of thousands"


def test_a_server_that_is_not_there_is_one_line():
    done = subprocess.run([LOAD, "digits", "--address", "127.0.0.1:1"], capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "127.0.0.1:1" in done.stderr and "UNAVAILABLE" in done.stderr


def test_an_interrupt_leaves_what_was_counted(start):
    server = start(DIGITS)
    tester = subprocess.Popen(
        [LOAD, "digits", "--address", server.grpc_address, "--json", "-", "--duration-s", "300",
         "--warm-up-s", "0", "--rate", "50"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True)
    time.sleep(1.5)
    tester.send_signal(signal.SIGINT)
    out, err = tester.communicate(timeout=20)
    assert tester.returncode == 1
    assert "stopped before the end" in err
    assert json.loads(out)["results"][0]["requests"] > 10
