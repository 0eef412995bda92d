"""The same client for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any

import grpc
import grpc.aio
import numpy.typing as npt

from mlpserve import protocol
from mlpserve.block import Array
from mlpserve.client import _STALE, _ends, StreamAnswers
from mlpserve.errors import MlpserveError
from mlpserve.messages import SERVICE, ModelInferRequest, StreamResponse, message
from mlpserve.protocol import Address, BlockInfo, BlockState, Retry, ServerError, ServerInfo


class AsyncClient:
    """Client with methods to await; arguments, results and errors are Client's.

    To be used in one event loop.
    """

    def __init__(self, address: Address, *, timeout: float = 30.0, retry: Retry | None = Retry(),
                 credentials: grpc.ChannelCredentials | None = None,
                 options: Sequence[tuple[str, Any]] = ()) -> None:
        self.address = protocol.target_of(address)
        self.timeout = timeout
        arguments = protocol.channel_options(retry, options)
        self._channel = (grpc.aio.insecure_channel(self.address, options=arguments) if credentials is None
                         else grpc.aio.secure_channel(self.address, credentials, options=arguments))
        self._methods: dict[str, Any] = {}
        self._described: dict[tuple[str, str], BlockInfo] = {}

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        traceback: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends calls in flight."""
        await self._channel.close()

    async def infer(self, block: str, x: npt.ArrayLike, *, version: str = "", timeout: float | None = None,
                    priority: int = 0, queue_timeout: float = 0.0, request_id: str = "") -> Array:
        """One request: x [rows, features] to [rows, outputs]; see Client.infer."""
        call = f"infer {protocol.named(block, version)}"
        ends = _ends(self.timeout if timeout is None else timeout)
        info = await self._info(block, version, ends)
        request = protocol.infer_request(info, x, version, request_id, priority, queue_timeout)
        try:
            response = await self._ask("ModelInfer", request, ends, call)
        except ServerError as error:
            if error.code in _STALE:
                self._described.pop((block, version), None)
            raise
        return protocol.infer_answer(response)

    async def stream(self, block: str, xs: Iterable[npt.ArrayLike] | AsyncIterable[npt.ArrayLike], *,
                     version: str = "", timeout: float | None = None) -> AsyncIterator[Array]:
        """Many requests over one stream; see Client.stream."""
        call = f"stream {protocol.named(block, version)}"
        info = await self._info(block, version, _ends(self.timeout))

        async def requests() -> AsyncIterator[Any]:
            number = 0
            async for x in _each(xs):
                yield protocol.infer_request(info, x, version, str(number), 0, 0.0)
                number += 1

        method = self._channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer", request_serializer=ModelInferRequest.SerializeToString,
            response_deserializer=StreamResponse.FromString)
        responses = method(requests(), timeout=timeout)
        answers = StreamAnswers(self.address, call)
        try:
            async for response in responses:
                for answer in answers.after(response):
                    yield answer
        except grpc.RpcError as error:
            raise protocol.error_of(error, self.address, call) from None
        finally:
            responses.cancel()

    async def live(self, timeout: float | None = None) -> bool:
        return bool((await self._call("ServerLive", "live", timeout)).live)

    async def ready(self, timeout: float | None = None) -> bool:
        return bool((await self._call("ServerReady", "ready", timeout)).ready)

    async def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Asks until the server and its blocks are ready; raises ServerError when the time is over."""
        ends = time.monotonic() + timeout
        while True:
            reason = "it answers that it is not ready"
            try:
                if await self.ready(timeout=min(5.0, max(0.1, ends - time.monotonic()))):
                    return
            except ServerError as error:
                reason = error.details
            if time.monotonic() >= ends:
                raise ServerError(grpc.StatusCode.DEADLINE_EXCEEDED, f"not ready after {timeout:g} s: {reason}",
                                  self.address, "ready")
            await asyncio.sleep(0.05)

    async def server(self, timeout: float | None = None) -> ServerInfo:
        return protocol.server_info(await self._call("ServerMetadata", "server", timeout))

    async def blocks(self, timeout: float | None = None) -> list[BlockState]:
        """Every block and version of the repository, ready or not."""
        return protocol.block_states(await self._call("RepositoryIndex", "blocks", timeout))

    async def block_ready(self, block: str, version: str = "", timeout: float | None = None) -> bool:
        return bool((await self._call("ModelReady", f"ready {protocol.named(block, version)}", timeout, name=block,
                                      version=version)).ready)

    async def describe(self, block: str, version: str = "", timeout: float | None = None) -> BlockInfo:
        """Names, datatypes and shapes of a block's tensors."""
        response = await self._call("ModelMetadata", f"describe {protocol.named(block, version)}", timeout,
                                    name=block, version=version)
        info = protocol.block_info(response)
        self._described[block, version] = info
        return info

    async def _info(self, block: str, version: str, ends: float) -> BlockInfo:
        known = self._described.get((block, version))
        return known or await self.describe(block, version, max(0.0, ends - time.monotonic()))

    async def _call(self, method: str, call: str, timeout: float | None, **fields: Any) -> Any:
        request = message(f"inference.{method}Request")(**fields)
        return await self._ask(method, request, _ends(self.timeout if timeout is None else timeout), call)

    async def _ask(self, method: str, request: Any, ends: float, call: str) -> Any:
        if method not in self._methods:
            self._methods[method] = self._channel.unary_unary(
                f"/{SERVICE}/{method}", request_serializer=type(request).SerializeToString,
                response_deserializer=message(f"inference.{method}Response").FromString)
        try:
            return await self._methods[method](request, timeout=max(0.0, ends - time.monotonic()))
        except grpc.RpcError as error:
            raise protocol.error_of(error, self.address, call) from None
        except grpc.aio.UsageError as error:  # "Channel is closed."
            raise MlpserveError(f"{call} at {self.address}: {error}") from None


async def _each(xs: Iterable[npt.ArrayLike] | AsyncIterable[npt.ArrayLike]) -> AsyncIterator[npt.ArrayLike]:
    if isinstance(xs, AsyncIterable):
        async for x in xs:
            yield x
    else:
        for x in xs:
            yield x
