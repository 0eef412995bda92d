"""Writes a model repository of the three first-class blocks (and batch norm in both modes), with a
batch of rows to send: make_blocks.py DIRECTORY [FEATURES] [COMPUTE] [ROWS]. Needs PyTorch and
safetensors."""

import json
import pathlib
import sys

import torch
from safetensors.torch import save_file

EPILOGUES = {
    "scale_hardtanh_gelu": [
        {"scale": {"value": 0.5}},
        {"hardtanh": {"min": -2, "max": 2}},
        {"gelu": {"approximate": "TANH"}},
    ],
    "sigmoid_scale_residual": [{"residual": {"ops": [{"sigmoid": {}}, {"scale": {"value": 2}}]}}],
}
for mode in ("RUNNING", "BATCH"):
    norm = {"weight": "bn.weight", "bias": "bn.bias", "statistics": mode}
    if mode == "RUNNING":
        norm |= {"running_mean": "bn.running_mean", "running_var": "bn.running_var"}
    EPILOGUES[f"scale_batchnorm_{mode.lower()}"] = [
        {"scale": {"tensor": "fc.scale"}},
        {"batch_norm": norm},
    ]


def main():
    root = pathlib.Path(sys.argv[1])
    features = int(sys.argv[2]) if len(sys.argv) > 2 else 8192
    compute = sys.argv[3] if len(sys.argv) > 3 else "BF16"
    rows = int(sys.argv[4]) if len(sys.argv) > 4 else 1024
    torch.manual_seed(1)
    tensors = {
        "fc.weight": (torch.randn(features, features) / features**0.5).to(torch.bfloat16),
        "fc.bias": torch.randn(features),
        "fc.scale": torch.rand(features) + 0.5,
        "bn.weight": torch.rand(features) + 0.5,
        "bn.bias": torch.randn(features),
        "bn.running_mean": torch.randn(features),
        "bn.running_var": torch.rand(features) + 0.5,
    }
    for name, epilogue in EPILOGUES.items():
        folder = root / name / "1"
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / "weights.safetensors")
        model = {
            "name": name,
            "input": {"name": "x", "features": features, "datatype": "BF16"},
            "output": {"name": "y", "features": features, "datatype": "BF16"},
            "compute": compute,
            "layers": [{"name": "fc", "weight": "fc.weight", "bias": "fc.bias", "epilogue": epilogue}],
            "batching": {"max_rows": 2 * rows},
        }
        (folder.parent / "model.json").write_text(json.dumps(model, indent=1))
    save_file({"x": torch.randn(rows, features).to(torch.bfloat16)}, root / "x.safetensors")


main()
