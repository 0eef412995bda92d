"""What both clients share: addresses, policies, and requests and answers as plain data."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from typing import Any, Union

import grpc
import numpy as np
import numpy.typing as npt

from mlpserve.block import Array
from mlpserve.errors import MlpserveError
from mlpserve.messages import SERVICE, ModelInferRequest
from mlpserve.wire import from_wire, to_wire

Address = Union[str, Sequence[str]]

# Bytes of a request that gRPC keeps to send it again; its default of 256 KiB would leave large ones out.
_RETRY_BUFFER_BYTES = 64 << 20

_HOST_AND_PORT = re.compile(r"(?:[^:/\s\[\]]+|\[[^\[\]]+\]):(\d{1,5})")
_NAME_WITH_SCHEME = re.compile(r"(?:unix|unix-abstract|dns|ipv4|ipv6|xds):.+")  # gRPC's affair


class ServerError(MlpserveError):
    """What a server answered instead of rows, or that it could not be reached.

    code: grpc.StatusCode; details: the server's text; address; call: what was asked.
    """

    def __init__(self, code: grpc.StatusCode, details: str, address: str, call: str) -> None:
        super().__init__(f"{call} at {address}: {code.name}: {details or 'no text'}")
        self.code = code
        self.details = details
        self.address = address
        self.call = call

    def __reduce__(self) -> Any:
        return ServerError, (self.code, self.details, self.address, self.call)


@dataclasses.dataclass(frozen=True)
class Retry:
    """Which answers are asked for again. A server's pushback (RESOURCE_EXHAUSTED) replaces the wait.

    attempts: in all, 1 (none again) to 5, gRPC's limit; waits in seconds, each `multiplier` times the one before
    and at most `max_wait`, less a random part. The deadline covers all attempts.
    """

    attempts: int = 3
    first_wait: float = 0.05
    max_wait: float = 1.0
    multiplier: float = 2.0
    codes: tuple[grpc.StatusCode, ...] = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)

    def __post_init__(self) -> None:
        for field, fits, expected in (
                ("attempts", 1 <= self.attempts <= 5, "1 to 5"),
                ("first_wait", 0 < self.first_wait <= self.max_wait, "above 0, at most max_wait"),
                ("multiplier", self.multiplier > 0, "above 0"),
                ("codes", bool(self.codes), "at least one")):
            if not fits:
                raise MlpserveError(f"Retry.{field}: expected {expected}, found {getattr(self, field)}")


@dataclasses.dataclass(frozen=True)
class ServerInfo:
    name: str
    version: str
    extensions: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class BlockState:
    """A version of a block in the server's repository."""

    name: str
    version: str
    state: str  # READY, LOADING, UNLOADING, UNAVAILABLE or UNKNOWN
    reason: str  # why it is not ready


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    name: str
    datatype: str  # FP32, FP16, BF16
    shape: tuple[int, ...]  # -1: any; the first is the rows


@dataclasses.dataclass(frozen=True)
class BlockInfo:
    name: str
    versions: tuple[str, ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]

    @property
    def input(self) -> TensorInfo:
        return self._only(self.inputs, "input")

    @property
    def output(self) -> TensorInfo:
        return self._only(self.outputs, "output")

    def _only(self, tensors: tuple[TensorInfo, ...], what: str) -> TensorInfo:
        if len(tensors) != 1:
            raise MlpserveError(f"{self.name}: expected one {what}, found {len(tensors)}: "
                                f"{', '.join(t.name for t in tensors)}")
        return tensors[0]


def target_of(address: Address) -> str:
    """gRPC's name for one address or several: "host:port", "unix:path", or numeric "ip:port"s."""
    if isinstance(address, str):
        host_and_port = _HOST_AND_PORT.fullmatch(address)
        if _NAME_WITH_SCHEME.fullmatch(address) or host_and_port and 0 < int(host_and_port[1]) < 65536:
            return address
        raise MlpserveError(f"address: expected host:port, [IPv6]:port or unix:path, found {address!r}")
    several = list(address)
    if not several:
        raise MlpserveError("address: expected at least one, found none")
    if len(several) == 1:
        return target_of(several[0])
    if all(re.fullmatch(r"\d+(\.\d+){3}:\d+", a) for a in several):
        return "ipv4:" + ",".join(several)
    if all(re.fullmatch(r"\[[0-9a-fA-F:]+\]:\d+", a) for a in several):
        return "ipv6:" + ",".join(several)
    raise MlpserveError(f"address: expected several as numeric IPv4 or IPv6 with ports, found {', '.join(several)}; "
                        "for names use one that resolves to all of them, dns:///name:port")


def channel_options(retry: Retry | None, more: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.enable_http_proxy", 0),
        ("grpc.per_rpc_retry_buffer_size", _RETRY_BUFFER_BYTES),
        ("grpc.service_config", json.dumps(_service_config(retry))),
        *more,
    ]


def _service_config(retry: Retry | None) -> dict[str, Any]:
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if retry is not None and retry.attempts > 1:
        config["methodConfig"] = [{
            "name": [{"service": SERVICE}],
            "retryPolicy": {
                "maxAttempts": retry.attempts,
                "initialBackoff": f"{retry.first_wait:.9f}s",
                "maxBackoff": f"{retry.max_wait:.9f}s",
                "backoffMultiplier": retry.multiplier,
                "retryableStatusCodes": [code.name for code in retry.codes],
            },
        }]
    return config


def error_of(error: grpc.RpcError, address: str, call: str) -> ServerError:
    return ServerError(error.code(), error.details() or "", address, call)


def named(block: str, version: str) -> str:
    return f"{block} version {version}" if version else block


def array_of(x: npt.ArrayLike, what: str) -> Array:
    """x in numpy, which by itself takes no PyTorch tensor that lies on a GPU, has a gradient or is BF16."""
    given: Any = x
    if hasattr(given, "detach"):
        given = given.detach().cpu()
        given = given.float() if str(given.dtype) == "torch.bfloat16" else given
    try:
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise MlpserveError(f"{what}: expected numbers, [rows, features]: {' '.join(str(error).split())}") from None


def infer_request(info: BlockInfo, x: npt.ArrayLike, version: str, request_id: str, priority: int,
                  queue_timeout: float) -> Any:
    """One ModelInferRequest with x [rows, features] as the block's only input."""
    tensor = info.input
    rows = array_of(x, f"{info.name}: '{tensor.name}'")
    for field, value in (("priority", priority), ("queue_timeout", queue_timeout)):
        if value < 0:
            raise MlpserveError(f"{info.name}: expected a {field} of at least 0, found {value}")
    if rows.dtype.kind not in "fiub" and rows.dtype.name != "bfloat16":
        raise MlpserveError(f"{info.name}: expected numbers for '{tensor.name}', found {rows.dtype}")
    if rows.ndim != len(tensor.shape):
        raise MlpserveError(f"{info.name}: expected '{tensor.name}' {_shape(tensor)}, found {list(rows.shape)}")
    request = ModelInferRequest(model_name=info.name, model_version=version, id=request_id)
    request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=rows.shape)
    request.raw_input_contents.append(to_wire(rows, tensor.datatype))
    if priority:
        request.parameters["priority"].uint64_param = priority
    if queue_timeout:
        request.parameters["timeout"].int64_param = round(queue_timeout * 1e6)
    return request


def _shape(tensor: TensorInfo) -> str:
    sizes = ["rows", *map(str, tensor.shape[1:])]
    return f"[{', '.join(sizes)}]"


def infer_answer(response: Any) -> Array:
    """The only output of a ModelInferResponse."""
    if len(response.outputs) != 1 or len(response.raw_output_contents) != 1:
        raise MlpserveError(f"{response.model_name}: expected one output as raw bytes, found {len(response.outputs)} "
                            f"outputs and {len(response.raw_output_contents)} of raw bytes")
    output = response.outputs[0]
    return from_wire(response.raw_output_contents[0], output.datatype, tuple(output.shape))


def block_info(response: Any) -> BlockInfo:
    def tensors(listed: Any) -> tuple[TensorInfo, ...]:
        return tuple(TensorInfo(t.name, t.datatype, tuple(t.shape)) for t in listed)

    return BlockInfo(response.name, tuple(response.versions), tensors(response.inputs), tensors(response.outputs))


def block_states(response: Any) -> list[BlockState]:
    return [BlockState(m.name, m.version, m.state, m.reason) for m in response.models]


def server_info(response: Any) -> ServerInfo:
    return ServerInfo(response.name, response.version, tuple(response.extensions))
