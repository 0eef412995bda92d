"""The suite of shapes (kernels/plans/suite.plan) as a table and a plot, from the records of one or more runs.

usage: python3 deploy/figures/suite.py RECORDS.jsonl ... --out kernels/results/NAME
Writes NAME.md and NAME.svg: how many times as fast as cuBLASLt's best plain product every whole block is, with the geometric
mean and the least. Records are mlpserve-bench's (--json); those of one machine and driver belong together.
"""

import argparse
import json
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import kernel_tables  # noqa: E402

WAYS = ("single launches", "back to back")
GELU = kernel_tables.GELU
COLORS = ("#9aa5b1", "#1f6feb")
WIDTH, HEIGHT, LEFT, TOP = 760, 360, 50, 20


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def by_product(layers, keep):
    """Ratios by (outputs, inputs) and rows, of those that `keep` keeps."""
    table = {}
    for (op, dtype, m, n, k), record in layers.items():
        if keep(op, dtype):
            table.setdefault((n, k), {})[m] = kernel_tables.ratios(record)
    return table


def grid(table):
    rows = sorted({m for found in table.values() for m in found})
    yield "| outputs x inputs | " + " | ".join(f"{m:,}" for m in rows) + " |"
    yield "| --- " + "| ---: " * len(rows) + "|"
    for (n, k), found in sorted(table.items()):
        cells = [kernel_tables.pair(found[m]) if m in found else "" for m in rows]
        yield f"| {n:,} x {k:,} | " + " | ".join(cells) + " |"


def summary(what, layers):
    if not layers:
        return []
    ratios = [kernel_tables.ratios(r) for r in layers.values()]
    libraries = sum(r["variant"].startswith("cublaslt") for r in layers.values())
    figures = "; ".join(f"{way} {geometric_mean(values):.3f}, least {min(values):.2f}, {sum(v >= 0.97 for v in values)} at 0.97 "
                        f"or more" for way, values in zip(WAYS, zip(*ratios)))
    return [f"- {what}, {len(ratios)} figures: geometric mean in {figures}; the library chosen at {libraries}"]


def sentence(run, page):
    """What the README says of a run, whose table is on `page`."""
    ratios = [kernel_tables.ratios(r) for r in run.layers.values()]
    burst, sustained = zip(*ratios)
    return (f"Of cuBLASLt's best bare product, whole fused blocks reach {geometric_mean(burst):.2f} in single launches (geometric mean; "
            f"least {min(burst):.2f}) and {geometric_mean(sustained):.2f} (least {min(sustained):.2f}) back to back, over {len(ratios)} shapes of "
            f"feed-forward layers of 1 to 4,096 rows on one {run.machine['gpu']} ([table]({page})).")


def markdown(run):
    machine, layers = run.machine, run.layers

    def of(dtype, gelu):
        return {key: r for key, r in layers.items() if key[1] == dtype and (key[0] == GELU) == gelu}

    lines = [f"# The suite on one {machine['gpu']}", "",
             f"Whole blocks with their epilogue, of cuBLASLt's best plain product (above 1.00: faster), single launches / back to back, each "
             f"point's two sides in turn in one process. {machine['power_limit_w']:.0f} W, driver {machine['driver']}, "
             f"{machine['date']}, commit {machine['commit']}; `mlpserve-bench kernels --plan kernels/plans/suite.plan`.", ""]
    lines += summary("All", layers) + summary("BF16 GELU block", of("bf16", True)) + summary("BF16, the other blocks", of("bf16", False))
    lines += summary("FP16", of("fp16", True)) + summary("TF32", of("tf32", True))
    for dtype in ("bf16", "fp16", "tf32"):
        table = by_product(of(dtype, True), lambda *_: True)
        if table:
            lines += ["", f"{dtype.upper()}, {kernel_tables.BLOCKS[GELU]}, by rows:", "", *grid(table)]
    return "\n".join(lines) + "\n"


def plot(layers):
    """Every ratio over the rows of its batch, the geometric mean of each number of rows as a line."""
    rows = sorted({key[2] for key in layers})
    low, high = 0.6, 2.4

    def place(index, ratio):
        x = LEFT + (WIDTH - LEFT - 20) * (index + 0.5) / len(rows)
        clamped = min(max(ratio, low), high)
        return x, TOP + (HEIGHT - TOP - 50) * math.log(high / clamped) / math.log(high / low)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for tick in (0.7, 0.8, 1.0, 1.25, 1.5, 2.0):
        y = place(0, tick)[1]
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="{"#444" if tick == 1 else "#ddd"}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for index, m in enumerate(rows):
        parts.append(f'<text x="{place(index, 1)[0]:.1f}" y="{HEIGHT - 32}" text-anchor="middle">{m}</text>')
    for way, color in enumerate(COLORS):
        means = []
        for index, m in enumerate(rows):
            ratios = [kernel_tables.ratios(r)[way] for key, r in layers.items() if key[2] == m]
            points = [place(index, ratio) for ratio in ratios]
            parts += [f'<circle cx="{x + 8 * way - 4:.1f}" cy="{y:.1f}" r="2" fill="{color}" fill-opacity="0.5"/>' for x, y in points]
            means.append("{:.1f},{:.1f}".format(*place(index, geometric_mean(ratios))))
        parts.append(f'<polyline points="{" ".join(means)}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.append(f'<text x="{LEFT + 240 * way}" y="{HEIGHT - 10}" fill="{color}">{WAYS[way]}, line: geometric mean</text>')
    parts.append(f'<text x="{WIDTH - 20}" y="{HEIGHT - 10}" text-anchor="end">rows; times as fast as cuBLASLt</text></svg>')
    return "\n".join(parts) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("records", nargs="+", type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path, help="path of what is written, without an ending")
    arguments = parser.parse_args()
    run = kernel_tables.Run(line for path in arguments.records for line in path.read_text().splitlines() if line)
    if not run.layers or not run.machine:
        print("suite: expected records of layers, each behind the library's, and of their machine, found none", file=sys.stderr)
        return 2
    arguments.out.with_suffix(".md").write_text(markdown(run))
    arguments.out.with_suffix(".svg").write_text(plot(run.layers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
