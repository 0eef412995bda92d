"""deploy/measure-4090 without a card: what it says is missing, and, with stand-ins for the card, the
compiler and the benchmark, the page that it makes."""

import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOOLS = ("awk basename bash cat chmod cp cut date dirname env g++ git grep gzip head kill mkdir mktemp paste realpath rm sed "
         "seq sleep sort stdbuf tail tar timeout tr").split()

# As nvidia-smi answers each question that the scripts ask.
SMI = """#!/bin/bash
case "$*" in
  *index,name*) echo "0, NVIDIA T4"; echo "1, {name}" ;;
  *query-gpu=name\\ *) echo "NVIDIA T4"; echo "{name}" ;;
  *compute_cap*) echo 8.9 ;;
  *-lms*) for i in $(seq 1 600); do
      echo "2026/11/21 12:00:00.000, {name}, 580.1, 2520 MHz, 400.00 W, 60"; sleep 0.1; done ;;
  *power.limit*) echo "{name}, 580.1, 450.00, 3105" ;;
esac
"""
COMPILER = """#!/bin/bash
if [ "$1" = --version ]; then echo "Cuda compilation tools, release {version}, V{version}.1"; exit; fi
while [ $# -gt 1 ]; do
  [ "$1" = -o ] && {{ cp {bench} "$2"; chmod +x "$2"; }}
  shift
done
"""
BENCH = """#!/bin/bash
[ "$3" = --compile ] && {{ echo "1 kernels of 1 compiled for $4"; exit; }}
case $2 in
  *check*) echo "ok    bf16 gelu 1x520x264 mma m: relative 1e-3" ;;
  *) cat {records} >"$3" ;;
esac
sleep 0.3
exit {status}
"""

RECORDS = [
    {"op": "read", "gbps": 950.0},
    {"op": "gemm_only", "m": 16, "n": 8192, "k": 8192, "dtype": "bf16", "variant": "cublaslt plain", "burst_ms": 0.160,
     "ms": 0.150},
    {"op": "gelu", "m": 16, "n": 8192, "k": 8192, "dtype": "bf16", "variant": "slow", "burst_ms": 0.2, "ms": 0.2,
     "tflops": 1, "gbps": 1, "relerr": 1e-3, "regs": 1, "blocks_per_sm": 1},
    {"op": "gelu", "m": 16, "n": 8192, "k": 8192, "dtype": "bf16", "variant": "mma_rows fast", "burst_ms": 0.150,
     "ms": 0.145, "tflops": 15.3, "gbps": 961, "relerr": 1.6e-3, "regs": 64, "blocks_per_sm": 2},
]


class Measure4090Test(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        (self.bin / "python3").symlink_to(sys.executable)

    def add(self, name, text):
        path = self.bin / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def add_card(self, name="NVIDIA GeForce RTX 4090"):
        self.add("nvidia-smi", SMI.format(name=name))

    def add_compiler(self, version="13.0", status=0):
        records = self.folder / "records"
        records.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
        bench = self.folder / "bench"
        bench.write_text(BENCH.format(records=records, status=status))
        self.add("nvcc", COMPILER.format(version=version, bench=bench))

    def measure(self, *arguments):
        return subprocess.run([ROOT / "deploy/measure-4090", *arguments, self.folder / "out"], capture_output=True, text=True,
                              env={"PATH": str(self.bin), "HOME": os.environ.get("HOME", "/"), "TMPDIR": str(self.folder)},
                              cwd=self.folder, check=False)

    def assert_missing(self, run, *words):
        self.assertEqual(run.returncode, 2, run.stderr)
        self.assertEqual(len(run.stderr.splitlines()), 1, run.stderr)
        for word in words:
            self.assertIn(word, run.stderr)
        self.assertEqual(run.stdout, "")
        self.assertFalse((self.folder / "out").exists())

    def test_without_a_driver_it_says_so_in_one_line(self):
        self.assert_missing(self.measure(), "expected an RTX 4090", "no nvidia-smi")

    def test_a_driver_that_does_not_answer_is_quoted(self):
        self.add("nvidia-smi", "#!/bin/bash\necho NVIDIA-SMI has failed.; echo Install it.; exit 9\n")
        self.assert_missing(self.measure(), "NVIDIA-SMI has failed.")

    def test_another_card_is_named(self):
        self.add_card("NVIDIA H200")
        self.assert_missing(self.measure(), "expected an RTX 4090", "NVIDIA T4;NVIDIA H200", "--any-gpu")

    def test_a_missing_or_old_compiler_is_named(self):
        self.add_card()
        if pathlib.Path("/usr/local/cuda/bin/nvcc").exists():
            self.add_compiler("11.8")
            self.assert_missing(self.measure(), "12.8 or newer", "found 11.8")
        else:
            self.assert_missing(self.measure(), "12.8 or newer", "no nvcc")

    def test_an_unknown_argument_is_refused(self):
        self.assert_missing(self.measure("--fast"), "--fast")

    def test_it_makes_a_table_of_the_fastest_kernels(self):
        self.add_card()
        self.add_compiler()
        run = self.measure()
        self.assertEqual(run.returncode, 0, run.stderr + run.stdout)
        page = (self.folder / "out/measured.md").read_text()
        self.assertIn("# NVIDIA GeForce RTX 4090, measured", page)
        self.assertIn("driver 580.1, CUDA 13.0; power limit 450 W, at most 400 W drawn", page)
        # The sheet has 133.7 µs for the roofline.
        self.assertIn("| BF16 | 16 | scale → hardtanh → GELU | mma_rows fast | 150.0 / 145.0 | 1.07 / 1.03 | 0.92 | 15.3 | 961 | "
                      "1.6e-03 | 64 | 2 |\n", page)
        self.assertNotIn("slow", page)
        records = [json.loads(line) for line in (self.folder / "out/records.jsonl").read_text().splitlines()]
        self.assertEqual(records[0]["op"], "machine")
        self.assertEqual(records[1:], RECORDS)

    def test_another_card_is_measured_without_a_roofline(self):
        self.add_card("NVIDIA H200")
        self.add_compiler()
        run = self.measure("--any-gpu")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("| 1.07 / 1.03 | – | 15.3 |", run.stdout)

    def test_a_wrong_kernel_is_no_result(self):
        self.add_card()
        self.add_compiler(status=1)
        run = self.measure()
        self.assertEqual(run.returncode, 1)
        self.assertIn("a kernel is wrong", run.stderr)
        self.assertFalse((self.folder / "out/measured.md").exists())

    def test_building_alone_needs_no_card(self):
        self.add_compiler()
        run = self.measure("--build-only")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(run.stdout.count("1 kernels of 1 compiled for sm_89"), 2)


NVCC = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")


@unittest.skipIf(NVCC is None, "no nvcc")
class BenchmarkTest(unittest.TestCase):
    def test_the_benchmark_builds_and_compiles_each_main_loop_for_the_card(self):
        with tempfile.TemporaryDirectory() as folder:
            path = f"{os.environ['PATH']}:{pathlib.Path(NVCC).parent}"
            program, plan = f"{folder}/gemm_bench", pathlib.Path(folder) / "a.plan"
            subprocess.run([ROOT / "kernels/cuda/bench/build.sh", program, "89"], check=True, env={**os.environ, "PATH": path})
            plan.write_text("check m=1 n=520 k=264 type=bf16 m:128x128x32.w2x4.s3.b2.k4 n:64x16x64.w4.s4.b2\n"
                            "check m=1 n=520 k=264 type=fp32 f:64x128x16.t8x16x1.s2.b3\n")
            run = subprocess.run([program, ".", plan, "--compile", "sm_89"], cwd=ROOT, capture_output=True, text=True, check=False)
            self.assertEqual(run.stdout, "3 kernels of 3 compiled for sm_89\n", run.stderr)
            plan.write_text("check m=1 n=520 k=264 m:128x128x32.w2x4.s3\n")
            run = subprocess.run([program, ".", plan, "--compile", "sm_89"], cwd=ROOT, capture_output=True, text=True, check=False)
            self.assertEqual(run.returncode, 1)
            self.assertIn("expected a name such as 128x128x32.w2x4.s3.b1", run.stderr)


if __name__ == "__main__":
    unittest.main()
