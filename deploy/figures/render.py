"""Writes the README's tables of figures: the service's from service.json beside this script, the kernels'
from the newest of kernels/results.

usage: render.py [--check]     with --check nothing is written: exit code 1 if the README is stale
"""

import json
import pathlib
import sys

import kernel_tables

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
README = ROOT / "README.md"
BEGIN, END = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"


def service():
    """Requests per second, latency and processor time of each server under each load."""
    run = json.loads((HERE / "service.json").read_text())
    lines = [
        f"Small requests of 64 FP32 features on {run['cores']} cores of an {run['cpu']} "
        f"({run['date']}, commit {run['commit']}; {run['method']}):",
        "",
        "| load | server | requests/s | p50 µs | p99 µs | server CPU µs a request |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for r in run["records"]:
        lines.append(f"| {r['load']} | {r['server']} | {r['requests_per_s']:,.0f} | {r['p50_us']:,.0f} "
                     f"| {r['p99_us']:,.0f} | {r['server_cpu_us']:.1f} |")
    return "\n".join(lines) + "\n"


def kernels():
    """Each fused block over the library's plain product of the same shape, from the newest run."""
    return kernel_tables.render(max((ROOT / "kernels/results").glob("h200-*.jsonl")).read_text().splitlines())


def main():
    text = README.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    rendered = text[:begin] + service() + "\n" + kernels() + text[end:]
    if "--check" in sys.argv:
        sys.exit("README.md is stale: run deploy/figures/render.py" if rendered != text else 0)
    README.write_text(rendered)


if __name__ == "__main__":
    main()
