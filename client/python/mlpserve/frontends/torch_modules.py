"""PyTorch's modules that a block can hold: those that are read as a whole, and what they are as ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from mlpserve.block import Function, Ops
from mlpserve.errors import ExportError
from mlpserve.frontends.torch_functions import FUNCTIONS

HINTS = {
    "Softmax": "leave it out (argmax stays the same) and apply it to the answer: it spans the columns of a row",
    "LogSoftmax": "leave it out and apply it to the answer: it spans the columns of a row",
    "softmax": "leave it out (argmax stays the same) and apply it to the answer: it spans the columns of a row",
    "log_softmax": "leave it out and apply it to the answer: it spans the columns of a row",
    "LayerNorm": "it takes statistics over the columns of a row; BatchNorm1d can",
    "RMSNorm": "it takes statistics over the columns of a row; BatchNorm1d can",
    "GroupNorm": "it takes statistics over the columns of a row; BatchNorm1d can",
    "layer_norm": "it takes statistics over the columns of a row; batch_norm can",
    "GLU": "it multiplies different columns of one product; z * sigmoid(z), SiLU, can",
    "glu": "it multiplies different columns of one product; z * sigmoid(z), silu, can",
    "Embedding": "look the ids up before and send the rows",
}


def _flat(module: Any) -> Ops:
    if module.start_dim != 1 or module.end_dim not in (-1, 1):
        raise ExportError(f"expected start_dim 1 and end_dim -1, found {module.start_dim} and {module.end_dim}")
    return ()


# Modules of one input whose forward is a function of each value; read from their attributes.
POINTWISE: dict[type, Callable[[Any], Ops]] = {
    nn.Identity: lambda m: (),
    nn.Dropout: lambda m: (),
    nn.Dropout1d: lambda m: (),
    nn.AlphaDropout: lambda m: (),
    nn.FeatureAlphaDropout: lambda m: (),
    nn.Flatten: _flat,
    nn.ReLU: lambda m: (Function("relu"),),
    nn.ReLU6: lambda m: FUNCTIONS["relu6"](),
    nn.LeakyReLU: lambda m: FUNCTIONS["leaky_relu"](m.negative_slope),
    nn.RReLU: lambda m: FUNCTIONS["rrelu"](m.lower, m.upper),
    nn.ELU: lambda m: FUNCTIONS["elu"](m.alpha),
    nn.SELU: lambda m: FUNCTIONS["selu"](),
    nn.CELU: lambda m: FUNCTIONS["celu"](m.alpha),
    nn.Sigmoid: lambda m: (Function("sigmoid"),),
    nn.Tanh: lambda m: (Function("tanh"),),
    nn.SiLU: lambda m: (Function("silu"),),
    nn.Mish: lambda m: (Function("mish"),),
    nn.Hardsigmoid: lambda m: (Function("hardsigmoid"),),
    nn.Hardswish: lambda m: (Function("hardswish"),),
    nn.GELU: lambda m: FUNCTIONS["gelu"](m.approximate),
    nn.Softplus: lambda m: FUNCTIONS["softplus"](m.beta, m.threshold),
    nn.LogSigmoid: lambda m: FUNCTIONS["logsigmoid"](),
    nn.Tanhshrink: lambda m: FUNCTIONS["tanhshrink"](),
    nn.Softshrink: lambda m: FUNCTIONS["softshrink"](m.lambd),
    nn.Threshold: lambda m: FUNCTIONS["threshold"](m.threshold, m.value),
    nn.Hardtanh: lambda m: FUNCTIONS["hardtanh"](m.min_val, m.max_val),
}
BATCH_NORMS: tuple[type, ...] = (nn.BatchNorm1d, nn.SyncBatchNorm)
_WHOLE: tuple[type, ...] = (nn.Linear, *BATCH_NORMS, nn.PReLU)


def kind_of(module: nn.Module) -> type | None:
    """The class whose forward the module runs, if it is one that is read as a whole."""
    for kind in (*_WHOLE, *POINTWISE):
        own = getattr(type(module), "forward", None)
        if isinstance(module, kind) and own is getattr(kind, "forward", None):
            return kind
    return None


def hint_for(module: nn.Module) -> str:
    if "quantized" in type(module).__module__:
        return "export the model before it was quantized"
    return HINTS.get(type(module).__name__, "")


def described(path: str, module: nn.Module) -> str:
    return f"{path or 'the model'} ({type(module).__name__})"
