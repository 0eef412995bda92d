"""python -m mlpserve: exports a model, verifies a served one, sends rows."""

from __future__ import annotations

import argparse
import importlib
import pathlib
import sys
from typing import Any

import numpy as np

import mlpserve
from mlpserve.errors import MlpserveError

_MODEL = ("FILE.onnx; or PACKAGE.MODULE:NAME, a model or a function that makes one; or FILE.pt, .pth, .pkl or "
          ".joblib, a whole pickled model, which runs code of whoever wrote it: open only your own")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mlpserve",
        description="Exports models as blocks of mlpserve, compares what is served with them, sends rows.",
        epilog="Exit code: 0 done, 1 it failed (one line says why), 2 wrong usage.")
    commands = parser.add_subparsers(dest="command", required=True)

    export = commands.add_parser("export", help="write a model as a block's folder")
    export.add_argument("model", help=_MODEL)
    export.add_argument("folder", help="of the block, in the model repository")
    export.add_argument("--version", type=int, default=1)
    export.add_argument("--replace", action="store_true", help="overwrite the version, and model.json")
    export.add_argument("--input-name", default="x")
    export.add_argument("--output-name", default="y")
    export.add_argument("--input-datatype", default="FP32", choices=["FP32", "FP16", "BF16"])
    export.add_argument("--output-datatype", default="FP32", choices=["FP32", "FP16", "BF16"])
    export.add_argument("--max-rows", type=int, help="rows that run together at most")
    _add_meaning(export)

    verify = commands.add_parser("verify", help="compare a served block with its model")
    verify.add_argument("model", help=_MODEL)
    verify.add_argument("address", help="host:port or unix:path of the server")
    verify.add_argument("--block", help="its name (default: the server's only one)")
    verify.add_argument("--version", default="")
    verify.add_argument("--rows", type=int, default=64)
    verify.add_argument("--input", help="rows from FILE.npy or .csv instead of random ones")
    _add_meaning(verify)

    infer = commands.add_parser("infer", help="send rows to a block")
    infer.add_argument("address", help="host:port or unix:path of the server")
    infer.add_argument("block")
    infer.add_argument("input", help="rows: FILE.npy or .csv, [rows, features]")
    infer.add_argument("--version", default="")
    infer.add_argument("--output", help="FILE.npy or .csv (default: print as CSV)")
    infer.add_argument("--timeout", type=float, default=30.0, help="seconds")
    return parser


def _add_meaning(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--compute", default="FP32", choices=["FP32", "TF32", "FP16", "BF16"])
    parser.add_argument("--batch-statistics", action="store_true",
                        help="BatchNorm1d takes those of each request's rows (PyTorch)")
    parser.add_argument("--probabilities", action="store_true",
                        help="a classifier of two classes answers a probability (scikit-learn)")


def _meaning(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"compute": arguments.compute, "batch_statistics": arguments.batch_statistics,
            "probabilities": arguments.probabilities}


def load_model(name: str) -> Any:
    suffix = pathlib.Path(name).suffix
    if suffix == ".onnx":
        return name
    try:
        if suffix in (".pt", ".pth"):
            import torch
            return torch.load(name, map_location="cpu", weights_only=False)
        if suffix in (".pkl", ".joblib"):
            import joblib
            return joblib.load(name)
    except Exception as error:
        raise MlpserveError(f"{name}: cannot be loaded: {error or type(error).__name__}") from error
    module, separator, attribute = name.partition(":")
    if not separator or not attribute:
        raise MlpserveError(f"model: expected {_MODEL.split(';')[0]}, MODULE:NAME, FILE.pt, .pth, .pkl or .joblib, "
                            f"found {name}")
    sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise MlpserveError(f"{name}: {error}") from error
    is_maker = callable(found) and not hasattr(found, "forward") and not hasattr(found, "get_params")
    return found() if is_maker or isinstance(found, type) else found


def _read_rows(name: str) -> Any:
    try:
        if name.endswith(".npy"):
            return np.load(name, allow_pickle=False)
        if name.endswith(".csv"):
            return np.loadtxt(name, delimiter=",", ndmin=2, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise MlpserveError(f"{name}: cannot be read: {error}") from error
    raise MlpserveError(f"{name}: expected a name that ends with .npy or .csv")


def _export(arguments: argparse.Namespace) -> str:
    done = mlpserve.export(
        load_model(arguments.model), arguments.folder, version=arguments.version, replace=arguments.replace,
        input_name=arguments.input_name, output_name=arguments.output_name,
        input_datatype=arguments.input_datatype, output_datatype=arguments.output_datatype,
        batching=None if arguments.max_rows is None else {"max_rows": arguments.max_rows}, **_meaning(arguments))
    return (f"{done.folder} version {done.version}: {done.layers} layers, {done.input_features} features to "
            f"{done.output_features}, {done.bytes:,} bytes of tensors")


def _verify(arguments: argparse.Namespace) -> str:
    x = None if arguments.input is None else _read_rows(arguments.input)
    return str(mlpserve.verify(load_model(arguments.model), arguments.address, arguments.block, x=x,
                               rows=arguments.rows, version=arguments.version, **_meaning(arguments)))


def _infer(arguments: argparse.Namespace) -> str:
    x = _read_rows(arguments.input)
    with mlpserve.Client(arguments.address, timeout=arguments.timeout) as client:
        y = client.infer(arguments.block, x, version=arguments.version)
    if arguments.output is None:
        return "\n".join(",".join(f"{value:.9g}" for value in row) for row in y)
    if arguments.output.endswith(".npy"):
        np.save(arguments.output, y)
    elif arguments.output.endswith(".csv"):
        np.savetxt(arguments.output, y, delimiter=",", fmt="%.9g")
    else:
        raise MlpserveError(f"{arguments.output}: expected a name that ends with .npy or .csv")
    return f"{arguments.output}: {list(y.shape)} {y.dtype}"


def main(arguments: list[str] | None = None) -> int:
    parsed = _parser().parse_args(arguments)
    try:
        print({"export": _export, "verify": _verify, "infer": _infer}[parsed.command](parsed))
    except (MlpserveError, OSError) as error:
        print(f"mlpserve: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
