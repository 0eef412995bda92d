"""Tensors of a module and of its forward that do not depend on the input, and their names."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from mlpserve import graph as graphs
from mlpserve.errors import ExportError


class Constants:
    """Parameters and buffers are called as in the state dict, what is computed from them after what was done."""

    def __init__(self, model: nn.Module) -> None:
        self._names: dict[Any, str] = {}
        self._made: dict[int, tuple[torch.Tensor, str]] = {}  # tensors computed here, kept alive
        named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
        for name, tensor in named:
            self._names.setdefault(_identity(tensor), name)

    def name(self, tensor: torch.Tensor) -> str:
        if id(tensor) in self._made:
            return self._made[id(tensor)][1]
        return self._names.get(_identity(tensor), "constant")

    def keep(self, tensor: torch.Tensor, step: str, sources: list[torch.Tensor]) -> torch.Tensor:
        """Remembers what a step made of others."""
        base = self.name(sources[0]) if sources else "constant"
        transposes = step in ("t", "transpose", "permute", "getattr")
        self._made[id(tensor)] = (tensor, _transposed_name(base) if transposes else f"{base}.{step}")
        return tensor

    def transposed(self, tensor: torch.Tensor) -> torch.Tensor:
        result = tensor.detach().t()
        return result if _identity(result) in self._names else self.keep(result, "t", [tensor])

    def of(self, tensor: Any, where: str) -> graphs.Constant:
        if not isinstance(tensor, torch.Tensor):
            raise graphs.refusal(where, "a weight that depends on the input")
        name = self.name(tensor)
        plain = tensor.detach()
        if plain.device.type == "meta":
            raise ExportError(f"{where}: expected numbers in '{name}', found a meta tensor, which has none")
        if plain.is_quantized or plain.layout != torch.strided:
            raise ExportError(f"{where}: expected a dense tensor of floats in '{name}', found "
                              f"{plain.dtype}, {plain.layout}")
        plain = plain.cpu().contiguous()
        if plain.dtype == torch.bfloat16:
            return graphs.bits16(name, plain.view(torch.int16).numpy().view(np.uint16), where)
        return graphs.constant(name, plain.numpy(), where)

    def optional(self, tensor: Any, where: str) -> graphs.Constant | None:
        return None if tensor is None else self.of(tensor, where)


def _identity(tensor: torch.Tensor) -> Any:
    if is_lazy(tensor) or tensor.layout != torch.strided or tensor.device.type == "meta":
        return id(tensor)
    return (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device)


def _transposed_name(name: str) -> str:
    return name[:-2] if name.endswith(".T") else f"{name}.T"
