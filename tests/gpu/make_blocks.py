"""Writes a model repository for a GPU, of one layer's blocks or of one deep block, and beside it a batch
of rows to send. Needs PyTorch and safetensors.

usage: make_blocks.py DIRECTORY [FEATURES] [COMPUTE] [ROWS] [--layers N] [--service]

Without --layers: the three first-class blocks (and batch norm in both modes), of one layer each. With it:
one block, `deep`, of N layers with weights of their own, each followed by scale, hardtanh and GELU. With
--service: the blocks of service.py, `deep`, the same with FP32 on the wire, and two of FP32.
"""

import argparse
import json
import pathlib

import torch
from safetensors.torch import save_file

GELU = [
    {"scale": {"value": 0.5}},
    {"hardtanh": {"min": -2, "max": 2}},
    {"gelu": {"approximate": "TANH"}},
]
EPILOGUES = {
    "scale_hardtanh_gelu": GELU,
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
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def weight(features):
    return (torch.randn(features, features, device=DEVICE) / features**0.5).to(torch.bfloat16).cpu()


def save(root, name, tensors, layers, max_rows, arguments, wire="BF16"):
    folder = root / name / "1"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "weights.safetensors")
    features = arguments.features
    model = {
        "name": name,
        "input": {"name": "x", "features": features, "datatype": wire},
        "output": {"name": "y", "features": features, "datatype": wire},
        "compute": arguments.compute,
        "layers": layers,
        "batching": {"max_rows": max_rows},
    }
    (folder.parent / "model.json").write_text(json.dumps(model, indent=1))


def save_deep(arguments, name="deep", wire="BF16"):
    tensors, layers = {}, []
    for i in range(arguments.layers):
        tensors |= {f"{i}.weight": weight(arguments.features), f"{i}.bias": torch.randn(arguments.features)}
        layers.append({"name": str(i), "weight": f"{i}.weight", "bias": f"{i}.bias", "epilogue": GELU})
    save(arguments.directory, name, tensors, layers, 4096, arguments, wire)


def save_service(arguments):
    for name, features, layers, compute, wire in (
        ("deep", 8192, 8, "BF16", "BF16"),
        ("deep_fp32", 8192, 8, "BF16", "FP32"),
        ("wide", 4096, 1, "BF16", "FP32"),
        ("small", 1024, 3, "FP32", "FP32"),
    ):
        arguments.features, arguments.layers, arguments.compute = features, layers, compute
        save_deep(arguments, name, wire)


def save_each(arguments):
    features = arguments.features
    tensors = {
        "fc.weight": weight(features),
        "fc.bias": torch.randn(features),
        "fc.scale": torch.rand(features) + 0.5,
        "bn.weight": torch.rand(features) + 0.5,
        "bn.bias": torch.randn(features),
        "bn.running_mean": torch.randn(features),
        "bn.running_var": torch.rand(features) + 0.5,
    }
    for name, epilogue in EPILOGUES.items():
        layer = {"name": "fc", "weight": "fc.weight", "bias": "fc.bias", "epilogue": epilogue}
        save(arguments.directory, name, tensors, [layer], 2 * arguments.rows, arguments)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("features", type=int, nargs="?", default=8192)
    parser.add_argument("compute", nargs="?", default="BF16")
    parser.add_argument("rows", type=int, nargs="?", default=1024)
    parser.add_argument("--layers", type=int, default=0)
    parser.add_argument("--service", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(1)
    if arguments.service:
        save_service(arguments)
        return
    save_deep(arguments) if arguments.layers else save_each(arguments)
    rows = torch.randn(arguments.rows, arguments.features).to(torch.bfloat16)
    save_file({"x": rows}, arguments.directory / "x.safetensors")


main()
