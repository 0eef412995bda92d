"""Turns what others print into records, one line of JSON each, as mlpserve-bench writes them.

usage: records.py peers N K LOG...            what peer_kernels.py printed, whole or cut short
       records.py load CACHE READY_S LOG CAT_S  a server's log of loading one block, and its metrics after it;
                                              CACHE: cold or warm; READY_S: seconds from start to ready;
                                              CAT_S: seconds that cat takes to read the weights' file
       records.py machine COMMIT DATE         what nvidia-smi and the kernel say of this machine
"""

import json
import os
import re
import subprocess
import sys

PEER = re.compile(r"(?P<op>\w+) +M= *(?P<m>\d+) (?P<dtype>\w+) (?P<variant>.+?) +burst +(?P<burst_ms>[\d.]+) "
                  r"sustained +(?P<ms>[\d.]+) ms +(?P<tflops>\d+) TF/s err (?P<relerr>\S+)$")
# Of a library's product alone, which peer_kernels.py times beside every block.
PLAIN = "cublas gemm alone"
STAGES = {"weights_s": "copied weights", "kernels_s": "made kernels", "measuring_s": "measured them",
          "host_memory_s": "locked host memory"}


def peers(n, k, logs):
    for log in logs:
        for line in open(log, encoding="utf-8", errors="replace"):
            match = PEER.match(line.rstrip())
            if not match:
                continue
            r = match.groupdict()
            op = "gemm_only" if r["variant"] == PLAIN else r["op"]
            record = {"op": op, "m": int(r["m"]), "n": int(n), "k": int(k), "dtype": r["dtype"], "variant": r["variant"],
                      "burst_ms": float(r["burst_ms"]), "ms": float(r["ms"]), "tflops": float(r["tflops"])}
            if r["relerr"] != "nan":
                record["relerr"] = float(r["relerr"])
            yield record


def found(pattern, text, what):
    match = re.search(pattern, text)
    if not match:
        sys.exit(f"records.py: expected {what} in the log, found none")
    return float(match.group(1))


def load(cache, ready_s, log, cat_s):
    text = open(log, encoding="utf-8").read()
    layers = int(found(r"is ready: (\d+) layers", text, "a block that is ready"))
    record = {"op": "load", "layers": layers, "features": int(found(r"layers, (\d+) ->", text, "features")), "cache": cache,
              "ready_s": float(ready_s), "cat_s": float(cat_s), "load_s": found(r"loaded in (\d+) ms", text, "a time of loading") / 1000,
              "reading_s": found(r"ms, (\d+) of them for reading", text, "a time of reading") / 1000}
    for key, words in STAGES.items():
        record[key] = found(rf"{words} in ([\d.]+) s", text, f"'{words}'")
    runs = found(r"compute_infer_duration_seconds_count\{.*\} (\d+)", text, "a count of batches")
    total = found(r"compute_infer_duration_seconds_sum\{.*\} ([\d.e-]+)", text, "the batches' time")
    record["batches"] = int(runs)
    record["layer_us"] = round(1e6 * total / runs / layers, 2) if runs else 0
    yield record


def machine(commit, date):
    asked = ["nvidia-smi", "--query-gpu=name,driver_version,power.limit", "--format=csv,noheader,nounits"]
    name, driver, limit = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()[0].split(", ")
    yield {"op": "machine", "gpu": name, "driver": driver, "power_limit_w": float(limit), "date": date, "commit": commit,
           "cores": len(os.sched_getaffinity(0))}


def main():
    command, *arguments = sys.argv[1:]
    commands = {"peers": lambda n, k, *logs: peers(n, k, logs), "load": load, "machine": machine}
    records = commands[command](*arguments)
    for record in records:
        print(json.dumps(record))


if __name__ == "__main__":
    main()
