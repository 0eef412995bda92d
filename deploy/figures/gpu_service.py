"""The table of docs/performance.md of the server on a GPU under load, from the records of tests/gpu/run's part `service`."""

import json

SERVERS = {"cuda": "GPU", "cpu": "CPU backend", "null": "null server"}
LOADS = {"deep": "8 layers 8192 → 8192", "deep_fp32": "8 layers 8192 → 8192", "wide": "4096 → 4096", "small": "3 layers of 1024",
         "digits": "digits"}


def figures(record):
    return (f"{record['requests_per_s']:,.0f}/s, {record['p50_us']:,.0f} / {record['p99_us']:,.0f} µs, "
            f"{record['server_cpu_us']:,.0f} µs")


def row(found):
    """Of one load: what each server did, and ours over the one that computes nothing."""
    any_one = next(iter(found.values()))
    load = (f"{LOADS[any_one['block']]}, {any_one['rows']} rows of {any_one['datatype']}, {any_one['in_flight']} at a time"
            .replace(" 1 rows", " 1 row"))
    cells = [figures(found[server]) if server in found else "–" for server in SERVERS]
    share = found["cuda"]["requests_per_s"] / found["null"]["requests_per_s"]
    return f"| {load} | " + " | ".join(cells) + f" | {share:.2f} |"


def render(lines):
    machine, loads = {}, {}
    for record in map(json.loads, lines):
        if record["op"] == "machine":
            machine = record
        elif record["op"] == "service":
            loads.setdefault(record["load"], {})[record["server"]] = record
    rounds = min(record["rounds"] for found in loads.values() for record in found.values())
    return "\n".join([
        f"The server on one {machine['gpu']} ({machine['power_limit_w']:.0f} W, driver {machine['driver']}) with {machine['cores']} "
        f"cores that the client shares ({machine['date']}, commit {machine['commit']}; `tests/gpu/run OUT service`: closed loop, "
        f"the median of {rounds} rounds, the servers in turn). The null server computes nothing and answers as many bytes. In each "
        "cell: requests/s, latency p50 / p99, server CPU a request:",
        "",
        "| block and load | " + " | ".join(SERVERS.values()) + " | GPU of null, requests/s |",
        "| --- | " + "--- | " * len(SERVERS) + "---: |",
        *map(row, loads.values()),
        "",
    ])
