"""A client of a server that speaks the Open Inference Protocol over gRPC: mlpserve, or another."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

import grpc
import numpy.typing as npt

from mlpserve import protocol
from mlpserve.block import Array
from mlpserve.errors import MlpserveError
from mlpserve.messages import SERVICE, ModelInferRequest, StreamResponse, message
from mlpserve.protocol import Address, BlockInfo, BlockState, Retry, ServerError, ServerInfo

_STALE = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)


class Client:
    """Sends rows to blocks. Thread-safe; connects with the first call.

    address: "host:port", "unix:path", a gRPC name that resolves to several servers ("dns:///name:port"), or a list
        of numeric "ip:port". Where there are several, calls go to them in turn.
    timeout: seconds after which a call fails with DEADLINE_EXCEEDED, all its attempts together.
    retry: which answers are asked for again; None: none.
    credentials: for TLS; default: plain text.
    options: more of gRPC's channel arguments.

    Every failure of a call is a ServerError with the server's code and text.
    """

    def __init__(self, address: Address, *, timeout: float = 30.0, retry: Retry | None = Retry(),
                 credentials: grpc.ChannelCredentials | None = None,
                 options: Sequence[tuple[str, Any]] = ()) -> None:
        self.address = protocol.target_of(address)
        self.timeout = timeout
        arguments = protocol.channel_options(retry, options)
        self._channel = (grpc.insecure_channel(self.address, arguments) if credentials is None
                         else grpc.secure_channel(self.address, credentials, arguments))
        self._methods: dict[str, Any] = {}
        self._described: dict[tuple[str, str], BlockInfo] = {}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends calls in flight."""
        self._channel.close()

    def infer(self, block: str, x: npt.ArrayLike, *, version: str = "", timeout: float | None = None,
              priority: int = 0, queue_timeout: float = 0.0, request_id: str = "") -> Array:
        """One request.

        x: [rows, features], of any real type; rounded to the block's input datatype.
        version: default: the server's choice.
        priority: 1 is highest; 0: the block's default. queue_timeout: seconds that it may wait for a batch; 0: the
        block's default.
        Returns [rows, outputs]: float32 where the block answers FP32 or BF16, float16 where FP16.
        """
        call = f"infer {protocol.named(block, version)}"
        ends = _ends(self.timeout if timeout is None else timeout)
        request = protocol.infer_request(self._info(block, version, ends), x, version, request_id, priority,
                                         queue_timeout)
        try:
            response = self._ask("ModelInfer", request, ends, call)
        except ServerError as error:
            if error.code in _STALE:  # the block may have changed since it was described
                self._described.pop((block, version), None)
            raise
        return protocol.infer_answer(response)

    def stream(self, block: str, xs: Iterable[npt.ArrayLike], *, version: str = "",
               timeout: float | None = None) -> Iterator[Array]:
        """Many requests over one stream, where the server offers ModelStreamInfer: answers in the order of xs.

        xs: each [rows, features]; taken as fast as the server reads. timeout: seconds for the whole stream; default:
        none. A request that fails raises its ServerError and ends the stream.
        """
        call = f"stream {protocol.named(block, version)}"
        info = self._info(block, version, _ends(self.timeout))
        requests = (protocol.infer_request(info, x, version, str(number), 0, 0.0) for number, x in enumerate(xs))
        method = self._channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer", request_serializer=ModelInferRequest.SerializeToString,
            response_deserializer=StreamResponse.FromString)
        responses = method(requests, timeout=timeout)
        answers = StreamAnswers(self.address, call)
        try:
            for response in responses:
                for answer in answers.after(response):
                    yield answer
        except grpc.RpcError as error:
            raise protocol.error_of(error, self.address, call) from None
        finally:
            responses.cancel()

    def live(self, timeout: float | None = None) -> bool:
        return bool(self._call("ServerLive", "live", timeout).live)

    def ready(self, timeout: float | None = None) -> bool:
        return bool(self._call("ServerReady", "ready", timeout).ready)

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Asks until the server and its blocks are ready; raises ServerError when the time is over."""
        ends = time.monotonic() + timeout
        while True:
            reason = "it answers that it is not ready"
            try:
                if self.ready(timeout=min(5.0, max(0.1, ends - time.monotonic()))):
                    return
            except ServerError as error:
                reason = error.details
            if time.monotonic() >= ends:
                raise ServerError(grpc.StatusCode.DEADLINE_EXCEEDED, f"not ready after {timeout:g} s: {reason}",
                                  self.address, "ready")
            time.sleep(0.05)

    def server(self, timeout: float | None = None) -> ServerInfo:
        return protocol.server_info(self._call("ServerMetadata", "server", timeout))

    def blocks(self, timeout: float | None = None) -> list[BlockState]:
        """Every block and version of the repository, ready or not."""
        return protocol.block_states(self._call("RepositoryIndex", "blocks", timeout))

    def block_ready(self, block: str, version: str = "", timeout: float | None = None) -> bool:
        return bool(self._call("ModelReady", f"ready {protocol.named(block, version)}", timeout, name=block,
                               version=version).ready)

    def describe(self, block: str, version: str = "", timeout: float | None = None) -> BlockInfo:
        """Names, datatypes and shapes of a block's tensors."""
        info = protocol.block_info(self._call("ModelMetadata", f"describe {protocol.named(block, version)}", timeout,
                                              name=block, version=version))
        self._described[block, version] = info
        return info

    def _info(self, block: str, version: str, ends: float) -> BlockInfo:
        known = self._described.get((block, version))
        return known or self.describe(block, version, max(0.0, ends - time.monotonic()))

    def _call(self, method: str, call: str, timeout: float | None, **fields: Any) -> Any:
        request = message(f"inference.{method}Request")(**fields)
        return self._ask(method, request, _ends(self.timeout if timeout is None else timeout), call)

    def _ask(self, method: str, request: Any, ends: float, call: str) -> Any:
        if method not in self._methods:
            self._methods[method] = self._channel.unary_unary(
                f"/{SERVICE}/{method}", request_serializer=type(request).SerializeToString,
                response_deserializer=message(f"inference.{method}Response").FromString)
        try:
            return self._methods[method](request, timeout=max(0.0, ends - time.monotonic()))
        except grpc.RpcError as error:
            raise protocol.error_of(error, self.address, call) from None
        except ValueError as error:  # "Cannot invoke RPC on closed channel!"
            raise MlpserveError(f"{call} at {self.address}: {error}") from None


def _ends(timeout: float) -> float:
    return time.monotonic() + timeout


def _code_of(failed: Any) -> grpc.StatusCode:
    """Of a request that failed on a stream; other servers than mlpserve do not tell it."""
    number = failed.parameters["grpc_status"].int64_param if "grpc_status" in failed.parameters else -1
    return next((code for code in grpc.StatusCode if code.value[0] == number), grpc.StatusCode.UNKNOWN)


class StreamAnswers:
    """The answers of a stream, in the order of its requests, whatever order they come in."""

    def __init__(self, address: str, call: str) -> None:
        self._address = address
        self._call = call
        self._early: dict[int, Array] = {}
        self._following = 0

    def after(self, response: Any) -> Iterator[Array]:
        """The rows whose turn it is once `response` has come. Raises ServerError where it is an error."""
        inner = response.infer_response
        if response.error_message:
            number = inner.id or str(self._following)
            raise ServerError(_code_of(inner), response.error_message, self._address,
                              f"{self._call}, request {number}")
        self._early[int(inner.id) if inner.id.isdigit() else self._following] = protocol.infer_answer(inner)
        while self._following in self._early:
            yield self._early.pop(self._following)
            self._following += 1
