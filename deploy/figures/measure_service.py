"""Measures the service's figures anew and writes service.json beside this script: mlpserve, Triton
(deploy/figures/triton) and a server that does nothing, under the same loads by mlpserve-load, all on
this machine, in turn. deploy/figures/render.py then puts them into the README.

usage: measure_service.py [--bin FOLDER] [--rounds N] [--seconds S] [--without-triton]

Each round goes through all loads and servers, so that what disturbs the machine for a while disturbs
all of them; a figure is the median of its rounds.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CASES = ROOT / "deploy/models/digits/test.safetensors"

BUSY = os.getloadavg()[0]
# Rows a request, requests in flight, connections.
LOADS = [("1 row, 1 at a time", 1, 1, 1), ("1 row, 128 at a time", 1, 128, 8),
         ("16 rows, 32 at a time", 16, 32, 4)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pids_below(pid):
    """The process and all that it started, which is where Triton's Python backend runs."""
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += pids_below(int(child))
    return found


class Server:
    def __init__(self, name, command, address, log):
        self.name, self.address, self.log = name, address, log
        with open(log, "wb") as out:
            self.process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=out,
                                            start_new_session=True)

    def await_answers(self, load_program, seconds=600):
        """Until a request is answered; installing Triton takes its time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            probe = subprocess.run(
                [load_program, "digits", "--address", self.address, "--input", "x:FP32:64",
                 "--duration-s", "0.2", "--warm-up-s", "0", "--quiet"], capture_output=True)
            if probe.returncode == 0:
                return
            if self.process.poll() is not None:
                break
            time.sleep(1)
        sys.exit(f"measure_service.py: no answer from {self.name}; its log is {self.log}")

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def commands(arguments):
    """Name, address and command line of each server."""
    ports = [free_port() for _ in range(3)]
    ours, triton, null = [f"127.0.0.1:{port}" for port in ports]
    yield ("mlpserve, digits", ours,
           [arguments.bin / "mlpserve", "--model-repository", ROOT / "deploy/models", "--backend",
            "cpu", "--drain-grace", "0", "--grpc-address", ours, "--http-address", "127.0.0.1:0"])
    if not arguments.without_triton:
        yield ("Triton 2.51, digits in its Python backend", triton,
               [HERE / "triton/serve.sh", ROOT / "build/triton", ports[1]])
    yield ("null server (prepared answer)", null,
           [arguments.bin / "null-server", null, os.cpu_count(), 10])


def start_servers(arguments, work, stack):
    servers = []
    for name, address, command in commands(arguments):
        server = Server(name, command, address, work / f"{len(servers)}.log")
        stack.callback(server.stop)
        servers.append(server)
    for server in servers:
        server.await_answers(arguments.bin / "mlpserve-load")
    return servers


def measure(arguments, server, rows, concurrency, connections):
    pids = ",".join(str(pid) for pid in pids_below(server.process.pid))
    command = [arguments.bin / "mlpserve-load", "digits", "--address", server.address, "--input",
               "x:FP32:64", "--data", f"{CASES}:x", "--rows", rows, "--concurrency", concurrency,
               "--connections", connections, "--duration-s", arguments.seconds, "--warm-up-s", "1",
               "--server-pid", pids, "--quiet", "--json", "-"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"measure_service.py: {server.name}: {done.stderr}")
    result = json.loads(done.stdout)["results"][0]
    return {"requests_per_s": result["requests_per_s"], "p50_us": result["latency_us"]["p50"],
            "p99_us": result["latency_us"]["p99"], "server_cpu_us": result["server_cpu_us"]}


def cpu_name():
    return re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text()).group(1)


def commit():
    return subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True,
                          text=True, check=True).stdout.strip()


def busy():
    """What a reader must know if other programs wanted the processors, too."""
    return f"; other work on the machine, load average {BUSY:.0f} before" if BUSY > 1 else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin",
                        help="folder of the built programs (default: build/release/bin)")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement (default: 3)")
    parser.add_argument("--without-triton", action="store_true", help="neither install nor run it")
    arguments = parser.parse_args()

    figures = {}
    with contextlib.ExitStack() as stack:
        work = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = start_servers(arguments, work, stack)
        for round_number in range(arguments.rounds):
            for load, *shape in LOADS:
                for server in servers:
                    print(f"round {round_number + 1} of {arguments.rounds}: {load}, {server.name}",
                          file=sys.stderr)
                    figures.setdefault((load, server.name), []).append(
                        measure(arguments, server, *shape))
    records = [{"load": load, "server": server, "rounds": len(rounds),
                **{key: round(statistics.median(r[key] for r in rounds), 1) for key in rounds[0]}}
               for (load, server), rounds in figures.items()]
    run = {"commit": commit(), "date": datetime.date.today().isoformat(), "cpu": cpu_name(),
           "cores": os.cpu_count(),
           "method": f"`deploy/figures/measure_service.py`: mlpserve-load in a closed loop on the "
                     f"same cores; {arguments.rounds} rounds of {arguments.seconds:g} s each, the "
                     f"servers in turn; the median of the rounds{busy()}",
           "records": records}
    (HERE / "service.json").write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
