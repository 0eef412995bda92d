"""Three servers, each a host of its own (a network namespace), behind gRPC's round robin, Envoy and HAProxy.

usage: replicas.py [--seconds S] [--balancer grpc|envoy|haproxy ...]
For each balancer, under load: how even the requests spread; a rolling restart of all three, in which no request may
fail; kill -9 of one, in which only what it had in flight may fail, and none where the policy sends it again. Prints the
figures; the exit code is 1 where one of these does not hold. Needs root, and haproxy and envoy for theirs.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("MLPSERVE_BIN", ROOT / "build/release/bin"))
CLIENT = "10.77.0.1"
REPLICAS = ["10.77.0.11", "10.77.0.12", "10.77.0.13"]
IN_FLIGHT = 12
DRAIN_SECONDS = 4


def ip(*arguments, check=True):
    subprocess.run(["ip", *arguments], check=check, capture_output=True)


class Hosts:
    """Network namespaces: the client's with a bridge, and one for each replica. Nothing of them is seen outside."""

    def __init__(self):
        self.prefix = f"mlps{os.getpid()}"
        self.client = f"{self.prefix}c"

    def name(self, index):
        return f"{self.prefix}r{index}"

    def __enter__(self):
        try:
            self.make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def make(self):
        ip("netns", "add", self.client)
        for command in (["link", "add", "br0", "type", "bridge"], ["addr", "add", f"{CLIENT}/24", "dev", "br0"],
                        ["link", "set", "br0", "up"], ["link", "set", "lo", "up"]):
            ip("-n", self.client, *command)
        for index, address in enumerate(REPLICAS):
            name = self.name(index)
            ip("netns", "add", name)
            ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", f"port{index}", "netns", self.client)
            ip("-n", self.client, "link", "set", f"port{index}", "master", "br0", "up")
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")

    def __exit__(self, *_):
        for name in (self.client, *(self.name(index) for index in range(len(REPLICAS)))):
            ip("netns", "del", name, check=False)

    def start(self, name, *command, **options):
        return subprocess.Popen(["ip", "netns", "exec", name, *map(str, command)], **options)


class Replica:
    def __init__(self, hosts, index, folder):
        self.hosts, self.index, self.log = hosts, index, folder / f"replica{index}.log"
        self.address = REPLICAS[index]
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.process = self.hosts.start(
                self.hosts.name(self.index), BIN / "mlpserve", "--model-repository", ROOT / "deploy/models",
                "--backend", "cpu", "--cpu-threads", "1", "--drain-grace", DRAIN_SECONDS,
                "--grpc-address", f"{self.address}:8001", "--http-address", f"{self.address}:8002", stderr=log)

    def get(self, path):
        """As its own host sees it; None while it does not answer."""
        done = subprocess.run(["ip", "netns", "exec", self.hosts.name(self.index), sys.executable, "-c", GET,
                               f"http://{self.address}:8002{path}"], capture_output=True, text=True, timeout=20)
        return done.stdout if done.returncode == 0 else None

    def await_ready(self):
        until(lambda: self.get("/readyz") is not None, f"replica {self.index} is not ready: {self.log}")

    def answered(self):
        return int(re.search(r'mlpserve_requests_total\{model="digits",version="1"\} (\d+)',
                             self.get("/metrics")).group(1))

    def restart(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        assert code == 0, f"replica {self.index} ended with {code}: {self.log}"
        self.start()
        self.await_ready()

    def kill(self):
        self.process.kill()
        self.process.wait()


GET = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"


def until(good, failure, seconds=30):
    deadline = time.monotonic() + seconds
    while not good():
        if time.monotonic() > deadline:
            raise AssertionError(failure)
        time.sleep(0.05)


class Load:
    def __init__(self, hosts, target, retry):
        self.process = hosts.start(hosts.client, sys.executable, ROOT / "tests/deploy/replica_load.py", target,
                                   IN_FLIGHT, "retry" if retry else "no-retry", stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "connected\n", "the client failed: see above"

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=40)
        assert self.process.returncode == 0, "the client failed: see above"
        return json.loads(output)


def envoy_config(folder):
    config = yaml.safe_load((ROOT / "deploy/proxy/envoy.yaml").read_text())
    (cluster,) = config["static_resources"]["clusters"]
    cluster["type"] = "STATIC"
    (endpoints,) = cluster["load_assignment"]["endpoints"]
    (one,) = endpoints["lb_endpoints"]
    endpoints["lb_endpoints"] = []
    for address in REPLICAS:
        other = json.loads(json.dumps(one))
        other["endpoint"]["address"]["socket_address"]["address"] = address
        endpoints["lb_endpoints"].append(other)
    path = folder / "envoy.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def haproxy_config(folder):
    text = (ROOT / "deploy/proxy/haproxy.cfg").read_text()
    template = re.search(r"    server-template .* init-addr none (.*)\n", text)
    text = text.replace(template.group(0), "".join(f"    server replica{index} {address}:8001 {template.group(1)}\n"
                                                   for index, address in enumerate(REPLICAS)))
    path = folder / "haproxy.cfg"
    path.write_text(text)
    return path


@contextlib.contextmanager
def balancer(kind, hosts, folder):
    """The address that a client is given."""
    if kind == "grpc":
        yield "ipv4:" + ",".join(f"{address}:8001" for address in REPLICAS)
        return
    if kind == "envoy":
        program = shutil.which("envoy", path=f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")
        command = [program, "-c", envoy_config(folder), "--concurrency", "1", "--log-level", "warning",
                   "--disable-hot-restart"]
    else:
        command = [shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin"), "-db", "-f",
                   haproxy_config(folder)]
    with open(folder / f"{kind}.log", "wb") as log:
        proxy = hosts.start(hosts.client, *command, stdout=log, stderr=log)
    try:
        time.sleep(2)  # the first health checks
        assert proxy.poll() is None, (folder / f"{kind}.log").read_text()
        yield f"ipv4:{CLIENT}:8001"
    finally:
        proxy.terminate()
        proxy.wait(20)


class Report:
    def __init__(self):
        self.broken = 0

    def line(self, kind, what, good, result, extra=""):
        self.broken += not good
        failures = ", ".join(f"{count}x {text}" for text, count in result["failures"].items()) or "none"
        print(f"{'ok  ' if good else 'FAIL'} {kind:8} {what:34} {result['answered']:7,} answered, "
              f"{result['answered'] / result['seconds']:6,.0f}/s, p50 {result['p50_ms']:.1f} ms, "
              f"p99 {result['p99_ms']:.1f} ms, worst {result['worst_ms']:.0f} ms, failed: {failures}{extra}", flush=True)


def spread(hosts, replicas, target, seconds, kind, report):
    before = [replica.answered() for replica in replicas]
    load = Load(hosts, target, retry=False)
    time.sleep(seconds)
    result = load.stop()
    counts = [replica.answered() - old for replica, old in zip(replicas, before)]
    shares = [count / max(1, sum(counts)) for count in counts]
    good = not result["failures"] and min(shares) > 0.25
    report.line(kind, "round robin", good, result, "; shares " + " ".join(f"{share:.1%}" for share in shares))


def rolling_restart(hosts, replicas, target, seconds, kind, report):
    load = Load(hosts, target, retry=False)
    time.sleep(seconds / 2)
    for replica in replicas:
        replica.restart()
        time.sleep(1.5)  # the balancer finds that it is back
    time.sleep(seconds / 2)
    result = load.stop()
    report.line(kind, "rolling restart of all three", not result["failures"], result)


def kill_one(hosts, replicas, target, seconds, kind, report, retry):
    load = Load(hosts, target, retry)
    time.sleep(seconds / 2)
    replicas[0].kill()
    time.sleep(seconds)
    result = load.stop()
    failed = sum(result["failures"].values())
    policy = retry or kind == "envoy"
    report.line(kind, f"kill -9 of one, {'retried by the client' if retry else 'no retry of the client'}",
                failed == 0 if policy else failed <= IN_FLIGHT, result)
    replicas[0].start()
    replicas[0].await_ready()
    time.sleep(1.5)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6, help="of load in each part (%(default)s)")
    parser.add_argument("--balancer", nargs="+", choices=["grpc", "envoy", "haproxy"],
                        default=["grpc", "envoy", "haproxy"])
    arguments = parser.parse_args()
    report, replicas = Report(), []
    folder = pathlib.Path(tempfile.mkdtemp(prefix="mlpserve-replicas."))
    with Hosts() as hosts:
        try:
            replicas = [Replica(hosts, index, folder) for index in range(len(REPLICAS))]
            for replica in replicas:
                replica.await_ready()
            for kind in arguments.balancer:
                with balancer(kind, hosts, folder) as target:
                    spread(hosts, replicas, target, arguments.seconds, kind, report)
                    rolling_restart(hosts, replicas, target, arguments.seconds, kind, report)
                    kill_one(hosts, replicas, target, arguments.seconds, kind, report, retry=False)
                    kill_one(hosts, replicas, target, arguments.seconds, kind, report, retry=True)
        finally:
            for replica in replicas:
                replica.kill()
    if report.broken:
        print(f"logs are kept in {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
