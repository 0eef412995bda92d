"""Measures the server on a GPU under load, beside a server that answers at once and computes nothing, in
turn on the same machine, and prints a record of each figure as a line of JSON: the median of the rounds.

usage: service.py BIN_DIRECTORY BLOCKS_DIRECTORY [--rounds N] [--seconds S] [--loads NAME,...] [--libraries DIR]

BLOCKS_DIRECTORY is what make_blocks.py --service wrote. Each server is measured by mlpserve-load in a closed
loop, on the same cores. Blocks of one kind are served by one process at a time, so that loads do not meet.
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# Name: block, rows of a request, requests in flight, connections, datatype, inputs, outputs.
LOADS = {
    "deep-bf16": ("deep", 256, 16, 8, "BF16", 8192, 8192),
    "deep-fp32": ("deep_fp32", 256, 16, 8, "FP32", 8192, 8192),
    "wide-16": ("wide", 16, 32, 8, "FP32", 4096, 4096),
    "wide-128": ("wide", 128, 32, 8, "FP32", 4096, 4096),
    "small-1": ("small", 1, 1, 1, "FP32", 1024, 1024),
    "digits-1": ("digits", 1, 1, 1, "FP32", 64, 10),
    "digits-128": ("digits", 1, 128, 8, "FP32", 64, 10),
    "digits-512": ("digits", 1, 512, 16, "FP32", 64, 10),
}
CPU_TOO = ("digits-1", "digits-128", "digits-512")
BYTES = {"FP32": 4, "BF16": 2}
ENVIRONMENT = dict(os.environ)  # of the programs; not Python's own


class Server:
    def __init__(self, name, port, command, log):
        self.name, self.address, self.metrics = name, f"127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}/metrics"
        with open(log, "wb") as out:
            self.process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=out, env=ENVIRONMENT)
        self.log = log

    def batches(self):
        """How many have run, and of how many rows; 0 of a server without metrics."""
        try:
            with urllib.request.urlopen(self.metrics, timeout=5) as page:
                lines = page.read().decode().splitlines()
        except (OSError, ValueError):
            return 0, 0
        samples = [line.rsplit(" ", 1) for line in lines]
        return tuple(sum(float(value) for name, value in samples if name.startswith(f"mlpserve_batch_rows_{part}{{"))
                     for part in ("count", "sum"))

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def mlpserve(bin_directory, backend, repository, port, cache, log):
    return Server(backend, port,
                  [bin_directory / "mlpserve", "--model-repository", repository, "--backend", backend, "--grpc-address",
                   f"127.0.0.1:{port}", "--http-address", f"127.0.0.1:{port + 1}", "--drain-grace", "0", "--kernel-cache",
                   cache], log)


def null(bin_directory, load, port, log):
    _, rows, _, _, datatype, _, outputs = LOADS[load]
    threads = max(2, (os.cpu_count() or 2) // 2)
    # Its answer is one row of FP32: as many bytes as the block's.
    return Server("null", port, [bin_directory / "null-server", f"127.0.0.1:{port}", threads,
                                 rows * outputs * BYTES[datatype] // 4], log)


def run_load(arguments, server, load, seconds):
    block, rows, in_flight, connections, datatype, inputs, _ = LOADS[load]
    command = [arguments.bin / "mlpserve-load", block, "--address", server.address, "--input", f"x:{datatype}:{inputs}",
               "--rows", rows, "--concurrency", in_flight, "--connections", connections, "--duration-s", seconds,
               "--warm-up-s", "0.5", "--server-pid", server.process.pid, "--quiet", "--json", "-"]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False,
                          env=ENVIRONMENT)


def await_answers(arguments, server, load, seconds=180):
    deadline = time.monotonic() + seconds
    said = ""
    while time.monotonic() < deadline and server.process.poll() is None:
        done = run_load(arguments, server, load, 0.2)
        if done.returncode == 0:
            return
        said = done.stderr
        time.sleep(0.2)
    sys.exit(f"service.py: no answer from {server.name} to {load}: {said}\n{server.log.read_text()[-3000:]}")


def measure(arguments, server, load):
    before = server.batches()
    done = run_load(arguments, server, load, arguments.seconds)
    batches, batched = (after - earlier for earlier, after in zip(before, server.batches()))
    if done.returncode != 0:
        sys.exit(f"service.py: {server.name}, {load}: {done.stderr}")
    result = json.loads(done.stdout)["results"][0]
    _, rows, _, _, datatype, inputs, outputs = LOADS[load]
    gigabytes = 1e-9 * rows * BYTES[datatype] * max(inputs, outputs)
    return {"requests_per_s": result["requests_per_s"], "gbps": gigabytes * result["requests_per_s"],
            "p50_us": result["latency_us"]["p50"], "p99_us": result["latency_us"]["p99"],
            "rows_per_batch": batched / max(batches, 1), "server_cpu_us": result["server_cpu_us"], "client_cpu_us": result["client_cpu_us"]}


def measure_load(arguments, servers, load):
    """Rounds of one load, the servers in turn, another first in each."""
    figures = {server.name: [] for server in servers}
    for server in servers:
        await_answers(arguments, server, load)
    for number in range(arguments.rounds):
        for i in range(len(servers)):
            server = servers[(number + i) % len(servers)]
            figures[server.name].append(measure(arguments, server, load))
    block, rows, in_flight, connections, datatype, _, _ = LOADS[load]
    for name, rounds in figures.items():
        median = {key: round(statistics.median(r[key] for r in rounds), 2) for key in rounds[0]}
        yield {"op": "service", "load": load, "block": block, "rows": rows, "in_flight": in_flight, "connections": connections,
               "datatype": datatype, "server": name, "rounds": len(rounds), **median}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bin", type=pathlib.Path)
    parser.add_argument("blocks", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--loads", default=",".join(LOADS))
    parser.add_argument("--cache", type=pathlib.Path, help="compiled kernels; default: a temporary folder")
    parser.add_argument("--libraries", help="where the programs find those that were packed with them")
    arguments = parser.parse_args()
    if arguments.libraries:
        known = os.environ.get("LD_LIBRARY_PATH")
        ENVIRONMENT["LD_LIBRARY_PATH"] = arguments.libraries + (f":{known}" if known else "")
    port = 18100
    with contextlib.ExitStack() as stack:
        work = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cache = arguments.cache or work / "cache"
        for load in arguments.loads.split(","):
            if load not in LOADS:
                sys.exit(f"service.py: expected --loads among {', '.join(LOADS)}, found {load}")
            block = LOADS[load][0]
            repository = work / f"repository-{load}"
            repository.mkdir()
            source = ROOT / "deploy/models" if block == "digits" else arguments.blocks
            (repository / block).symlink_to((source / block).resolve(), target_is_directory=True)
            with contextlib.ExitStack() as of_load:
                servers = [mlpserve(arguments.bin, "cuda", repository, port, cache, work / f"{load}.cuda.log")]
                if load in CPU_TOO:
                    servers.append(mlpserve(arguments.bin, "cpu", repository, port + 2, cache, work / f"{load}.cpu.log"))
                servers.append(null(arguments.bin, load, port + 4, work / f"{load}.null.log"))
                for server in servers:
                    of_load.callback(server.stop)
                for record in measure_load(arguments, servers, load):
                    print(json.dumps(record), flush=True)
            port += 6


main()
