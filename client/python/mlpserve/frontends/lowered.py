"""A model as a block, beside the original to compare with."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable
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
            raise ExportError(f"{path}: expected a model or the path of an .onnx file")
        from mlpserve.frontends import onnx_graphs
        return onnx_graphs.lower(path)
    if "onnx" in roots or hasattr(model, "DESCRIPTOR"):
        from mlpserve.frontends import onnx_graphs
        return onnx_graphs.lower(model)
    if "torch" in roots:
        from mlpserve.frontends import torch_graphs
        return torch_graphs.lower(model, batch_statistics=batch_statistics)
    if "sklearn" in roots:
        from mlpserve.frontends import sklearn_models
        return sklearn_models.lower(model, probabilities=probabilities)
    raise ExportError(f"expected a torch.nn.Module, a fitted scikit-learn estimator, an onnx.ModelProto or the "
                      f"path of an .onnx file, found {type(model).__module__}.{type(model).__qualname__}")
