"""deploy/measure-4090 without a card: what it says is missing, and, with stand-ins for the card, the
compiler, the packages and the benchmark, the page that it makes."""

import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOOLS = ("awk basename bash cat chmod cp cut date dirname env git grep gzip head kill mkdir mktemp paste realpath rm sed "
         "seq sleep sort tail tar tr").split()

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
echo "Cuda compilation tools, release {version}, V{version}.1"
"""
# Of each package that it is asked for, that it is installed.
PACKAGES = """#!/bin/bash
for package in "$@"; do echo -n " installed:$package "; done
"""
# Configures nothing, and builds a program that is there.
BUILDER = """#!/bin/bash
if [ "$1" = --build ]; then mkdir -p "$2/bin"; cp {bench} "$2/bin/mlpserve-bench"; chmod +x "$2/bin/mlpserve-bench"; fi
"""
BENCH = """#!/bin/bash
[ "$1 $2" = "kernels --plan" ] && [ -f "$3" ] || exit 2
[ "$4 $5" = "--compile sm_89" ] && {{ echo "7 kernels compiled for sm_89"; exit {status}; }}
[ "$4" = --kernel-cache ] && [ "$6" = --json ] || exit 2
case $3 in
  *check*) echo "ok    bf16 scale_hardtanh_gelu 1 x 520 x 264 mma.m: relative error 1e-3"; : >"$7" ;;
  *) cat {records} >"$7" ;;
esac
sleep 0.3
exit {status}
"""

RECORDS = [
    {"op": "machine", "gpu": "as the benchmark sees it"},
    {"op": "read", "gbps": 950.0},
    {"op": "gemm_only", "m": 16, "n": 8192, "k": 8192, "dtype": "bf16", "variant": "cublaslt plain", "burst_ms": 0.160,
     "ms": 0.150},
    {"op": "scale_hardtanh_gelu", "m": 16, "n": 8192, "k": 8192, "dtype": "bf16", "variant": "slow", "burst_ms": 0.2, "ms": 0.2,
     "tflops": 1, "gbps": 1, "relerr": 1e-3, "regs": 1},
    {"op": "scale_hardtanh_gelu", "m": 16, "n": 8192, "k": 8192, "dtype": "bf16", "variant": "mma_rows fast", "burst_ms": 0.150,
     "ms": 0.145, "tflops": 15.3, "gbps": 961, "relerr": 1.6e-3, "regs": 64},
]


SYSTEM_NVCC = pathlib.Path("/usr/local/cuda/bin/nvcc").exists()


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

    def add_bench(self, status=0):
        records = self.folder / "records"
        records.write_text("".join(json.dumps(record, separators=(",", ":")) + "\n" for record in RECORDS))
        bench = self.folder / "bench"
        bench.write_text(BENCH.format(records=records, status=status))
        bench.chmod(0o755)
        return bench

    def add_compiler(self, version="13.0", status=0):
        self.add("nvcc", COMPILER.format(version=version))
        self.add("dpkg-query", PACKAGES)
        self.add("cmake", BUILDER.format(bench=self.add_bench(status)))

    def pack(self, *names):
        (self.folder / "packed/bin").mkdir(parents=True)
        (self.folder / "packed/commit").write_text("abcdef\n")
        for name in names:
            shutil.copy(self.add_bench(), self.folder / "packed" / name)
        return self.archive()

    def pack_program(self, path):
        (self.folder / "packed/bin").mkdir(parents=True)
        (self.folder / "packed/bin/mlpserve-bench").symlink_to(path)
        return self.archive()

    def archive(self):
        archive = self.folder / "gpu.tgz"
        subprocess.run(["tar", "-czf", archive, "-C", self.folder / "packed", "."], check=True)
        return archive

    def measure(self, *arguments):
        return subprocess.run([ROOT / "deploy/measure-4090", *arguments, self.folder / "out"], capture_output=True, text=True,
                              env={"PATH": str(self.bin), "HOME": os.environ.get("HOME", "/"), "TMPDIR": str(self.folder),
                                   "MEASURE_BUILD_DIRECTORY": str(self.folder / "build")},
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
                      "1.6e-03 | 64 |\n", page)
        self.assertNotIn("slow", page)
        records = [json.loads(line) for line in (self.folder / "out/records.jsonl").read_text().splitlines()]
        self.assertEqual(records[0]["op"], "machine")
        self.assertEqual(records[0]["gpu"], "NVIDIA GeForce RTX 4090")
        self.assertEqual(records[1:], RECORDS[1:])
        self.assertIn("# The suite on one NVIDIA GeForce RTX 4090", (self.folder / "out/suite.md").read_text())
        self.assertIn("All, 1 figures: geometric mean in single launches 1.067", (self.folder / "out/suite.md").read_text())
        self.assertTrue((self.folder / "out/suite.svg").exists())

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
        self.assertEqual(run.stdout.count("7 kernels compiled for sm_89"), 3)
        self.assertIn("== suite\n", run.stdout)

    def test_the_real_program_compiles_every_kernel_of_the_plans(self):
        program = os.environ.get("MLPSERVE_BENCH")
        if not program or not SYSTEM_NVCC:
            self.skipTest("needs MLPSERVE_BENCH, the path of mlpserve-bench, and the CUDA toolkit")
        run = self.measure("--build-only", "--packed", self.pack_program(program))
        self.assertEqual(run.returncode, 0, run.stderr + run.stdout)
        counts = [int(n) for n in re.findall(r"^(\d+) kernels compiled for sm_89 by NVRTC", run.stdout, re.M)]
        self.assertEqual(len(counts), 3, run.stdout)
        self.assertGreater(min(counts), 0)

    def test_quick_leaves_the_suite_out(self):
        self.add_card()
        self.add_compiler()
        run = self.measure("--quick")
        self.assertEqual(run.returncode, 0, run.stderr + run.stdout)
        self.assertFalse(list((self.folder / "out").glob("suite*")))
        self.assertTrue((self.folder / "out/measured.md").exists())

    def test_a_kernel_that_does_not_compile_ends_building_alone(self):
        self.add_compiler(status=1)
        self.assertEqual(self.measure("--build-only").returncode, 1)

    def test_where_it_cannot_build_it_says_how_to_go_on(self):
        self.add_card()
        self.add_compiler()
        self.add("dpkg-query", "#!/bin/bash\n")  # nothing is installed,
        (self.bin / "apt-get").unlink(missing_ok=True)  # and nothing can be
        self.add("sh", "#!/bin/bash\nexit 1\n")
        self.add("sudo", "#!/bin/bash\nexit 1\n")
        run = self.measure()
        self.assertEqual(run.returncode, 2, run.stdout)
        self.assertIn("cannot build here: pack mlpserve-bench on Debian 12 (tests/gpu/pack)", run.stderr)

    def test_what_was_packed_needs_no_compiler_and_no_packages(self):
        self.add_card()
        run = self.measure("--packed", self.pack("bin/mlpserve-bench"))
        self.assertEqual(run.returncode, 0, run.stderr + run.stdout)
        self.assertIn("commit abcdef, driver 580.1; power limit" if not SYSTEM_NVCC else "commit abcdef, driver 580.1", run.stdout)

    def test_a_packed_file_without_the_program_is_refused(self):
        self.add_card()
        self.assert_missing(self.measure("--packed", "no/such/file"), "expected a file that tests/gpu/pack has written")
        run = self.measure("--packed", self.pack())
        self.assertEqual(run.returncode, 2)
        self.assertIn("expected bin/mlpserve-bench in", run.stderr)


if __name__ == "__main__":
    unittest.main()
