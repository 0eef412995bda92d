"""The tables of kernels in docs/performance.md, out of made-up records of one run."""

import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "deploy/figures"))
import kernel_tables  # noqa: E402

MACHINE = {"op": "machine", "gpu": "NVIDIA H200", "power_limit_w": 700.0, "driver": "580.1", "date": "2026-11-21", "commit": "abc"}
READ = {"op": "read", "gbps": 4500.0}


def record(op, variant, m, ms, n=8192, k=8192, dtype="bf16", **more):
    return {"op": op, "m": m, "n": n, "k": k, "dtype": dtype, "variant": variant, "burst_ms": ms, "ms": ms, "tflops": 600.0,
            "gbps": 4050.0} | more


def plain(m, ms, **more):
    return record("gemm_only", "cublaslt plain", m, ms, **more)


def load(cache, seconds):
    return {"op": "load", "cache": cache, "layers": 8, "load_s": seconds, "reading_s": 1.0, "weights_s": 0.5, "kernels_s": 2.0,
            "measuring_s": 1.5, "layer_us": 31.0}


class KernelTablesTest(unittest.TestCase):
    def render(self, *records):
        return kernel_tables.render([json.dumps(r) for r in (MACHINE, READ, *records)])

    def test_a_block_is_held_against_the_plain_product_of_its_own_turn(self):
        text = self.render(plain(16, 0.036), record("scale_hardtanh_gelu", "a", 16, 0.030),
                           plain(16, 0.060), record("sigmoid_scale_residual", "a", 16, 0.030))
        self.assertIn("| 16 | 1.20 / 1.20 | 2.00 / 2.00 | – | – | – | 30.0 µs, 90% of read bandwidth |", text)
        self.assertIn("one NVIDIA H200 at 700 W, driver 580.1, 2026-11-21, commit abc", text)

    def test_the_fastest_of_several_kernels_counts(self):
        text = self.render(plain(2048, 0.4), record("gelu", "slow", 2048, 0.5), record("gelu", "fast", 2048, 0.4))
        self.assertIn("| 2048 | 1.00 / 1.00 | – | – | – | – | 400.0 µs, 600 TFLOP/s |", text)

    def test_a_mean_is_taken_over_the_blocks_that_were_measured(self):
        text = self.render(plain(16, 0.04, dtype="tf32"), record("gelu", "a", 16, 0.04, dtype="tf32"),
                           record("affine", "a", 16, 0.02, dtype="tf32"))
        self.assertIn("| 16 | – | – | – | – | 1.50 / 1.50 | – |", text)

    def test_other_shapes_make_a_grid(self):
        text = self.render(plain(1024, 1, n=8192, k=2048), record("gelu", "a", 1024, 1, n=8192, k=2048),
                           plain(1024, 1, n=2048, k=8192), record("gelu", "a", 1024, 2, n=2048, k=8192),
                           plain(1024, 1, n=2048, k=8192, dtype="tf32"),
                           record("gelu", "a", 1024, 0.5, n=2048, k=8192, dtype="tf32"))
        self.assertIn("| 2048 |  | 0.50 / 0.50 |\n| 8192 | 1.00 / 1.00 |  |\n", text)
        self.assertIn("(TF32 at least 2.00 / 2.00)", text)

    def test_peers_are_shown_as_a_range_over_the_blocks(self):
        text = self.render(plain(1024, 0.2), record("scale_hardtanh_gelu", "a", 1024, 0.2),
                           plain(1024, 0.2), record("scale_batchnorm_eval", "a", 1024, 0.2),
                           record("scale_hardtanh_gelu", "torch eager", 1024, 0.3),
                           record("scale_batchnorm_eval", "torch eager", 1024, 0.4),
                           record("gemm_only", "cublas gemm alone", 1024, 0.1))
        self.assertIn("| BF16, 1,024 rows | – | 1.50 to 2.00 | – |", text)

    def test_statistics_a_chain_and_loading_are_told_in_words(self):
        text = self.render(plain(1024, 0.2), record("scale_batchnorm_eval", "a", 1024, 0.2),
                           plain(1024, 0.2), record("scale_batchnorm_train", "a", 1024, 0.21),
                           plain(16, 0.033), record("gelu", "a", 16, 0.030, layers=8, chain_ms=0.0305),
                           load("cold", 6.0), load("warm", 2.25))
        self.assertIn("take 1.05 times as long as stored ones", text)
        self.assertIn("30.5 µs a layer, where its kernel alone, back to back, takes 30.0 µs", text)
        self.assertIn("takes 6.0 s the first time (2.0 s compiling, 1.5 s measuring) and 2.2 s with a warm kernel cache, of which "
                      "1.5 s read and copy the weights; served with 16 rows a request, a layer takes 31.0 µs.", text)
        self.assertNotIn("| 16 |", text)


if __name__ == "__main__":
    unittest.main()
