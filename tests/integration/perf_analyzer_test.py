"""The real perf_analyzer from PyPI, in a folder of its own (tests/run puts it into build/perf_analyzer)."""

import os
import re
import subprocess

import pytest

from conftest import ROOT

APART = ROOT / "build/perf_analyzer"
REQUESTS = 1000


def analyze(server, *flags):
    """What it prints. Rates are not looked at: this machine may have other work."""
    environment = os.environ | {"LD_LIBRARY_PATH": str(APART / "nvidia/cuda_runtime/lib")}
    done = subprocess.run(
        [APART / "bin/perf_analyzer", "-m", "digits", "-u", server.grpc_address, "-i", "grpc",
         "-b", "2", "--concurrency-range", "4", "-s", "999", *flags],
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


def test_metrics_are_collected(shared_server):
    # In windows of time: over a number of requests it waits for ever for figures of a GPU.
    out = analyze(shared_server, "-p", "1000", "--collect-metrics", "--metrics-url",
                  f"{shared_server.http_address}/metrics")
    assert "Server Prometheus Metrics" in out and "unable to query" not in out.lower(), out
