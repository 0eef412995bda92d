"""The tables of docs/performance.md of GPU kernels, from the records of one run of tests/gpu/run (its results.jsonl)."""

import json

# By mlpserve-bench's names, and by the short ones of older records.
BLOCKS = {"scale_hardtanh_gelu": "scale → hardtanh → GELU", "sigmoid_scale_residual": "z + s·sigmoid(z)",
          "scale_batchnorm_eval": "scale → batch norm"}
SAME = {"gelu": "scale_hardtanh_gelu", "sigmoid": "sigmoid_scale_residual", "affine": "scale_batchnorm_eval"}
GELU, SIDE = "scale_hardtanh_gelu", 8192
PEERS = {"torch.compile": "torch.compile, max-autotune", "torch eager": "PyTorch", "seed triton": "hand-written Triton"}
PLAIN = "cublaslt plain"


class Run:
    """Records by what they are of. `layers` maps (op, dtype, m, n, k) to the fastest kernel's record, which has the record of the
    library's plain product beside it as "plain"."""

    def __init__(self, lines):
        self.machine, self.layers, self.peers, self.loads, self.chain = {}, {}, {}, {}, None
        self.read_gbps, plain = 0, None
        for r in map(json.loads, lines):
            op = r["op"] = SAME.get(r["op"], r["op"])
            if op == "machine":
                self.machine = self.machine or r
            elif op == "read":
                self.read_gbps = max(self.read_gbps, r.get("gbps", 0), 1000 * r.get("tb_per_s", 0))
            elif op == "load":
                self.loads[r["cache"]] = r
            elif op == "service":
                continue  # gpu_service.py's
            elif op == "gemm_only":
                plain = r if r["variant"] == PLAIN else plain
            elif r["variant"] in PEERS:
                self.peers[op, r["dtype"], r["m"], r["n"], r["k"], r["variant"]] = r
            elif "chain_ms" in r:
                self.chain = r
            elif plain and shape(plain) == shape(r):
                key = (op, *shape(r))
                if key not in self.layers or r["ms"] < self.layers[key]["ms"]:
                    self.layers[key] = r | {"plain": plain}


def shape(r):
    return r["dtype"], r["m"], r["n"], r["k"]


def ratios(r):
    """How many times as fast as the library's plain product: single launches, sustained."""
    return r["plain"]["burst_ms"] / r["burst_ms"], r["plain"]["ms"] / r["ms"]


def pair(values):
    return "–" if values is None else " / ".join(f"{v:.2f}" for v in values)


def mean(pairs):
    return tuple(sum(p) / len(pairs) for p in zip(*pairs)) if pairs else None


def limit(run, r):
    if r["m"] <= 64 and run.read_gbps:
        return f"{1e3 * r['ms']:.1f} µs, {100 * r['gbps'] / run.read_gbps:.0f}% of read bandwidth"
    return f"{1e3 * r['ms']:.1f} µs, {r['tflops']:.0f} TFLOP/s"


def by_rows(run):
    lines = ["| rows | " + " | ".join(f"BF16 {text}" for text in BLOCKS.values()) +
             " | FP16, mean of the three | TF32, mean of the three | the first, sustained |",
             "| ---: | ---: | ---: | ---: | ---: | ---: | --- |"]
    for m in sorted({m for _, _, m, n, k in run.layers if n == k == SIDE}):
        def of(op, dtype, m=m):
            record = run.layers.get((op, dtype, m, SIDE, SIDE))
            return record and ratios(record)
        cells = [of(op, "bf16") for op in BLOCKS]
        cells += [mean([p for p in (of(op, dtype) for op in BLOCKS) if p]) for dtype in ("fp16", "tf32")]
        first = run.layers.get((GELU, "bf16", m, SIDE, SIDE))
        lines.append(f"| {m} | " + " | ".join(map(pair, cells)) + f" | {limit(run, first) if first else '–'} |")
    return lines


def by_shape(run):
    """One grid of outputs and inputs in BF16, the least of the other formats beside it."""
    shapes = {(n, k): r for (op, dtype, m, n, k), r in run.layers.items()
              if (op, dtype, m) == (GELU, "bf16", 1024) and not n == k == SIDE}
    inputs = sorted({k for _, k in shapes})
    if len(shapes) < 2:
        return []
    lines = ["", f"The same for {BLOCKS[GELU]} with 1,024 rows, BF16, and other numbers of inputs and outputs{others(run)}:", "",
             "| outputs \\ inputs | " + " | ".join(map(str, inputs)) + " |", "| ---: " * (len(inputs) + 1) + "|"]
    for n in sorted({n for n, _ in shapes}):
        cells = [pair(ratios(shapes[n, k])) if (n, k) in shapes else "" for k in inputs]
        lines.append(f"| {n} | " + " | ".join(cells) + " |")
    return lines


def others(run):
    parts = []
    for dtype in ("fp16", "tf32"):
        found = [ratios(r) for (op, t, m, n, k), r in run.layers.items()
                 if (op, t, m) == (GELU, dtype, 1024) and not n == k == SIDE]
        if found:
            parts.append(f"{dtype.upper()} at least {pair(tuple(map(min, zip(*found))))}")
    return f" ({', '.join(parts)})" if parts else ""


def beside_peers(run):
    """The range, over the blocks, of others' sustained time over ours."""
    rows = sorted({key[1:5] for key in run.peers})
    lines = []
    for dtype, m, n, k in rows:
        cells = []
        for variant in PEERS:
            gains = [run.peers[op, dtype, m, n, k, variant]["ms"] / r["ms"] for (op, *rest), r in run.layers.items()
                     if tuple(rest) == (dtype, m, n, k) and (op, dtype, m, n, k, variant) in run.peers]
            cells.append(f"{min(gains):.2f} to {max(gains):.2f}" if gains else "–")
        if any(cell != "–" for cell in cells):
            lines.append(f"| {dtype.upper()}, {m:,} rows | " + " | ".join(cells) + " |")
    if not lines:
        return []
    return ["", "What others take for the whole block, as a multiple of our time: sustained, the least and the greatest of the "
            "three blocks, same run:", "",
            "| | " + " | ".join(PEERS.values()) + " |", "| --- | ---: | ---: | ---: |", *lines]


def in_words(run):
    facts = []
    train, running = (run.layers.get((f"scale_batchnorm_{mode}", "bf16", 1024, SIDE, SIDE)) for mode in ("train", "eval"))
    if train and running:
        facts.append(f"Statistics of the batch's own 1,024 rows take {train['ms'] / running['ms']:.2f} times as long as stored "
                     f"ones (BF16).")
    if run.chain:
        r = run.chain
        facts.append(f"A chain of {r['layers']} {BLOCKS[GELU]} layers ({r['dtype'].upper()}) with {r['m']} rows, in one graph: "
                     f"{1e3 * r['chain_ms']:.1f} µs a "
                     f"layer, where its kernel alone, back to back, takes {1e3 * r['ms']:.1f} µs.")
    if {"cold", "warm"} <= run.loads.keys():
        cold, warm = run.loads["cold"], run.loads["warm"]
        facts.append(f"Loading {cold['layers']} such layers takes {cold['load_s']:.1f} s the first time ({cold['kernels_s']:.1f} s "
                     f"compiling, {cold['measuring_s']:.1f} s measuring) and {warm['load_s']:.1f} s with a warm kernel cache, of "
                     f"which {warm['reading_s'] + warm['weights_s']:.1f} s read and copy the weights; served with 16 rows a "
                     f"request, a layer takes {warm['layer_us']:.1f} µs.")
    return ["", *(f"- {fact}" for fact in facts)] if facts else []


def render(lines):
    run = Run(lines)
    machine = run.machine
    return "\n".join([
        "## Kernels",
        "",
        f"A whole block with its epilogue, timed in turn with cuBLASLt's best plain product without one, on one {machine['gpu']} at "
        f"{machine['power_limit_w']:.0f} W, driver {machine['driver']}, {machine['date']}, commit {machine['commit']}; "
        f"{SIDE} inputs and outputs.",
        "",
        "- A cell is the product's time over the block's, so above 1.00 the block is faster: first in single launches, then sustained.",
        "- The last column is the time of the first block, sustained, and what that is of the GPU.",
        "- No RTX 4090 (sm_89) has been measured; its kernels are compiled and checked in the tests, and "
        "`kernels/results/rtx4090-sheet.md` holds what compiler and arithmetic say of them.",
        "", *by_rows(run), *by_shape(run), *beside_peers(run), *in_words(run)]) + "\n"
