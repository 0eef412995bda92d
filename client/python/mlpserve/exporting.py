"""export(): from a trained model to a block's folder."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlpserve import folder as folders
from mlpserve.block import Array, Block, uses_batch_statistics
from mlpserve.bounds import Bounded, evaluate, find_worst
from mlpserve.errors import ExportError
from mlpserve.frontends import Lowered, lower

DATATYPES = ("FP32", "FP16", "BF16")
COMPUTE = ("FP32", "TF32", "FP16", "BF16")


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written where."""

    folder: pathlib.Path
    version: int
    name: str
    input_features: int
    output_features: int
    layers: int
    bytes: int  # of the tensors


def export(model: Any, folder: str | os.PathLike[str], *, version: int = 1, replace: bool = False,
           input_name: str = "x", output_name: str = "y", input_datatype: str = "FP32",
           output_datatype: str = "FP32", compute: str = "FP32", batching: Mapping[str, Any] | None = None,
           batch_statistics: bool = False, probabilities: bool = False, check: bool = True) -> Exported:
    """Writes a trained model as a block: `folder`/model.json and `folder`/`version`/weights.safetensors.

    model: a torch.nn.Module that maps [rows, features] to [rows, outputs]; a fitted scikit-learn MLP, linear
        model or pipeline; an onnx.ModelProto or the path of an .onnx file. It stays as it was.
    folder: of the block in the model repository; its name is the block's.
    version: a folder that has a model.json of the same layers keeps it, and gets one more version.
    replace: overwrite a version that is there, and a model.json of other layers.
    input_name, output_name, input_datatype, output_datatype: of the tensors on the wire
        (FP32, FP16 or BF16), [rows, features].
    compute: what operands of products are rounded to: FP32, TF32, FP16 or BF16.
    batching: fields of model.json's `batching`, such as {"max_rows": 1024}.
    batch_statistics: BatchNorm1d takes those of each request's rows, not the stored ones (PyTorch).
    probabilities: a classifier of two classes, or of several labels, answers them, not logits (scikit-learn).
    check: run some rows through the model in float64 and compare before anything is written.

    Raises ExportError, which names the part of the model that a block cannot express and what it can.
    """
    path = pathlib.Path(os.path.abspath(folder))
    _require("folder", path.name[:1] not in ("", "."), "a name for the block that does not begin with a dot", path.name)
    _require("version", version >= 1, "a positive number", version)
    _require("compute", compute in COMPUTE, " or ".join(COMPUTE), compute)
    for field, found in (("input_datatype", input_datatype), ("output_datatype", output_datatype)):
        _require(field, found in DATATYPES, " or ".join(DATATYPES), found)
    lowered = lower(model, batch_statistics=batch_statistics, probabilities=probabilities)
    if check:
        _check(lowered)
    block = lowered.block
    description = folders.model_json(
        block, path.name, input_name=input_name, output_name=output_name, input_datatype=input_datatype,
        output_datatype=output_datatype, compute=compute, batching=batching)
    folders.write(path, version, description, block.tensors, replace)
    size = sum(tensor.array.nbytes for tensor in block.tensors.values())
    return Exported(path, version, path.name, block.input_features, block.output_features, len(block.layers), size)


def _require(what: str, fits: bool, expected: str, found: Any) -> None:
    if not fits:
        raise ExportError(f"{what}: expected {expected}, found {found!r}")


def sample(block: Block, rows: int, seed: int) -> Array:
    """x [rows, features] in float32: mostly standard normal, some rows zero, large or small."""
    x = np.random.default_rng(seed).standard_normal((rows, block.input_features)).astype(np.float32)
    for row, factor in enumerate((0.0, 30.0, 0.01)):
        if row + 3 < rows:
            x[row] *= np.float32(factor)
    return x


def needs_whole_requests(block: Block) -> bool:
    return any(uses_batch_statistics(layer.epilogue) for layer in block.layers)


def _check(lowered: Lowered) -> None:
    """That the block means what the model means; both in float64, so that only storing differs."""
    x = sample(lowered.block, 16, seed=1)
    try:
        expected = lowered.original(x)
    except Exception as error:
        raise ExportError(f"the model cannot be run on {list(x.shape)} numbers to check its export: {error}") from error
    block = evaluate(lowered.block, x)
    found = lowered.shown(Bounded(block.value, block.bound))
    if expected.shape != found.value.shape:
        raise ExportError(f"expected the model to make {list(found.value.shape)} of {list(x.shape)}, found "
                          f"{list(expected.shape)}")
    worst = find_worst(expected, found.bound, found.value)
    if not worst.ok:
        raise ExportError("the model computes something else than its modules and functions say (a forward hook, "
                          f"perhaps): {worst}")
