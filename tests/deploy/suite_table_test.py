"""The suite's table and plot, out of made-up records."""

import json
import pathlib
import sys
import unittest
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "deploy/figures"))
import kernel_tables  # noqa: E402
import suite  # noqa: E402

MACHINE = {"op": "machine", "gpu": "NVIDIA H200", "power_limit_w": 700.0, "driver": "580.1", "date": "2026-12-01", "commit": "abc"}


def pair(m, ratio, op="scale_hardtanh_gelu", variant="wgmma", dtype="bf16", sustained=None):
    """The library's product of 1 ms, and a block that is `ratio` times as fast."""
    shape = {"m": m, "n": 13824, "k": 5120, "dtype": dtype}
    return ({"op": "gemm_only", "variant": "cublaslt plain", "burst_ms": 1.0, "ms": 1.0} | shape,
            {"op": op, "variant": variant, "burst_ms": 1 / ratio, "ms": 1 / (sustained or ratio)} | shape)


def run(*pairs):
    return kernel_tables.Run(json.dumps(r) for r in (MACHINE, *(r for p in pairs for r in p)))


class SuiteTest(unittest.TestCase):
    def test_the_mean_is_geometric_and_the_least_is_named(self):
        text = suite.markdown(run(pair(16, 2.0), pair(96, 0.5)))
        self.assertIn("All, 2 figures: geometric mean in single launches 1.000, least 0.50, 1 at 0.97 or more", text)

    def test_bursts_and_sustained_figures_are_kept_apart(self):
        text = suite.markdown(run(pair(16, 2.0, sustained=0.8)))
        self.assertIn("single launches 2.000, least 2.00, 1 at 0.97 or more; back to back 0.800, least 0.80, 0 at 0.97", text)
        self.assertIn("| 13,824 x 5,120 | 2.00 / 0.80 |", text)

    def test_the_readme_names_both_ways_of_timing_and_the_page(self):
        text = suite.sentence(run(pair(16, 2.0, sustained=1.0), pair(96, 0.5, sustained=0.25)), "kernels/results/a.md")
        self.assertIn("reach 1.00 in single launches (geometric mean; least 0.50) and 0.50 (least 0.25) back to back, over 2 shapes", text)
        self.assertIn("on one NVIDIA H200 ([table](kernels/results/a.md))", text)

    def test_choosing_the_library_is_counted(self):
        self.assertIn("the library chosen at 1", suite.markdown(run(pair(16, 0.9, variant="cublaslt.0+epilogue"))))

    def test_other_blocks_and_formats_have_summaries_of_their_own(self):
        text = suite.markdown(run(pair(16, 1.0), pair(16, 1.5, op="sigmoid_scale_residual"), pair(16, 1.2, dtype="tf32")))
        self.assertIn("BF16, the other blocks, 1 figures: geometric mean in single launches 1.500", text)
        self.assertIn("TF32, 1 figures: geometric mean in single launches 1.200", text)
        self.assertNotIn("FP16,", text)

    def test_the_plot_has_a_point_for_every_figure_even_off_the_scale(self):
        tree = xml.etree.ElementTree.fromstring(suite.plot(run(pair(16, 9.0), pair(96, 0.1), pair(384, 1.0)).layers))
        circles = tree.findall(".//{http://www.w3.org/2000/svg}circle")
        self.assertEqual(len(circles), 6)
        self.assertTrue(all(0 <= float(c.get("cy")) <= suite.HEIGHT for c in circles))


if __name__ == "__main__":
    unittest.main()
