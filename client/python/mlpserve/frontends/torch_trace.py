"""Runs a module's forward on no numbers (torch.fx) to see what it does, and on float64 ones to compare."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from mlpserve.block import Array
from mlpserve.errors import ExportError
from mlpserve.frontends.torch_modules import BATCH_NORMS, described, kind_of


class _Tracer(fx.Tracer):  # type: ignore[misc,unused-ignore]
    """Goes into every module but those that are read as a whole, and PyTorch's own."""

    def __init__(self) -> None:
        super().__init__()
        self.path: list[tuple[str, nn.Module]] = []

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if kind_of(m) is not None:
            return True
        return super().is_leaf_module(m, module_qualified_name) and not isinstance(m, nn.Sequential)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        self.path.append((self.path_of_module(m), m))
        result = super().call_module(m, forward, args, kwargs)
        self.path.pop()
        return result


@contextlib.contextmanager
def evaluating(model: nn.Module, batch_statistics: bool) -> Iterator[None]:
    """As when serving, then as it was."""
    before = [(module, module.training) for module in model.modules()]
    try:
        for module in model.modules():
            module.training = batch_statistics and isinstance(module, BATCH_NORMS)
        yield
    finally:
        for module, training in before:
            module.training = training


def unwrapped(model: Any) -> nn.Module:
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):  # torch.compile's
            model = model._orig_mod
        else:
            found: nn.Module = model
            return found


@contextlib.contextmanager
def _in_float64() -> Iterator[None]:
    """Tensors that a forward makes are then float64, as its parameters are."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def trace(model: nn.Module) -> fx.Graph:
    tracer = _Tracer()
    optional = {name: parameter.default for name, parameter in inspect.signature(model.forward).parameters.items()
                if parameter.default is not inspect.Parameter.empty}
    try:
        return tracer.trace(model, concrete_args=optional or None)
    except Exception as error:  # whatever a forward of someone else's raises when it is run on no numbers
        path, module = tracer.path[-1] if tracer.path else ("", model)
        reason = str(error).strip().splitlines()
        raise ExportError(f"{described(path, module)}: its forward cannot be traced: "
                          f"{reason[0] if reason else type(error).__name__}; it may not branch on, or loop over, "
                          "its input") from error


def original(model: nn.Module, batch_statistics: bool) -> Callable[[Array], Array]:
    def run(x: Array) -> Array:
        def double(tensor: torch.Tensor) -> torch.Tensor:
            plain = tensor.detach().cpu()
            return plain.double().clone() if plain.is_floating_point() else plain.clone()

        state = {name: double(t) for name, t in [*model.named_parameters(), *model.named_buffers()]}
        with evaluating(model, batch_statistics), _in_float64(), torch.no_grad():
            result = torch.func.functional_call(model, state, (torch.from_numpy(x.astype(np.float64)),))
        if isinstance(result, (tuple, list)):
            result = result[0]
        found: Array = result.double().reshape(x.shape[0], -1).numpy()
        return found

    return run
