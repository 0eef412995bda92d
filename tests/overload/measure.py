#!/usr/bin/env python3
"""Goodput under overload: what is answered in time when two, five and ten times as much comes as can be computed.

usage: measure.py [--build build/release] [--seconds 10] [--backends cpu,fake-inline,fake-threads] [--rounds 1]

Needs `ninja mlpserve mlpserve-load mlpserve-fake`. Each backend serves a block that does 500 to 1,500 requests of 16 rows a
second with one arithmetic thread. For each it prints the closed-loop rate, and beside it what open loops at 2, 5 and 10 times
that rate got answered within deadlines of 0.3 and 1 s; of the requests that were not refused at once ("accepted"), the 99th
percentile, where one that was not answered in time counts as endless. Last come two blocks of one server, of which one is
flooded: the other's figures alone and beside it.
"""

import argparse
import array
import contextlib
import http.client
import json
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROWS, FEATURES, OUTPUTS = 16, 64, 10
LEAST, MOST = 500, 1500
BATCH_US, ROW_US = 200, 50


def safetensors(path, tensors):
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        raw = array.array("f", values).tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def make_block(repository, name, width):
    sizes = [FEATURES, width, width, OUTPUTS]
    layers, tensors = [], {}
    for i, (inputs, outputs) in enumerate(zip(sizes, sizes[1:])):
        scale = inputs**-0.5
        tensors[f"fc{i}"] = ([outputs, inputs], (random.uniform(-scale, scale) for _ in range(inputs * outputs)))
        layers.append({"name": f"fc{i}", "weight": f"fc{i}", "epilogue": [{"relu": {}}]})
    shutil.rmtree(repository / name, ignore_errors=True)
    (repository / name / "1").mkdir(parents=True)
    safetensors(repository / name / "1" / "weights.safetensors", tensors)
    (repository / name / "model.json").write_text(
        json.dumps({"input": {"name": "x", "features": FEATURES, "datatype": "FP32"},
                    "output": {"name": "y", "features": OUTPUTS, "datatype": "FP32"}, "layers": layers}))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:

    def __init__(self, build, backend, repository):
        grpc, self.http = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.load = [build / "bin" / "mlpserve-load", "--address", grpc]
        if backend == "cpu":
            command = [build / "bin" / "mlpserve", "--model-repository", repository, "--grpc-address", grpc, "--http-address",
                       self.http, "--backend", "cpu", "--cpu-threads", "1"]
        else:
            command = [build / "bin" / "mlpserve-fake", repository, grpc, self.http, backend.removeprefix("fake-"),
                       BATCH_US, ROW_US]
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        limit = time.monotonic() + 30
        while not self.ready():
            if time.monotonic() > limit or self.process.poll() is not None:
                raise RuntimeError(f"{command[0]} is not ready")
            time.sleep(0.05)

    def ready(self):
        try:
            connection = http.client.HTTPConnection(self.http, timeout=2)
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def start(self, model, *flags):
        command = [*self.load, model, "--rows", ROWS, "--warm-up-s", 2, "--allow-errors", "--server-pid", self.process.pid,
                   "--json", "-", *flags]
        return subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def measure(self, model, *flags):
        return result(self.start(model, *flags))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for _ in range(2):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def result(process):
    return json.loads(process.communicate(timeout=300)[0])["results"][0]


def open_loop(rate, deadline_ms, seconds):
    return ["--rate", f"{rate:.1f}", "--deadline-ms", deadline_ms, "--duration-s", seconds, "--max-in-flight", 65536]


def closed_loop(in_flight, seconds):
    return ["--concurrency", in_flight, "--duration-s", seconds]


def good(found, deadline_ms):
    """Answered well within the deadline from when they were meant to be sent."""
    return sum(count for upper, count in found["latency_us"]["buckets"] if upper <= deadline_ms * 1000 * 1.002)


def p99_of_accepted(found):
    """In ms; None: more than a hundredth was accepted and not answered well."""
    late = sum(failure["count"] for code, failure in found["failures"].items() if code != "RESOURCE_EXHAUSTED")
    rank, seen = 0.99 * (found["requests"] + late), 0
    for upper, count in found["latency_us"]["buckets"]:
        seen += count
        if seen >= rank:
            return upper / 1000
    return None


def milliseconds(value):
    return "never" if value is None else f"{value:.0f} ms"


def codes(found):
    return ", ".join(f"{failure['count']} {code}" for code, failure in found["failures"].items()) or "none"


def report(server, seconds):
    capacity = server.measure("block", *closed_loop(64, seconds))["requests_per_s"]
    print(f"closed loop: {capacity:.0f} requests/s")
    print("| load | deadline | in time | of capacity | p99 of the accepted | server CPU of a request | others |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    for overload in (2, 5, 10):
        for deadline_ms in (300, 1000):
            found = server.measure("block", *open_loop(overload * capacity, deadline_ms, seconds))
            rate = good(found, deadline_ms) / seconds
            print(f"| {overload}x | {deadline_ms} ms | {rate:.0f}/s | {rate / capacity:.0%} | "
                  f"{milliseconds(p99_of_accepted(found))} | {found['server_cpu_us']:.0f} us | {codes(found)} |", flush=True)


def report_two_blocks(server, seconds):
    capacity = server.measure("block", *closed_loop(64, seconds))["requests_per_s"]
    calm = open_loop(0.2 * capacity, 300, seconds)
    print("\ntwo blocks: the other's requests, a fifth of its capacity, within 300 ms")
    print("| beside it | in time | p50 | p99 |\n| --- | ---: | ---: | ---: |")
    for name, overload in (("nothing", 0), ("its fellow at 90%", 0.9), ("its fellow at 5x", 5)):
        flood = None
        if overload > 0:
            flood = server.start("block", *open_loop(overload * capacity, 300, seconds + 4))
            time.sleep(1)
        found = server.measure("other", *calm)
        if flood is not None:
            result(flood)
        latency = found["latency_us"]
        print(f"| {name} | {good(found, 300) / seconds:.0f}/s of {0.2 * capacity:.0f} | {latency['p50'] / 1000:.1f} ms |"
              f" {latency['p99'] / 1000:.1f} ms |", flush=True)


def fit_width(build, repository):
    """A width with which the processor does as many requests a second as are wanted."""
    width = 1024
    for _ in range(6):
        make_block(repository, "block", width)
        with Server(build, "cpu", repository) as server:
            rate = server.measure("block", *closed_loop(64, 2))["requests_per_s"]
        if 1.1 * LEAST <= rate <= 0.9 * MOST:
            return width
        width = max(64, int(width * (rate / ((LEAST + MOST) / 2))**0.5) // 16 * 16)
    raise RuntimeError(f"no width found: {width} does {rate:.0f} requests/s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--backends", default="cpu,fake-inline,fake-threads")
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        repository = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        width = fit_width(arguments.build, repository)
        make_block(repository, "block", width)
        make_block(repository, "other", width)
        for _ in range(arguments.rounds):
            for backend in arguments.backends.split(","):
                what = f"64 to {width} to {width} to 10" if backend == "cpu" else f"{BATCH_US} us a batch, {ROW_US} us a row"
                print(f"\n{backend}: {what}; requests of {ROWS} rows")
                with Server(arguments.build, backend, repository) as server:
                    report(server, arguments.seconds)
                    report_two_blocks(server, arguments.seconds)


if __name__ == "__main__":
    main()
