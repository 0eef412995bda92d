"""Everything at once against one server for half an hour: it must answer all of it rightly, and hold no
more at the end than after the warm-up.

usage: mixed_soak.py [--minutes 30]

Requests in closed loops, alone and in streams, every answer checked (mlpserve-load); an open loop with
deadlines; requests that are cancelled or have no time; a block that is reloaded under load with other
weights each time, whose answers say which weights made them; every hostile request of
tests/integration with its exact answer; connections that are cut. Memory, descriptors and threads of
the server are sampled each second. Prints, as JSON, what was done, and each kind's median over the
quarters of the run after its warm-up, and what it holds at rest before and after. Exit code 1 if an answer was wrong or anything grew.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

INTEGRATION = pathlib.Path(__file__).resolve().parent.parent / "integration"
sys.path.insert(0, str(INTEGRATION))

import reload_soak  # noqa: E402
import workers  # noqa: E402
from conftest import BIN, DIGITS, Server  # noqa: E402
from hostile_test import write_repository  # noqa: E402
from samples import growth, growth_at_rest, parts, sample  # noqa: E402

CASES = DIGITS / "digits/test.safetensors"
CHECKED = ["--data", f"{CASES}:x", "--expect", f"{CASES}:logits64"]
# For each run of mlpserve-load: its flags, and whether requests may fail.
LOADS = {
    "closed loop": (["--rows", "16", "--concurrency", "4", *CHECKED], False),
    "streams": (["--rows", "1", "--concurrency", "4", "--streaming", *CHECKED], False),
    "open loop with deadlines": (["--rows", "64", "--rate", "100", "--deadline-ms", "20", *CHECKED], True),
}


class LoadTester:
    """mlpserve-load for the whole time."""

    def __init__(self, server, name, seconds):
        self.name, (flags, self.may_fail) = name, LOADS[name]
        command = [BIN / "mlpserve-load", "digits", "--address", server.grpc_address, "--json", "-",
                   "--quiet", "--warm-up-s", "0", "--duration-s", str(seconds), *flags]
        if self.may_fail:
            command.append("--allow-errors")
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)

    def finish(self):
        """Requests that were answered, and a list of problems."""
        out, _ = self.process.communicate(timeout=60)
        if self.process.returncode != 0:
            return 0, [f"{self.name}: mlpserve-load ended with {self.process.returncode}: {out[-500:]}"]
        result = json.loads(out)["results"][0]
        failed = result["failed"] if not self.may_fail else 0
        return result["requests"], [f"{self.name}: {failed} requests failed"] if failed else []


def watch(server, seconds):
    """Samples until the time is up or the server has ended."""
    samples, end = [], time.monotonic() + seconds
    while time.monotonic() < end and server.process.poll() is None:
        try:
            samples.append(sample(server.process.pid))
        except (OSError, IndexError):  # it has just ended
            break
        time.sleep(1)
    return samples


def run_all(server, block, seconds):
    """Everything at once. Problems, what was done by name, and the samples."""
    stop = threading.Event()
    testers = [LoadTester(server, name, seconds) for name in LOADS]
    reloaded = reload_soak.Load(server, 1)
    crowd = [kind(server, stop) for kind in (workers.Cancellations, workers.Deadlines,
                                             workers.HostileRequests, workers.Connections)]
    crowd.append(workers.Reloads(server, stop, block))
    samples = watch(server, seconds)
    stop.set()
    for worker in crowd:
        worker.thread.join()
    reloaded.stop()
    finished = {tester.name: tester.finish() for tester in testers}
    problems = [problem for _, found in finished.values() for problem in found] + reloaded.problems
    problems += [problem for worker in crowd for problem in worker.problems]
    done = {name: count for name, (count, _) in finished.items()}
    done |= {worker.name: worker.done for worker in crowd}
    return problems, {**done, "requests to the reloaded block": reloaded.answers}, samples


def soak(folder, seconds):
    """Problems (a list of texts), and the figures (a dict)."""
    repository = write_repository(folder / "models")
    shutil.copytree(DIGITS / "digits", repository / "digits")
    block = reload_soak.write_block(repository)
    server = Server(repository, folder / "server.log", "--model-control", "explicit", "--load-model",
                    "*").await_ready()
    try:
        before = sample(server.process.pid)
        problems, done, samples = run_all(server, block, seconds)
        medians = parts(samples)
        problems += growth(medians) if medians else ["the server has ended at once"]
        time.sleep(5)  # what was in flight ends, and memory is handed back
        figures = {"seconds": round(seconds), **done, "at rest before": before, "quarters": medians}
        if server.process.poll() is None:
            figures["at rest after"] = sample(server.process.pid)
            problems += growth_at_rest(before, figures["at rest after"])
    finally:
        code = server.stop()
    if code != 0:
        problems.append(f"the server ended with {code}:\n{server.log()[-2000:]}")
    return problems, figures


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        problems, figures = soak(pathlib.Path(folder), arguments.minutes * 60)
    print(json.dumps(figures, indent=1))
    for problem in problems[:20]:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
