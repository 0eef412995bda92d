"""Prints what deploy/measure-4090 measured as a page of Markdown.

usage: measured_page.py DIRECTORY [--sheet SHEET]

DIRECTORY holds machine.jsonl, sm_89.jsonl (mlpserve-bench's records), sm_89_check.log and card.csv. SHEET is the static page whose roofline the times are held
to; without it there is no such column.
"""

import argparse
import csv
import json
import pathlib
import re
import statistics
import sys

BLOCKS = {"scale_hardtanh_gelu": "scale → hardtanh → GELU", "sigmoid_scale_residual": "z + s·sigmoid(z)",
          "scale_batchnorm_eval": "scale → batch norm"}


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def read_roofline(sheet):
    """(type, rows, block) to microseconds, out of the sheet's section Roofline."""
    lines = sheet.read_text().split("## Roofline")[1].splitlines()
    table = [cells(line) for line in lines if line.startswith("|")]
    rooflines = {}
    for row in table[2:]:
        named = dict(zip(table[0], row))
        for op, name in BLOCKS.items():
            rooflines[named["type"].lower(), int(named["rows"]), op] = float(named[name])
    return rooflines


def read_records(path):
    """Of each type, block and number of rows: the library's record and the fastest kernel's."""
    best, library, read = {}, None, None
    for line in path.read_text().splitlines():
        record = json.loads(line)
        if record["op"] == "read":
            read = record
        elif record["op"] == "gemm_only":
            library = record
        elif record["op"] in BLOCKS:
            key = record["dtype"], record["m"], record["op"]
            if key not in best or record["ms"] < best[key][1]["ms"]:
                best[key] = library, record
    return read, best


def read_card(path):
    """Median clock in MHz and greatest power in W while the card was at work."""
    rows = [row for row in csv.reader(path.open()) if len(row) >= 5]
    clocks = [float(re.sub(r"[^\d.]", "", row[3])) for row in rows]
    powers = [float(re.sub(r"[^\d.]", "", row[4])) for row in rows]
    busy = [clock for clock, power in zip(clocks, powers) if power > max(powers) / 2]
    return statistics.median(busy), max(powers)


def heading(directory, read):
    machine = json.loads((directory / "machine.jsonl").read_text())
    clock, power = read_card(directory / "card.csv")
    cuda = f", CUDA {machine['cuda']}" if machine["cuda"] else ""
    checked = (directory / "sm_89_check.log").read_text()
    return (f"# {machine['gpu']}, measured\n\n"
            f"{machine['date']}, commit {machine['commit']}, driver {machine['driver']}{cuda}; power limit "
            f"{machine['power_limit_w']:.0f} W, at most {power:.0f} W drawn; clock at most {machine['max_sm_mhz']} MHz, median "
            f"under load {clock:.0f} MHz; memory read at {read['gbps']:.0f} GB/s. {len(re.findall('^ok ', checked, re.M))} "
            f"outputs at odd shapes, and each one below, agree with a float64 oracle.\n\n"
            f"n = k = 8192, whole blocks with their epilogue, cold weights, normal data, the fastest of the kernels that a "
            f"server would time at load. µs: single launches / sustained. of cuBLASLt: its best plain product without an "
            f"epilogue, timed in turn in the same run, over ours (above 1: ours is faster). of roofline: the least time that "
            f"published peaks allow, over ours, sustained.\n")


def row_text(key, library, record, rooflines):
    dtype, m, op = key
    roofline = f"{rooflines[key] / (1e3 * record['ms']):.2f}" if rooflines else "–"
    return (f"| {dtype.upper()} | {m} | {BLOCKS[op]} | {record['variant']} | {1e3 * record['burst_ms']:.1f} / "
            f"{1e3 * record['ms']:.1f} | {library['burst_ms'] / record['burst_ms']:.2f} / {library['ms'] / record['ms']:.2f} | "
            f"{roofline} | {record['tflops']:.1f} | {record['gbps']:.0f} | {record['relerr']:.1e} | {record['regs']} |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--sheet", type=pathlib.Path)
    arguments = parser.parse_args()
    read, best = read_records(arguments.directory / "sm_89.jsonl")
    if not best:
        sys.exit(f"measured_page.py: expected records of {', '.join(BLOCKS)} in {arguments.directory}/sm_89.jsonl, found none")
    rooflines = read_roofline(arguments.sheet) if arguments.sheet else {}
    print(heading(arguments.directory, read))
    print("| type | rows | block | kernel | µs | of cuBLASLt | of roofline | TFLOP/s | GB/s | error, 2-norm | registers |")
    print("| --- | ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for key, (library, record) in best.items():
        print(row_text(key, library, record, rooflines))


if __name__ == "__main__":
    main()
