"""Dashboards, rules, consoles and Compose files, against a real Prometheus that scrapes a loaded server.

What only a server with GPUs exports comes from gpu_exposition.txt, served as a second server.
"""

import contextlib
import functools
import http.server
import json
import os
import pathlib
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

import numpy as np
import pytest
import safetensors.numpy
import tritonclient.grpc as triton
import yaml
from tritonclient.utils import InferenceServerException

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/integration"))
from conftest import DIGITS, Server, digits, infer  # noqa: E402
from prometheus_test import Prometheus, free_port  # noqa: E402

DEPLOY = ROOT / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
RULES = DEPLOY / "prometheus/rules.yml"
# Grafana fills these in; the variables of ours stand for all their values.
MACROS = {"$__rate_interval": "1m", "$__range": "5m", "$__interval": "15s"}
MINUTE_US = 60_000_000
# Public dashboards for Triton, what NVIDIA's own repository has (deploy/k8s-onprem and its older copies), and the
# queries its users publish: those over metrics that we feed.
TRITON_QUERIES = [
    "count(count(nv_inference_count) by (instance))",
    "sum by (pod) (rate(nv_inference_count[1m])) / ignoring(pod) group_left sum (rate(nv_inference_count[1m]))",
    "sum(nv_inference_request_success) by (pod)",
    "sum(nv_inference_request_failure) by (pod)",
    "sum(rate(nv_inference_compute_infer_duration_us[30s])) by (model) / 1000",
    "avg(rate(nv_inference_queue_duration_us[30s])/(1+rate(nv_inference_request_success[30s]))) by (pod)",
    "rate(nv_inference_queue_duration_us[30s]) / 1000",
    "rate(nv_inference_count[1m]) / rate(nv_inference_exec_count[1m])",
    "rate(nv_inference_request_duration_us[1m]) / rate(nv_inference_request_success[1m]) / 1000",
    "rate(nv_inference_compute_infer_duration_us[1m]) / rate(nv_inference_request_duration_us[1m])",
    "nv_inference_pending_request_count",
    "nv_gpu_utilization",
    "nv_gpu_memory_used_bytes / nv_gpu_memory_total_bytes * 100",
    "nv_gpu_power_usage",
]


def serve_exposition():
    text = (ROOT / "tests/deploy/gpu_exposition.txt").read_bytes()

    class Exposition(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Exposition)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Monitored(Prometheus):
    """The repository's own configuration, with the targets of a test and shorter intervals."""

    def __init__(self, folder, *targets):
        config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(RULES)]
        config["scrape_configs"][0]["static_configs"] = [{"targets": list(targets)}]
        path = folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        self.address = f"127.0.0.1:{free_port()}"
        self.log_path = folder / "prometheus.log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [shutil.which("prometheus"), f"--config.file={path}", f"--storage.tsdb.path={folder / 'tsdb'}",
                 f"--web.listen-address={self.address}",
                 f"--web.console.templates={DEPLOY / 'prometheus/consoles'}",
                 f"--web.console.libraries={DEPLOY / 'prometheus/console_libraries'}"], stdout=log, stderr=log)

    def console(self, page):
        with urllib.request.urlopen(f"http://{self.address}/consoles/{page}", timeout=30) as reply:
            return reply.read().decode()


def make_blocks(folder):
    """digits; a block whose batches wait for rows until those that are there are out of time, and that takes nothing
    before which there is anything, however fast the machine is; and one that fails to load."""
    shutil.copytree(DIGITS / "digits", folder / "digits")
    sides = [64, 1024, 1024, 1024, 10]
    rng = np.random.default_rng(1)
    (folder / "waiting/1").mkdir(parents=True)
    safetensors.numpy.save_file(
        {f"fc{i}.weight": rng.standard_normal((n, k)).astype(np.float32) / np.float32(np.sqrt(k))
         for i, (k, n) in enumerate(zip(sides, sides[1:]))}, folder / "waiting/1/weights.safetensors")
    (folder / "waiting/model.json").write_text(json.dumps({
        "input": {"name": "x", "features": 64}, "output": {"name": "y", "features": 10},
        "layers": [{"name": f"fc{i}", "weight": f"fc{i}.weight", "epilogue": [{"relu": {}}]}
                   for i in range(len(sides) - 1)],
        "batching": {"max_rows": 450, "max_batch_us": MINUTE_US, "max_queue_delay_us": MINUTE_US,
                     "queue_timeout_us": 100_000, "max_queued_us": 1}}))
    (folder / "broken/1").mkdir(parents=True)
    (folder / "broken/model.json").write_text("{}")
    return folder


class Load:
    """Until it is stopped: good requests, wrong ones, and ones that the waiting block evicts and refuses."""

    def __init__(self, server):
        self.failure, self.stopped = None, threading.Event()
        self.thread = threading.Thread(target=self.run, args=(server,))
        self.thread.start()

    def run(self, server):
        try:
            with server.client() as client:
                while not self.stopped.wait(0.02):
                    self.once(client)
        except Exception as failure:  # noqa: BLE001
            self.failure = failure

    @staticmethod
    def once(client):
        rows = digits()["x"]
        for count in (1, 7, 450):
            infer(client, "digits", rows[:count])
        Load.fill_in_vain(client, rows)
        for name, bad in (("digits", np.zeros((1, 3), np.float32)), ("absent", rows[:1])):
            with pytest.raises(InferenceServerException):
                infer(client, name, bad)

    @staticmethod
    def fill_in_vain(client, rows):
        """One row waits for others until it is out of time; meanwhile a whole batch is refused, for that row would be
        before it. Where the batch comes first it runs, and the next round may do."""
        tensor = triton.InferInput("x", [1, 64], "FP32")
        tensor.set_data_from_numpy(rows[:1])
        answers = queue.SimpleQueue()
        client.async_infer("waiting", [tensor], callback=lambda result, error: answers.put(error))
        with contextlib.suppress(InferenceServerException):
            infer(client, "waiting", rows)
        answers.get(timeout=60)

    def stop(self):
        self.stopped.set()
        self.thread.join()
        assert self.failure is None, self.failure


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("monitoring")
    server = Server(make_blocks(folder / "models"), folder / "server.log").await_ready()
    exposition = serve_exposition()
    load = Load(server)
    running = Monitored(folder, server.http_address, f"127.0.0.1:{exposition.server_address[1]}")
    try:
        running.await_value("count(count_over_time(up[5m]) > 4)", lambda count: count == 2)
        # Rules are evaluated, and one block did fail: its alert waits.
        running.await_value('count(ALERTS{alertname="MlpserveBlockFailed"})', lambda count: count >= 1)
        yield running
    finally:
        running.stop()
        exposition.shutdown()
        load.stop()
        server.stop()


def filled(query, board):
    """The query as Grafana sends it with every variable at All."""
    for macro, value in MACROS.items():
        query = query.replace(macro, value)
    for variable in board["templating"]["list"]:
        query = query.replace("$" + variable["name"], ".*")
    assert "$" not in query, query
    return query


def dashboard_queries():
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                yield pytest.param(filled(target["expr"], board), id=f"{path.stem}: {panel['title']} {target['refId']}")


def rule_selectors():
    """What each rule selects: an alert's own query answers only while it fires."""
    selector = re.compile(r"\b(?:mlpserve_[a-z_]+|job_model:[a-z0-9_:]+|mlpserve:[a-z_:]+|up)(?:\{[^}]*\})?")
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            for found in sorted(set(selector.findall(rule["expr"]))):
                yield pytest.param(found, id=f"{rule.get('alert') or rule['record']}: {found}")


def recorded():
    return [rule["record"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
            if "record" in rule]


def await_data(prometheus, query, seconds=20):
    deadline = time.monotonic() + seconds
    while True:
        result = prometheus.ask("query", query=query)["result"]
        values = [float(one["value"][1]) for one in result]
        if any(value == value for value in values):
            return values
        assert time.monotonic() < deadline, f"no data for {query}: {result}"
        time.sleep(0.5)


@pytest.mark.parametrize("query", dashboard_queries())
def test_every_query_of_every_dashboard_has_data(prometheus, query):
    await_data(prometheus, query)


def tables():
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            if panel["type"] == "table":
                yield pytest.param(panel, filled(panel["targets"][0]["expr"], board), id=f"{path.stem}: {panel['title']}")


@pytest.mark.parametrize("panel, query", tables())
def test_every_column_of_a_table_is_named_or_hidden(prometheus, panel, query):
    await_data(prometheus, query)
    columns = {"Time", "Value"}.union(*(one["metric"] for one in prometheus.ask("query", query=query)["result"]))
    (organize,) = panel["transformations"]
    options = organize["options"]
    assert set(options["indexByName"]) == set(options["renameByName"]) == columns - set(options["excludeByName"])


def test_variables_of_the_dashboards_have_values(prometheus):
    for path in DASHBOARDS:
        for variable in json.loads(path.read_text())["templating"]["list"]:
            if variable["type"] != "query":
                continue
            series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
            series = series.replace("$job", ".*")
            values = prometheus.ask(f"label/{label}/values", **{"match[]": series})
            assert values, f"{path.name}: {variable['name']}"


@pytest.mark.parametrize("record", recorded())
def test_every_recording_rule_records(prometheus, record):
    await_data(prometheus, record)


@pytest.mark.parametrize("selector", rule_selectors())
def test_every_rule_selects_what_there_is(prometheus, selector):
    await_data(prometheus, selector)


@pytest.mark.parametrize("query", TRITON_QUERIES)
def test_queries_of_public_triton_dashboards_have_data(prometheus, query):
    await_data(prometheus, query)


def adapter_queries():
    rules = yaml.safe_load((DEPLOY / "kubernetes/overlays/autoscaled/prometheus-adapter.yaml").read_text())
    for rule in rules["rules"]["custom"]:
        query = rule["metricsQuery"].replace("<<.LabelMatchers>>", 'model="digits"').replace("<<.GroupBy>>", "instance")
        yield pytest.param(query, id=rule["name"]["as"])


@pytest.mark.parametrize("query", adapter_queries())
def test_every_query_of_the_autoscaler_has_data(prometheus, query):
    await_data(prometheus, query)


def test_load_reached_what_the_dashboards_are_for(prometheus):
    for query in ('mlpserve_request_failures_total{code="RESOURCE_EXHAUSTED"}',
                  'mlpserve_request_failures_total{code="INVALID_ARGUMENT"}',
                  'mlpserve_evictions_total{reason="timeout"}', "mlpserve_batch_rows_sum"):
        await_data(prometheus, f"{query} > 0")


def test_consoles_show_the_blocks(prometheus):
    await_data(prometheus, 'rate(mlpserve_requests_total{model="digits"}[1m]) > 0')
    await_data(prometheus, 'rate(mlpserve_request_failures_total{code="RESOURCE_EXHAUSTED"}[1m]) > 0')
    page = prometheus.console("mlpserve.html")
    assert "error executing template" not in page and "<title>mlpserve</title>" in page
    row = re.search(r'<a href="mlpserve-block.html\?model=digits">digits</a></td>(.*?)</tr>', page, re.S).group(1)
    assert len(re.findall(r"<td>[^<]*\d", row)) >= 6, row
    assert "RESOURCE_EXHAUSTED" in page and "<h2>GPUs</h2>" in page
    row = re.search(r'<a href="mlpserve-block.html\?model=broken">broken</a></td>(.*?)</tr>', page, re.S).group(1)
    assert '<span class="bad">1 unavailable</span>' in row, row
    page = prometheus.console("mlpserve-block.html?model=digits")
    assert "error executing template" not in page
    assert page.count(">ready</td>") == 1 and "fc0" in page and not re.search(r"whole</td>\s*<td>&ndash;", page)


def test_console_of_a_name_with_markup_shows_text(prometheus):
    page = prometheus.console("mlpserve-block.html?model=" + urllib.parse.quote('<script>alert("x")</script>'))
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "No server that Prometheus scrapes has a block of this name." in page


def test_screenshots_where_asked(prometheus):
    """Looks, not judged here: MLPSERVE_SCREENSHOTS names a folder for them."""
    folder = os.environ.get("MLPSERVE_SCREENSHOTS")
    if not folder:
        pytest.skip("MLPSERVE_SCREENSHOTS is not set")
    time.sleep(20)
    for name, page, size in (("service", "mlpserve.html", "1100,900"), ("phone", "mlpserve.html", "500,900"),
                             ("block", "mlpserve-block.html?model=digits", "1100,900")):
        for dark in (0, 1):
            subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={size}",
                            f"--blink-settings=preferredColorScheme={1 - dark}",
                            f"--screenshot={folder}/{name}{'-dark' * dark}.png",
                            f"http://{prometheus.address}/consoles/{page}"],
                           check=True, capture_output=True, timeout=60)


def test_rules_are_right_and_each_alert_fires_where_it_should_and_only_there():
    for command in (["check", "rules", RULES], ["test", "rules", ROOT / "tests/deploy/rules_test.yml"]):
        done = subprocess.run(["promtool", *map(str, command)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested():
    tested = {alert["alertname"]: bool(alert["exp_alerts"])
              for case in yaml.safe_load((ROOT / "tests/deploy/rules_test.yml").read_text())["tests"]
              for alert in sorted(case["alert_rule_test"], key=lambda one: bool(one["exp_alerts"]))}
    alerts = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
              if "alert" in rule}
    assert alerts == {name for name, fires in tested.items() if fires}


@functools.lru_cache
def compose_files():
    return sorted((DEPLOY / "compose").glob("*.yaml"))


def test_compose_files_follow_the_specification():
    done = subprocess.run([sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec",
                           *map(str, compose_files())], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_mounts_what_there_is_and_prometheus_scrapes_a_service_of_it():
    compose = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = re.sub(r"^\$\{\w+:-(.*?)\}", r"\1", volume).split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / "compose" / source).exists(), f"{name} mounts {source}"
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    (target,) = config["scrape_configs"][0]["static_configs"][0]["targets"]
    assert target.split(":")[0] in compose["services"]
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())
    assert urllib.parse.urlparse(source["datasources"][0]["url"]).hostname in compose["services"]
