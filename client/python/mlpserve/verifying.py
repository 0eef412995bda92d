"""verify(): a served block beside the model that it was exported from."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from mlpserve.block import Array, Tensor
from mlpserve.bounds import FORMATS, Bounded, Worst, evaluate, find_worst
from mlpserve.client import Client
from mlpserve.errors import MlpserveError, VerificationError
from mlpserve.exporting import COMPUTE, needs_whole_requests, sample
from mlpserve.frontends import lower
from mlpserve.protocol import array_of
from mlpserve.wire import to_wire


@dataclasses.dataclass(frozen=True)
class Verification:
    block: str
    version: str
    rows: int
    worst: Worst
    relative_error: float  # 2-norm of the error over that of what was expected
    compute: str

    @property
    def ok(self) -> bool:
        return self.worst.ok

    def __str__(self) -> str:
        verdict = "within" if self.ok else "OUTSIDE"
        version = f" version {self.version}" if self.version else ""
        return (f"{self.block}{version}: {self.rows} rows {verdict} the bounds of {self.compute}, "
                f"relative error {self.relative_error:.2g}, {self.worst}")


def verify(model: Any, address: str, block: str | None = None, *, x: npt.ArrayLike | None = None,
           rows: int = 64, version: str = "", compute: str = "FP32", batch_statistics: bool = False,
           probabilities: bool = False, timeout: float = 30.0, seed: int = 0) -> Verification:
    """Sends rows to a served block and compares its answer with the original's, computed here in float64.

    model: what was exported.
    address: of the server, as Client takes it.
    block: the block's name; may be left out where the server has only one.
    x: [rows, features] to compare with; default: `rows` random ones.
    compute, batch_statistics, probabilities: as when it was exported (a server does not tell them).

    The bound of each value is computed from the accumulation lengths, the epilogues' slopes and the formats.
    Returns what was found; raises VerificationError where a value lies outside its bound.
    """
    if compute not in COMPUTE:
        raise MlpserveError(f"compute: expected {' or '.join(COMPUTE)}, found {compute!r}")
    lowered = lower(model, batch_statistics=batch_statistics, probabilities=probabilities)
    with Client(address, timeout=timeout) as client:
        name = block or _only_block(client)
        served = client.describe(name, version)
        sent = sample(lowered.block, rows, seed) if x is None else _float32(x)
        if sent.ndim != 2 or sent.shape[1] != lowered.block.input_features or not len(sent):
            raise MlpserveError(f"x: expected [rows, {lowered.block.input_features}], found {list(sent.shape)}")
        if needs_whole_requests(lowered.block) and len(sent) < 2:
            raise MlpserveError("x: expected at least 2 rows, of which statistics are taken, found 1")
        sent = rounded(sent, served.input.datatype)
        answer = client.infer(name, sent, version=version, timeout=timeout)
    expected = lowered.original(sent)
    within = evaluate(lowered.block, sent, compute, served.output.datatype)
    if answer.shape != within.value.shape:
        raise VerificationError(f"{name}: expected {list(within.value.shape)}, found {list(answer.shape)}")
    bounds = lowered.shown(within).bound
    actual = lowered.shown(Bounded(answer.astype(np.float64), within.bound)).value
    found = Verification(name, version, len(sent), find_worst(expected, bounds, actual),
                         _relative_error(expected, actual), compute)
    if not found.ok:
        raise VerificationError(str(found))
    return found


def _float32(x: npt.ArrayLike) -> Array:
    given = array_of(x, "x")
    if given.dtype.kind not in "fiub":
        raise MlpserveError(f"x: expected numbers, found {given.dtype}")
    return given.astype(np.float32)


def rounded(x: Array, datatype: str) -> Array:
    """What is left of float32 values after they have gone over the wire."""
    if datatype not in FORMATS:
        raise MlpserveError(f"expected a block whose input is FP32, FP16 or BF16, found {datatype}")
    if datatype == "FP32":
        return x
    bits = to_wire(x, datatype)
    if datatype == "FP16":
        return np.frombuffer(bits, np.float16).astype(np.float32).reshape(x.shape)
    return Tensor("BF16", np.frombuffer(bits, np.uint16)).float64().astype(np.float32).reshape(x.shape)


def _relative_error(expected: Array, actual: Array) -> float:
    finite = np.isfinite(expected) & np.isfinite(actual)
    error = np.linalg.norm((actual - expected)[finite])
    return float(error / max(float(np.linalg.norm(expected[finite])), 1e-300))


def _only_block(client: Client) -> str:
    names = list(dict.fromkeys(entry.name for entry in client.blocks()))
    if len(names) == 1:
        return names[0]
    raise MlpserveError(f"block: expected its name, since the server has {len(names)}: {', '.join(names) or 'none'}")
