"""A model as a block, beside the original to compare with."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from mlpserve.block import Array, Block
from mlpserve.bounds import Bounded
from mlpserve.errors import ExportError


def _unchanged(values: Bounded) -> Bounded:
    return values


@dataclasses.dataclass(frozen=True)
class Lowered:
    block: Block
    # The original in float64: x [rows, features] to [rows, columns].
    original: Callable[[Array], Array]
    # What the original shows of the block's values, where it does not show them themselves.
    shown: Callable[[Bounded], Bounded] = _unchanged


def lower(model: Any, *, batch_statistics: bool = False, probabilities: bool = False) -> Lowered:
    """Reads a model of any known framework, which is only imported here if the model is of it."""
    roots = {root for base in type(model).__mro__ for root in [base.__module__.partition(".")[0]]}
    if isinstance(model, (str, os.PathLike)):
        path = pathlib.Path(model)
        if path.suffix != ".onnx":
            raise ExportError(f"{path}: expected a model or the path of an .onnx file; a model of PyTorch or scikit-learn "
                              "is loaded first, by what saved it")
        return _lower_onnx(path)
    if "onnx" in roots or hasattr(model, "DESCRIPTOR"):
        return _lower_onnx(model)
    if isinstance(model, Mapping):
        raise ExportError(f"expected a model, found {type(model).__name__}: a state dict does not say what is computed "
                          "between its tensors; load it into its module, and export that")
    if "torch" in roots:
        from mlpserve.frontends import torch_graphs
        return torch_graphs.lower(model, batch_statistics=batch_statistics)
    if "sklearn" in roots:
        from mlpserve.frontends import sklearn_models
        return sklearn_models.lower(model, probabilities=probabilities)
    raise ExportError(f"expected a torch.nn.Module, a fitted scikit-learn estimator, an onnx.ModelProto or the "
                      f"path of an .onnx file, found {type(model).__module__}.{type(model).__qualname__}")


def _lower_onnx(model: Any) -> Lowered:
    try:
        from mlpserve.frontends import onnx_graphs
    except ImportError as error:
        raise ExportError(f"an ONNX graph is read by the package onnx (pip install onnx): {error}") from error
    return onnx_graphs.lower(model)
