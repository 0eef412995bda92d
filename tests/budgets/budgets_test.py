"""What a request costs, counted and not timed, against budgets.json: a change that costs more must
edit that file, and so say so.

Allocations, copies and instructions are the same in every run; instructions differ a little with the
compiler and with the memcpy that the processor gets, and their budgets are a tenth above what g++ 12
counts. System calls depend on how the server's threads meet (7.5 to 10.6 were seen), and theirs is a
third above the most. All figures are printed (pytest -s).
"""

import json
import os
import pathlib
import re
import subprocess
import sys

import grpc
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/integration"))

import conftest  # noqa: E402  (of tests/integration)
from wire import chunk, raw, request, shape  # noqa: E402

BUDGETS = json.loads((pathlib.Path(__file__).parent / "budgets.json").read_text())
BIN = conftest.BIN


def keep_within(name, found):
    print(f"\n{name}: {found:g} of {BUDGETS[name]}")
    assert found <= BUDGETS[name], f"{name}: {found:g} is more than budgets.json allows"


def counted(rows):
    done = subprocess.run([BIN / "count_request", str(rows)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("rows", [1, 16, 100, 256, 1000])
def test_memory(rows):
    counts = counted(rows)
    keep_within("heap_allocations_per_request",
                counts["allocations_before_answer"] + counts["allocations_with_answer"])
    keep_within("bytes_copied_per_input_byte", counts["copied_per_input_byte"])
    small = "_of_a_small_answer" if rows <= 100 else ""
    keep_within(f"bytes_copied_per_output_byte{small}", counts["copied_per_output_byte"])


def instructions(part, rounds):
    done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                           BIN / "run_request", part, "1", str(rounds)],
                          capture_output=True, text=True, check=True)
    return int(re.search(r"Collected : (\d+)", done.stderr).group(1))


@pytest.mark.parametrize("part", ["parse", "batch"])
def test_instructions(part):
    few, many = 2_000, 22_000  # the difference leaves out what starting costs
    keep_within(f"{part}_instructions_per_request",
                (instructions(part, many) - instructions(part, few)) / (many - few))


def system_calls(folder, requests):
    """Of a server from its start to its end, in all threads."""
    folder.mkdir()
    program, summary = folder / "mlpserve", folder / "calls"
    program.write_text(f'#!/bin/sh\nexec strace -D -f -c -U calls,name -o {summary} {BIN / "mlpserve"} "$@"\n')
    program.chmod(0o755)
    built, conftest.BIN = conftest.BIN, folder
    try:
        server = conftest.Server(conftest.DIGITS, folder / "log", "--cpu-threads", "1").await_ready()
    finally:
        conftest.BIN = built
    message = request(chunk(5, chunk(1, "x") + chunk(2, "FP32") + shape(1, 64)), raw(256), model="digits")
    with grpc.insecure_channel(server.grpc_address) as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for _ in range(requests):
            infer(message, timeout=30)
    assert server.stop() == 0
    return {name: int(calls) for calls, name in
            re.findall(r"^\s*(\d+) (\w+)$", summary.read_text(), re.MULTILINE) if name != "total"}


def test_system_calls(tmp_path):
    few, many = 200, 1_200
    before, after = system_calls(tmp_path / "few", few), system_calls(tmp_path / "many", many)
    each = {name: (calls - before.get(name, 0)) / (many - few) for name, calls in after.items()}
    print("\n" + ", ".join(f"{name} {calls:.2f}" for name, calls in sorted(each.items()) if calls > 0.01))
    keep_within("system_calls_per_request", sum(each.values()))
