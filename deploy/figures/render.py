"""Writes what the documentation shows of measurements: the tables of docs/performance.md, the README's small one,
and the plot docs/kernels.svg; the service's from service.json beside this script, the kernels' from the newest of
kernels/results, the service's on a GPU from the newest of its service-*.jsonl, and the suite's sentence from the newest of its
suite-*.jsonl (suite.py makes their page).

usage: render.py [--check]     with --check nothing is written: exit code 1 if a page is stale
"""

import json
import math
import pathlib
import sys

import gpu_service
import kernel_tables
import line_plot
import suite

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BEGIN, END = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"
OURS, PEER = "mlpserve, digits", "Triton 2.51, digits in its Python backend"


def service_run():
    return json.loads((HERE / "service.json").read_text())


def kernel_run():
    return max((ROOT / "kernels/results").glob("h200-*.jsonl")).read_text().splitlines()


def suite_sentence():
    """Nothing where the suite was never run."""
    runs = sorted((ROOT / "kernels/results").glob("suite-*.jsonl"))
    if not runs:
        return ""
    page = runs[-1].with_suffix(".md").relative_to(ROOT)
    return "\n" + suite.sentence(kernel_tables.Run(runs[-1].read_text().splitlines()), page) + "\n"


def service():
    """Requests per second, latency and processor time of each server under each load."""
    run = service_run()
    lines = [
        "## Small requests on a CPU",
        "",
        f"64 FP32 features a row, on {run['cores']} cores of an {run['cpu']}, {run['date']}, commit {run['commit']}; "
        f"{run['method']}. Triton's backends in C++ (ONNX Runtime, TensorRT) have not been measured: PyPI's Triton has only the "
        "one in Python.",
        "",
        "| load | server | requests/s | p50 µs | p99 µs | server CPU µs a request |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for r in run["records"]:
        lines.append(f"| {r['load']} | {r['server']} | {r['requests_per_s']:,.0f} | {r['p50_us']:,.0f} "
                     f"| {r['p99_us']:,.0f} | {r['server_cpu_us']:.1f} |")
    return "\n".join(lines) + "\n"


def small_table():
    """The same block in two servers: what a newcomer wants to know."""
    run = service_run()
    found = {(r["load"], r["server"]): r for r in run["records"]}
    loads = list(dict.fromkeys(load for load, _ in found))
    lines = [
        "The same block in two servers, requests per second and 99th percentile of the latency, on "
        f"{run['cores']} cores of an {run['cpu']}",
        f"that the client shares{' with other work' if 'other work' in run['method'] else ''} ({run['date']}; "
        "[all measurements](docs/performance.md)). Triton's backends in C++ have not been measured.",
        "",
        "| requests of | mlpserve | Triton, Python backend |",
        "| --- | ---: | ---: |",
    ]
    for load in loads:
        cells = [f"{r['requests_per_s']:,.0f}/s, {r['p99_us'] / 1000:.1f} ms" if r else "–"
                 for r in (found.get((load, server)) for server in (OURS, PEER))]
        lines.append(f"| {load} | {cells[0]} | {cells[1]} |")
    picture = "\n\n![Speed of fused blocks beside cuBLASLt's plain product](docs/kernels.svg)\n"
    return "\n".join(lines) + picture + suite_sentence()


def kernels():
    """Each fused block over the library's plain product of the same shape, from the newest run."""
    return kernel_tables.render(kernel_run())


def service_on_gpu():
    newest = max((ROOT / "kernels/results").glob("service-*.jsonl"))
    return gpu_service.render(newest.read_text().splitlines())


def plot():
    run = kernel_tables.Run(kernel_run())
    side = kernel_tables.SIDE
    lines = {}
    for (op, dtype, m, n, k), record in sorted(run.layers.items(), key=lambda item: item[0][2]):
        if op in kernel_tables.BLOCKS and (dtype, n, k) == ("bf16", side, side):
            lines.setdefault(kernel_tables.BLOCKS[op], []).append((m, kernel_tables.ratios(record)[1]))
    title = f"Whole fused blocks beside a plain product, {run.machine['gpu']}, BF16, {side:,} × {side:,}"
    found = [y for points in lines.values() for _, y in points] + [1.0]
    y_range = math.floor(10 * min(found)) / 10, math.ceil(10 * max(found)) / 10
    return line_plot.render(title, "rows of a batch; 1.1 = a tenth faster", lines, y_range,
                            (1.0, "cuBLASLt, product alone"))


def between_markers(path, figures):
    text = path.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    return text[:begin] + figures + text[end:]


def main():
    readme, page, picture = ROOT / "README.md", ROOT / "docs/performance.md", ROOT / "docs/kernels.svg"
    rendered = {readme: between_markers(readme, small_table()),
                page: between_markers(page, "\n".join([service(), service_on_gpu(), kernels()])), picture: plot()}
    stale = [path for path, text in rendered.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        sys.exit(f"stale: {names}: run deploy/figures/render.py" if stale else 0)
    for path in stale:
        path.write_text(rendered[path])


if __name__ == "__main__":
    main()
