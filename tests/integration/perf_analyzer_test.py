"""The real perf_analyzer from PyPI, in a folder of its own (tests/run puts it into build/perf_analyzer)."""

import csv
import json
import os
import re
import shutil
import subprocess

import pytest

from conftest import BIN, DIGITS, ROOT

APART = ROOT / "build/perf_analyzer"
REQUESTS = 1000


def analyze(server, *flags, concurrency=4):
    """What it prints. Rates are not looked at: this machine may have other work."""
    environment = os.environ | {"LD_LIBRARY_PATH": str(APART / "nvidia/cuda_runtime/lib")}
    done = subprocess.run(
        [APART / "bin/perf_analyzer", "-m", "digits", "-u", server.grpc_address, "-i", "grpc",
         "-b", "2", "--concurrency-range", str(concurrency), "-s", "999", *flags],
        capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("flags", [
    ["--sync"],
    ["--async"],
    ["--async", "--streaming"],
])
def test_every_request_is_answered_and_the_servers_side_is_shown(shared_server, flags):
    out = analyze(shared_server, "--request-count", str(REQUESTS), *flags)
    client, server = out.split("Server:")
    # The server's counts are read when some of the first requests may be answered already.
    counted = REQUESTS * 9 // 10
    assert re.search(rf"Request count: {REQUESTS}\b", client), out
    assert int(re.search(r"Successful request count: (\d+)", server).group(1)) >= counted
    assert int(re.search(r"Inference count: (\d+)", server).group(1)) >= 2 * counted


@pytest.mark.parametrize("flags", [["--sync"], ["--async", "--streaming"]])
def test_shared_memory(start, flags):
    server = start(DIGITS, "--shared-memory", "system")
    out = analyze(server, "--request-count", str(REQUESTS), "--shared-memory", "system",
                  "--output-shared-memory-size", "80", *flags)
    assert re.search(rf"Request count: {REQUESTS}\b", out.split("Server:")[0]), out
    with server.client() as client:
        regions = client.get_system_shared_memory_status().regions
        assert not regions, "it has unregistered what it had registered"


def test_metrics_are_collected(shared_server):
    # In windows of time: over a number of requests it waits for ever for figures of a GPU.
    out = analyze(shared_server, "-p", "1000", "--collect-metrics", "--metrics-url",
                  f"{shared_server.http_address}/metrics")
    assert "Server Prometheus Metrics" in out and "unable to query" not in out.lower(), out


def medians(server, streaming, folder):
    """Of the same closed loop by perf_analyzer and by mlpserve-load, in microseconds."""
    report = folder / "perf_analyzer.csv"
    flags = ["--async", "--streaming"] if streaming else ["--sync"]
    analyze(server, "--request-count", "100", "-f", report, *flags, concurrency=1)
    (row,) = csv.DictReader(report.read_text().split("\n\n")[0].splitlines())
    done = subprocess.run([BIN / "mlpserve-load", "digits", "--address", server.grpc_address, "--rows", "2",
                           "--duration-s", "2", "--json", "-", "--quiet", *(["--streaming"] if streaming else [])],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return float(row["p50 latency"]), json.loads(done.stdout)["results"][0]["latency_us"]["p50"]


@pytest.mark.parametrize("streaming", [False, True])
def test_mlpserve_load_agrees_with_it(start, tmp_path, streaming):
    """On a server that sets the pace: a lone request waits 20 ms for more rows. Three tries, for other work of this
    machine may slow one of the two down."""
    shutil.copytree(DIGITS / "digits", tmp_path / "models/digits")
    path = tmp_path / "models/digits/model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"batching": {"max_queue_delay_us": 20_000}}))
    server = start(tmp_path / "models")
    tries = []
    while not tries or (len(tries) < 3 and abs(tries[-1][1] / tries[-1][0] - 1) > 0.05):
        tries.append(medians(server, streaming, tmp_path))
    assert min(tries[-1]) > 20_000 and abs(tries[-1][1] / tries[-1][0] - 1) <= 0.05, tries
