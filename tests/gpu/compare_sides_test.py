"""What compare_sides.py says of two trees, out of made-up records."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parent / "compare_sides.py"


def record(op, m, ms, variant="a", dtype="bf16"):
    return {"op": op, "m": m, "n": 8192, "k": 8192, "dtype": dtype, "variant": variant, "burst_ms": ms, "ms": ms}


class CompareSidesTest(unittest.TestCase):
    def compare(self, sides, *arguments):
        """`sides`: name of a file to its records."""
        with tempfile.TemporaryDirectory() as folder:
            for name, records in sides.items():
                lines = [{"op": "machine", "gpu": "card"}, *records]
                (pathlib.Path(folder) / f"{name}.bf16-gelu.jsonl").write_text("".join(json.dumps(r) + "\n" for r in lines))
            return subprocess.run([sys.executable, "-B", SCRIPT, folder, *arguments], capture_output=True, text=True, check=False)

    def rounds(self, base, new):
        """Of one point, the times of each round."""
        sides = {f"base.{i}": [record("gelu", 16, ms)] for i, ms in enumerate(base)}
        return sides | {f"new.{i}": [record("gelu", 16, ms)] for i, ms in enumerate(new)}

    def test_the_median_of_the_rounds_counts(self):
        run = self.compare(self.rounds([1.0, 1.0, 1.0], [1.5, 1.0, 0.99]))
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertIn("0 points over 3% slower, 0 columns below 1", run.stdout)

    def test_a_point_over_the_tolerance_slower_is_marked(self):
        run = self.compare(self.rounds([1.0, 1.0, 1.0], [1.04, 1.04, 0.9]))
        self.assertEqual(run.returncode, 1)
        self.assertIn("  0.962   0.962     nan SLOWER a\n", run.stdout)
        self.assertIn("1 points over 3% slower, 1 columns below 1", run.stdout)
        self.assertIn("0 points over 5% slower", self.compare(self.rounds([1.0], [1.04]), "--tolerance", "0.05").stdout)

    def test_rounds_that_one_side_lacks_do_not_count(self):
        run = self.compare(self.rounds([1.0, 1.0], [1.0, 1.0, 9.0]))
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertRegex(run.stdout, r"gelu +16 +8192 +8192 +2 ")

    def test_a_column_is_the_geometric_mean_of_its_points(self):
        run = self.compare({"base.1": [record("gelu", 16, 1.0), record("gelu", 32, 1.0), record("gelu", 64, 2.0)],
                            "new.1": [record("gelu", 16, 1.02), record("gelu", 32, 1.02), record("gelu", 64, 2.04)]})
        self.assertEqual(run.returncode, 1)
        self.assertIn("bf16 gelu: geometric mean 0.9804 of 3 points BELOW 1\n", run.stdout)
        self.assertIn("0 points over 3% slower, 1 columns below 1", run.stdout)

    def test_the_librarys_product_shows_how_far_the_card_drifted(self):
        run = self.compare({"base.1": [record("gemm_only", 16, 1.0), record("gelu", 16, 1.0)],
                            "new.1": [record("gemm_only", 16, 1.1), record("gelu", 16, 1.0, variant="b")]})
        self.assertEqual(run.returncode, 0)
        self.assertIn("  1.000   1.000   0.909 b (base: a)\n", run.stdout)

    def test_the_fastest_of_several_kernels_counts(self):
        run = self.compare({"base.1": [record("gelu", 16, 2.0), record("gelu", 16, 1.0)],
                            "new.1": [record("gelu", 16, 1.0, variant="b"), record("gelu", 16, 3.0)]})
        self.assertIn("  1.000 ", run.stdout)

    def test_without_a_point_of_both_sides_it_says_so(self):
        run = self.compare(self.rounds([1.0], []))
        self.assertEqual(run.returncode, 2)
        self.assertIn("found 1 points of base and 0 of new", run.stderr)


if __name__ == "__main__":
    unittest.main()
