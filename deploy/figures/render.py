"""Writes the README's table of figures from the result files beside this script.

usage: render.py [--check]     with --check nothing is written: exit code 1 if the README is stale
"""

import json
import pathlib
import sys

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
        lines.append(f"| {r['load']} | {r['server']} | {r['requests_per_s']:,.0f} | {r['p50_us']:.0f} "
                     f"| {r['p99_us']:,.0f} | {r['server_cpu_us']:.1f} |")
    return "\n".join(lines) + "\n"


OPS = {"gelu": "scale → hardtanh → GELU", "sigmoid": "z + s·sigmoid(z)", "affine": "scale → batch norm"}
# As mlpserve-bench names them; the others are gemm_bench's.
SAME = {"scale_hardtanh_gelu": "gelu", "sigmoid_scale_residual": "sigmoid", "scale_batchnorm_eval": "affine"}


def kernels():
    """Each fused block over the library's plain product of the same shape, timed in turn."""
    machine, library, best = {}, {}, {}
    for line in max((ROOT / "kernels/results").glob("h200-*.jsonl")).read_text().splitlines():
        r = json.loads(line)
        r["op"] = SAME.get(r["op"], r["op"])
        if r["op"] == "machine":
            machine = r
        elif r["op"] == "gemm_only":
            library = r
        elif r["op"] in OPS and r["n"] == r["k"] == 8192:
            ratio = library["burst_ms"] / r["burst_ms"], library["ms"] / r["ms"]
            key = r["dtype"], r["m"], r["op"]
            best[key] = [max(pair) for pair in zip(best.get(key, ratio), ratio)]
    lines = [
        f"The fused kernels, whole blocks with their epilogue, against cuBLASLt's best plain product without one "
        f"(1.00: as fast), N = K = 8192, on one {machine['gpu']} at {machine['power_limit_w']:.0f} W, driver "
        f"{machine['driver']}, {machine['date']}, commit {machine['commit']}; single launches / sustained, the better of "
        f"plain and programmatic launches, timed in "
        f"turn in one run. The RTX 4090 (sm_89), whose kernels are compiled and checked here, has not been measured (`kernels/results/rtx4090-sheet.md` holds what compiler and arithmetic say of it):",
        "",
        "| rows | " + " | ".join(f"BF16 {text}" for text in OPS.values()) + " | TF32, mean of the three |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for m in sorted({m for _, m, _ in best}):
        cells = [best["bf16", m, op] for op in OPS]
        cells.append([sum(best["tf32", m, op][i] for op in OPS) / len(OPS) for i in (0, 1)])
        lines.append(f"| {m} | " + " | ".join(f"{b:.2f} / {s:.2f}" for b, s in cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    text = README.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    rendered = text[:begin] + service() + "\n" + kernels() + text[end:]
    if "--check" in sys.argv:
        sys.exit("README.md is stale: run deploy/figures/render.py" if rendered != text else 0)
    README.write_text(rendered)


if __name__ == "__main__":
    main()
