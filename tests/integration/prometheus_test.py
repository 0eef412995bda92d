"""A real Prometheus (Debian's package prometheus) scrapes a server and answers questions about it."""

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

from conftest import DIGITS, ROOT, digits, infer

CONFIG = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: mlpserve
    static_configs: [{{targets: ["{target}"]}}]
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Prometheus:
    """One Prometheus on loopback that scrapes one target every second."""

    def __init__(self, folder, target):
        program = shutil.which("prometheus")
        assert program, "no prometheus on PATH: apt-get install prometheus"
        config = folder / "prometheus.yml"
        config.write_text(CONFIG.format(target=target))
        self.address = f"127.0.0.1:{free_port()}"
        self.log_path = folder / "prometheus.log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
                 f"--web.listen-address={self.address}"], stdout=log, stderr=log)

    def ask(self, path, **parameters):
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as reply:
            return json.load(reply)["data"]

    def has_answer(self, query):
        """Whether a query returns anything."""
        return bool(self.ask("query", query=query)["result"])

    def value(self, query):
        """The query's one value; None while there is none, or Prometheus is still starting."""
        assert self.process.poll() is None, self.log_path.read_text()
        try:
            result = self.ask("query", query=query)["result"]
        except urllib.error.URLError:
            return None
        assert len(result) < 2, f"{query} has more than one answer: {result}"
        return float(result[0]["value"][1]) if result else None

    def await_value(self, query, good, meanwhile=lambda: None, seconds=60):
        deadline = time.monotonic() + seconds
        value = None
        while time.monotonic() < deadline:
            meanwhile()
            value = self.value(query)
            if value is not None and good(value):
                return value
            time.sleep(0.1)
        raise AssertionError(f"{query} is {value} after {seconds} s\n{self.log_path.read_text()}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def server(start):
    return start(DIGITS)


@pytest.fixture
def prometheus(server, tmp_path):
    running = Prometheus(tmp_path, server.http_address)
    yield running
    running.stop()


def test_answers_quantiles_and_counts_over_what_it_scraped(server, prometheus):
    prometheus.await_value('up{job="mlpserve"}', lambda up: up == 1)
    rows = digits()["x"][:3]
    sent = 0
    with server.client() as client:

        def send():
            nonlocal sent
            infer(client, "digits", rows)
            sent += 1

        # A rate needs two scrapes with requests between them.
        p99 = prometheus.await_value(
            "histogram_quantile(0.99, sum by (le) "
            '(rate(mlpserve_request_duration_seconds_bucket{model="digits"}[1m])))',
            lambda seconds: seconds > 0, meanwhile=send)
    assert p99 < 10, "seconds, the last bound"

    for name, expected in {
            "mlpserve_requests_total": sent,
            "mlpserve_rows_total": 3 * sent,
            "mlpserve_queue_duration_seconds_count": sent,
            "mlpserve_batch_rows_sum": 3 * sent,
            "nv_inference_request_success": sent,
            "nv_inference_count": 3 * sent,
    }.items():
        prometheus.await_value(f'sum({name}{{model="digits"}})',
                               lambda value, expected=expected: value == expected, seconds=10)
    prometheus.await_value('mlpserve_model_state{model="digits",state="ready"}',
                           lambda value: value == 1, seconds=10)
    target, = prometheus.ask("targets")["activeTargets"]
    assert target["lastError"] == ""


def example_queries():
    """Those of docs/metrics.md, without the metrics that only a GPU or a first reload brings."""
    rows = [line for line in (ROOT / "docs/metrics.md").read_text().splitlines()
            if re.match(r"\| `(mlpserve|nv)_(?!device|gpu|reloads)", line)]
    return [line.rstrip("| ").rsplit("`", 2)[1] for line in rows]


def test_every_example_query_of_the_documentation_returns_data(server, prometheus):
    queries = example_queries()
    assert len(queries) > 30
    rows = digits()["x"][:3]
    with server.client() as client:
        prometheus.await_value('sum(rate(mlpserve_requests_total{model="digits"}[1m]))', lambda rate: rate > 0,
                               meanwhile=lambda: infer(client, "digits", rows))
    assert [query for query in queries if not prometheus.has_answer(query)] == []
