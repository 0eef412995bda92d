"""The table of docs/performance.md of the server on a GPU under load, from the records of tests/gpu/run's part `service`."""

import json

SERVERS = {"cuda": "GPU", "cpu": "CPU backend", "null": "null server"}
LOADS = {"deep": "8 layers 8192 → 8192", "deep_fp32": "8 layers 8192 → 8192", "wide": "4096 → 4096", "small": "3 layers of 1024",
         "digits": "digits"}


def load_text(record):
    return (f"{LOADS[record['block']]}, {record['rows']} rows of {record['datatype']}, {record['in_flight']} at a time"
            .replace(" 1 rows", " 1 row"))


def rows(found):
    """Of one load: what each server did, beside the one that computes nothing."""
    for server in (server for server in SERVERS if server in found):
        record = found[server]
        share = "" if server == "null" else f"{record['requests_per_s'] / found['null']['requests_per_s']:.2f}"
        yield (f"| {load_text(record)} | {SERVERS[server]} | {record['requests_per_s']:,.0f} | {share} | {record['p50_us']:,.0f} | "
               f"{record['p99_us']:,.0f} | {record['server_cpu_us']:,.0f} |")


def render(lines):
    machine, loads = {}, {}
    for record in map(json.loads, lines):
        if record["op"] == "machine":
            machine = record
        elif record["op"] == "service":
            loads.setdefault(record["load"], {})[record["server"]] = record
    rounds = min(record["rounds"] for found in loads.values() for record in found.values())
    return "\n".join([
        "## The server on a GPU",
        "",
        f"One {machine['gpu']} ({machine['power_limit_w']:.0f} W, driver {machine['driver']}) with {machine['cores']} cores that the "
        f"client shares, {machine['date']}, commit {machine['commit']}; `tests/gpu/run OUT service`: closed loop, the median of "
        f"{rounds} rounds, the servers in turn. The null server computes nothing and answers as many bytes.",
        "",
        "| load | what computes | requests/s | of the null server's | p50 µs | p99 µs | server CPU µs a request |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
        *(row for found in loads.values() for row in rows(found)),
        "",
    ])
