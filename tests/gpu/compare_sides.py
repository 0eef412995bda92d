"""Holds one tree's kernels against another's, out of what mlpserve-bench recorded of both in turn on
one card (tests/gpu/run, part `beside`).

usage: compare_sides.py DIRECTORY [--tolerance 0.03]

DIRECTORY holds base.ROUND.*.jsonl and new.ROUND.*.jsonl. Of each point (block, rows, sides, format) and
round, the ratio is the base's sustained time over the new one's: above 1, the new tree is faster. A
point's ratio is the median over the rounds in which both were measured, a column's (block and format)
the geometric mean of its points. `library` is the same ratio of the library's product, which neither
tree changed: how far the card drifted. A point that is over the tolerance slower is marked SLOWER.

Exit code: 0 nothing is slower, 1 a point or a column is, 2 there is nothing to compare.
"""

import argparse
import collections
import json
import math
import pathlib
import statistics
import sys

LIBRARY = "gemm_only"


def read_side(directory, side):
    """Of each point and round: the fastest record of ours, and the library's time beside it."""
    points = collections.defaultdict(dict)
    for path in sorted(directory.glob(f"{side}.*.jsonl")):
        turn = path.name.split(".")[1]
        library = {}
        for line in path.read_text().splitlines():
            record = json.loads(line)
            if "ms" not in record:
                continue
            shape = record["m"], record["n"], record["k"], record["dtype"]
            if record["op"] == LIBRARY:
                library[shape] = record["ms"]
                continue
            key = record["op"], *shape
            best = points[key].get(turn)
            if best is None or record["ms"] < best["ms"]:
                points[key][turn] = record | {"library_ms": library.get(shape)}
    return points


def compare_point(base, new):
    """The medians over the rounds that both sides have; None where there is none."""
    turns = sorted(base.keys() & new.keys())
    if not turns:
        return None
    libraries = [base[t]["library_ms"] / new[t]["library_ms"] for t in turns
                 if base[t]["library_ms"] and new[t]["library_ms"]]
    return {
        "turns": len(turns),
        "ratio": statistics.median(base[t]["ms"] / new[t]["ms"] for t in turns),
        "burst": statistics.median(base[t]["burst_ms"] / new[t]["burst_ms"] for t in turns),
        "library": statistics.median(libraries) if libraries else math.nan,
        "us": 1e3 * statistics.median(new[t]["ms"] for t in turns),
        "variants": sorted({base[t]["variant"] for t in turns}), "now": sorted({new[t]["variant"] for t in turns}),
    }


def geometric_mean(ratios):
    return math.exp(statistics.fmean(math.log(r) for r in ratios))


def variants(point):
    now = ", ".join(point["now"])
    return now if point["now"] == point["variants"] else f"{now} (base: {', '.join(point['variants'])})"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--tolerance", type=float, default=0.03)
    arguments = parser.parse_args()
    base, new = read_side(arguments.directory, "base"), read_side(arguments.directory, "new")
    columns, slower = collections.defaultdict(list), 0
    print(f"{'dtype':5} {'block':24} {'m':>7} {'n':>6} {'k':>6} {'rounds':>6} {'us':>9} {'ratio':>7} {'burst':>7} {'library':>7}")
    for key in sorted(base.keys() & new.keys(), key=lambda k: (k[4], k[0], k[2], k[3], k[1])):
        point = compare_point(base[key], new[key])
        if point is None:
            continue
        op, m, n, k, dtype = key
        columns[dtype, op].append(point["ratio"])
        is_slower = point["ratio"] < 1 / (1 + arguments.tolerance)
        slower += is_slower
        print(f"{dtype:5} {op:24} {m:7} {n:6} {k:6} {point['turns']:6} {point['us']:9.2f} {point['ratio']:7.3f} "
              f"{point['burst']:7.3f} {point['library']:7.3f} {'SLOWER ' if is_slower else ''}{variants(point)}")
    if not columns:
        print(f"compare_sides.py: expected records of both sides in {arguments.directory}, found "
              f"{len(base)} points of base and {len(new)} of new", file=sys.stderr)
        return 2
    below = 0
    for (dtype, op), ratios in sorted(columns.items()):
        mean = geometric_mean(ratios)
        below += mean < 1
        print(f"{dtype} {op}: geometric mean {mean:.4f} of {len(ratios)} points{' BELOW 1' if mean < 1 else ''}")
    print(f"{slower} points over {100 * arguments.tolerance:.0f}% slower, {below} columns below 1")
    return 1 if slower or below else 0


if __name__ == "__main__":
    sys.exit(main())
