"""The client of replicas.py: requests of one row in a closed loop until SIGTERM, then one line of JSON of how they went; before
them the line "connected".

usage: replica_load.py TARGET IN_FLIGHT retry|no-retry
"""

import asyncio
import collections
import json
import signal
import sys
import time

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

RETRIES = {"maxAttempts": 4, "initialBackoff": "0.01s", "maxBackoff": "0.1s", "backoffMultiplier": 2,
           "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"]}


def service_config(target, retry):
    method = {"name": [{"service": "inference.GRPCInferenceService"}]}
    if retry:
        method["retryPolicy"] = RETRIES
    config = {"methodConfig": [method]}
    if "," in target:
        # The server's health says that it drains before it refuses anything. Not so behind a proxy: there one server's
        # health would speak for all.
        config |= {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
    return json.dumps(config)


def request():
    asked = service_pb2.ModelInferRequest(model_name="digits")
    tensor = asked.inputs.add()
    tensor.name, tensor.datatype = "x", "FP32"
    tensor.shape.extend([1, 64])
    asked.raw_input_contents.append(np.zeros((1, 64), np.float32).tobytes())
    return asked


async def main(target, in_flight, retry):
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    options = [("grpc.service_config", service_config(target, retry)), ("grpc.enable_retries", int(retry)),
               ("grpc.max_reconnect_backoff_ms", 500), ("grpc.initial_reconnect_backoff_ms", 100)]
    latencies, failures = [], collections.Counter()

    async def closed_loop(stub, asked):
        while not stopped.is_set():
            begin = time.monotonic()
            try:
                answer = await stub.ModelInfer(asked, timeout=20)
                assert len(answer.raw_output_contents[0]) == 40
                latencies.append(time.monotonic() - begin)
            except grpc.RpcError as error:
                failures[error.code().name + ": " + error.details()[:80]] += 1

    async with grpc.aio.insecure_channel(target, options=options) as channel:
        await asyncio.wait_for(channel.channel_ready(), 20)
        print("connected", flush=True)
        begin = time.monotonic()
        await asyncio.gather(*(closed_loop(service_pb2_grpc.GRPCInferenceServiceStub(channel), request())
                               for _ in range(in_flight)))
        seconds = time.monotonic() - begin
    p50, p99, worst = np.percentile(latencies, [50, 99, 100]) * 1e3 if latencies else [float("nan")] * 3
    print(json.dumps({"answered": len(latencies), "failures": failures, "seconds": seconds, "p50_ms": p50,
                      "p99_ms": p99, "worst_ms": worst}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "retry"))
