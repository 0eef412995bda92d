"""Reloads a block again and again under constant load: no request fails, no answer mixes two versions.

usage: reload_soak.py [--reloads 1000] [--clients 4] [--poll]

The weights of load number n are all n, so y = n * sum(x): each row of an answer tells which weights
made it. Prints the reloads, the requests, and the server's memory after the warm-up and at the end.
By RepositoryModelLoad, or with --poll by files that are replaced. Exit code 1 if anything was wrong.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile
import threading
import time

import numpy as np
import safetensors.numpy
import tritonclient.grpc as triton

from conftest import Server

FEATURES, OUTPUTS, ROWS = 64, 16, 8
WARM_UP = 20  # reloads after which the allocator has what it needs


def write_weights(block, number):
    """Replaces version 1 at once, as a careful publisher does."""
    folder = block / "1"
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file({"w": np.full((OUTPUTS, FEATURES), number, np.float32)},
                                folder / "next")
    os.replace(folder / "next", folder / "weights.safetensors")


def write_block(repository):
    block = repository / "block"
    write_weights(block, 1)
    (block / "model.json").write_text(json.dumps({
        "input": {"name": "x", "features": FEATURES}, "output": {"name": "y", "features": OUTPUTS},
        "layers": [{"name": "fc", "weight": "w"}], "batching": {"max_rows": 32}}))
    return block


class Load:
    """Clients that ask as fast as they are answered, and look at every answer."""

    def __init__(self, server, clients):
        self.answers, self.problems, self.newest = 0, [], 0
        self._server, self._stop, self._lock = server, threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self, seed):
        rng = np.random.default_rng(seed)
        with self._server.client() as client:
            while not self._stop.is_set():
                # Integers: sums are exact, and a quotient tells the weights.
                x = rng.integers(1, 9, (ROWS, FEATURES)).astype(np.float32)
                tensor = triton.InferInput("x", x.shape, "FP32")
                tensor.set_data_from_numpy(x)
                try:
                    y = client.infer("block", [tensor]).as_numpy("y")
                except Exception as error:  # any failure at all is what is looked for
                    self._note(f"a request failed: {error}")
                    continue
                made_by = np.unique(y / x.sum(1, keepdims=True))
                if len(made_by) != 1 or made_by[0] != int(made_by[0]):
                    self._note(f"an answer of several versions: {made_by}")
                with self._lock:
                    self.answers += 1
                    self.newest = max(self.newest, int(made_by[0]))

    def _note(self, problem):
        with self._lock:
            self.problems.append(problem)

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def resident_kb(server):
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def reload_by_rpc(client, block, number):
    write_weights(block, number)
    client.load_model("block")


def reload_by_poll(load, block, number, seconds=30):
    write_weights(block, number)
    deadline = time.monotonic() + seconds
    while load.newest < number:
        if time.monotonic() > deadline:
            raise AssertionError(f"weights {number} were not taken within {seconds} s")
        time.sleep(0.002)


def soak(folder, reloads, clients, poll):
    """Problems (a list of texts), and the figures (a dict)."""
    repository = pathlib.Path(folder) / "models"
    block = write_block(repository)
    flags = (["--model-control", "poll", "--poll-interval", "0.02"] if poll
             else ["--model-control", "explicit", "--load-model", "*"])
    server = Server(repository, pathlib.Path(folder) / "server.log", *flags).await_ready()
    try:
        load = Load(server, clients)
        began, before = time.monotonic(), 0
        with server.client() as client:
            for number in range(2, reloads + 2):
                if poll:
                    reload_by_poll(load, block, number)
                else:
                    reload_by_rpc(client, block, number)
                if number == WARM_UP:
                    before = resident_kb(server)
        took = time.monotonic() - began
        load.stop()
        figures = {"reloads": reloads, "seconds": round(took, 1), "requests": load.answers,
                   "memory_before_kb": before, "memory_after_kb": resident_kb(server)}
        if load.newest < reloads:
            load.problems.append(f"the newest answer was of weights {load.newest}")
        return load.problems, figures
    finally:
        if server.stop() != 0:
            raise AssertionError(server.log())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--reloads", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--poll", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        problems, figures = soak(folder, arguments.reloads, arguments.clients, arguments.poll)
    print(json.dumps(figures))
    for problem in problems[:10]:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
