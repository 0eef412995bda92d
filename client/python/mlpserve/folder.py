"""Writes a block's folder: model.json and <version>/weights.safetensors."""

from __future__ import annotations

import json
import os
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

import safetensors

from mlpserve.block import (Add, AddInput, BatchNorm, Block, Function, Gate, Hardtanh, Layer, Op, Operand,
                            Residual, Scale, Tensor)
from mlpserve.errors import ExportError
from mlpserve.functions import FUNCTIONS

# What safetensors' writer calls them.
_WRITER_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def model_json(block: Block, name: str, *, input_name: str = "x", output_name: str = "y",
               input_datatype: str = "FP32", output_datatype: str = "FP32", compute: str = "FP32",
               batching: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """model.json as a dictionary."""
    return {
        "name": name,
        "input": {"name": input_name, "features": block.input_features, "datatype": input_datatype},
        "output": {"name": output_name, "features": block.output_features, "datatype": output_datatype},
        "compute": compute,
        "layers": [_layer_json(layer) for layer in block.layers],
        **({"batching": dict(batching)} if batching else {}),
    }


def _layer_json(layer: Layer) -> dict[str, Any]:
    found: dict[str, Any] = {"name": layer.name, "weight": layer.weight}
    if layer.bias:
        found["bias"] = layer.bias
    if layer.epilogue:
        found["epilogue"] = [_op_json(op) for op in layer.epilogue]
    return found


def _op_json(op: Op) -> dict[str, Any]:
    if isinstance(op, Scale):
        return {"scale": _operand_json(op.by)}
    if isinstance(op, Add):
        return {"add": _operand_json(op.by)}
    if isinstance(op, Hardtanh):
        return {"hardtanh": _present(min=op.min, max=op.max)}
    if isinstance(op, Function):
        known = FUNCTIONS[op.name]
        parameter = {known.parameter: op.parameter} if known.parameter else {}
        return {known.json_name: {**_present(**parameter), **(known.fixed or {})}}
    if isinstance(op, Residual):
        return {"residual": {"ops": [_op_json(inner) for inner in op.ops]}}
    if isinstance(op, Gate):
        return {"gate": {"ops": [_op_json(inner) for inner in op.ops]}}
    if isinstance(op, AddInput):
        return {"add_input": {}}
    assert isinstance(op, BatchNorm)
    return {"batch_norm": _present(weight=op.weight, bias=op.bias, running_mean=op.running_mean,
                                   running_var=op.running_var, eps=op.eps,
                                   statistics="BATCH" if op.uses_batch else None)}


def _operand_json(by: Operand) -> dict[str, Any]:
    return {"tensor": by} if isinstance(by, str) else {"value": by}


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def write(folder: pathlib.Path, version: int, description: dict[str, Any],
          tensors: Mapping[str, Tensor], replace: bool) -> None:
    """Weights first: a server that scans meanwhile sees a whole block or none."""
    weights = folder / str(version) / "weights.safetensors"
    described = folder / "model.json"
    keep = described.exists() and not replace
    if keep:
        _require_same_layers(described, description)
    if weights.exists() and not replace:
        raise ExportError(f"{weights}: expected no such file, found one; "
                          f"version={version + 1} adds a version, replace=True overwrites this one")
    try:
        weights.parent.mkdir(parents=True, exist_ok=True)
        _write_weights(weights, tensors)
        if not keep:
            _write_text(described, json.dumps(description, indent=2) + "\n")
    except OSError as error:
        raise ExportError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from error


def _require_same_layers(described: pathlib.Path, description: dict[str, Any]) -> None:
    """A new version must mean what model.json, which all versions share, says; its batching stays."""
    try:
        present = json.loads(described.read_text())
    except (OSError, ValueError) as error:
        raise ExportError(f"{described}: expected the block's model.json, found {error}") from error
    for field in ("input", "output", "compute", "layers"):
        found = present.get(field) if isinstance(present, dict) else None
        if found != description[field]:
            raise ExportError(f"{described}: expected the same {field} as the model to add a version of it, "
                              "found others; replace=True overwrites it")


def _write_weights(path: pathlib.Path, tensors: Mapping[str, Tensor]) -> None:
    writer: Any = safetensors
    specs = {name: _spec(writer, tensor) for name, tensor in tensors.items()}

    def fill(temporary: pathlib.Path) -> None:
        writer.serialize_file(specs, str(temporary))

    _replace(path, fill)


def _spec(writer: Any, tensor: Tensor) -> Any:
    """A tensor as the writer takes it: numpy's own interface to safetensors has no BF16."""
    dtype = _WRITER_DTYPES[tensor.dtype]
    if hasattr(writer, "TensorSpec"):  # since 0.8; the caller's `tensors` keep the memory alive
        return writer.TensorSpec(dtype=dtype, shape=tensor.shape, data_ptr=tensor.array.ctypes.data,
                                 data_len=tensor.array.nbytes)
    return {"dtype": dtype, "shape": list(tensor.shape), "data": tensor.array.tobytes()}


def _write_text(path: pathlib.Path, text: str) -> None:
    def fill(temporary: pathlib.Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    _replace(path, fill)


def _replace(path: pathlib.Path, fill: Any) -> None:
    """The whole file at once, with the mode that the umask gives: safetensors' own writer and Python's
    temporary files leave 0600, which the server's user could not read."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export") as place:
        temporary = pathlib.Path(place) / path.name
        temporary.touch()
        mode = temporary.stat().st_mode & 0o777
        fill(temporary)
        os.chmod(temporary, mode)
        os.replace(temporary, path)
