"""The asyncio client; what it shares with the synchronous one is tested there."""

import asyncio

import grpc
import numpy as np
import pytest
import test_server
from conftest import integration

import mlpserve
from mlpserve import messages


def test_requests_in_flight_at_once_get_their_own_rows(digits_server, digits):
    async def run():
        async with mlpserve.AsyncClient(digits_server.grpc_address) as client:
            await client.wait_until_ready(5)
            parts = await asyncio.gather(*(client.infer("digits", digits["x"][i:i + 9]) for i in range(0, 450, 9)))
            return np.concatenate(parts)

    integration.assert_close(asyncio.run(run()), digits["logits64"])


def test_what_the_server_says_of_itself(digits_server):
    async def run():
        async with mlpserve.AsyncClient(digits_server.grpc_address) as client:
            assert await client.live() and await client.ready() and await client.block_ready("digits", "1")
            return await client.server(), await client.blocks(), await client.describe("digits")

    server, blocks, info = asyncio.run(run())
    assert server.name == "mlpserve" and len(blocks) > 5 and info.input.shape == (-1, 64)


def test_errors_say_what_the_server_said(digits_server):
    async def run():
        async with mlpserve.AsyncClient(digits_server.grpc_address) as client:
            await client.infer("digits", np.ones((1, 63)))

    with pytest.raises(mlpserve.ServerError, match="infer digits at .*INVALID_ARGUMENT.*63"):
        asyncio.run(run())


def test_a_closed_client_says_so(digits_server):
    async def run():
        client = mlpserve.AsyncClient(digits_server.grpc_address)
        await client.close()
        await client.live()

    with pytest.raises(mlpserve.MlpserveError, match="closed"):
        asyncio.run(run())


def test_deadlines_and_retries():
    asked = []

    def fails(request, context):
        asked.append(1)
        context.abort(grpc.StatusCode.UNAVAILABLE, "not now")

    async def run(address):
        async with mlpserve.AsyncClient(address, retry=mlpserve.Retry(attempts=4)) as client:
            await client.infer("block", [[1, 2]])

    with test_server.running(infer=fails) as address:
        with pytest.raises(mlpserve.ServerError, match="UNAVAILABLE: not now"):
            asyncio.run(run(address))
    assert len(asked) == 4


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_stream_answers_in_order(asynchronous):
    def answer(requests, context):
        for request in requests:
            yield messages.StreamResponse(infer_response=test_server.doubled(request))

    async def numbers():
        for i in range(10):
            yield [[i, i]]

    async def run(address):
        async with mlpserve.AsyncClient(address) as client:
            xs = numbers() if asynchronous else [[[i, i]] for i in range(10)]
            return [y[0, 0] async for y in client.stream("block", xs)]

    with test_server.running(stream=answer) as address:
        assert asyncio.run(run(address)) == [2 * i for i in range(10)]


def test_a_cancelled_call_ends_at_the_server(digits_server):
    async def run():
        async with mlpserve.AsyncClient(digits_server.grpc_address) as client:
            task = asyncio.create_task(client.infer("digits", np.ones((4000, 64))))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return (await client.infer("digits", np.ones((1, 64)))).shape

    assert asyncio.run(run()) == (1, 10)
