"""What blocks cost that are loaded and hardly used: memory, threads and metrics, counted."""

import json
import re

import numpy as np
import safetensors.numpy

from conftest import assert_close, infer

MB = 1_000_000


def write_blocks(folder, count, features):
    """`count` blocks of one FP32 layer; weights by name."""
    rng = np.random.default_rng(features)
    weights = {}
    for i in range(count):
        name = f"block{i:03}"
        (folder / name / "1").mkdir(parents=True)
        weights[name] = rng.standard_normal((features, features)).astype(np.float32)
        safetensors.numpy.save_file({"w": weights[name]},
                                    folder / name / "1/weights.safetensors")
        (folder / name / "model.json").write_text(json.dumps({
            "input": {"name": "x", "features": features},
            "output": {"name": "y", "features": features},
            "layers": [{"name": "fc", "weight": "w"}]}))
    return weights


def serve_first_requests(server, weights):
    """One request of three rows to each block, each answer checked."""
    rng = np.random.default_rng(1)
    with server.client() as client:
        for name, weight in weights.items():
            x = rng.standard_normal((3, weight.shape[1])).astype(np.float32)
            assert_close(infer(client, name, x), x.astype(np.float64) @ weight.T)


def process_status(server, field):
    """A number of /proc/PID/status."""
    text = open(f"/proc/{server.process.pid}/status").read()
    return int(re.search(rf"^{field}:\s+(\d+)", text, re.MULTILINE).group(1))


def resident_bytes(server):
    return process_status(server, "VmRSS") * 1024


def test_thirty_wide_blocks_hold_little_more_than_their_weights(tmp_path, start):
    weights = write_blocks(tmp_path, 30, 1024)
    server = start(tmp_path, "--cpu-threads", "2")
    serve_first_requests(server, weights)
    print(f"30 blocks: {resident_bytes(server) / MB:.0f} MB")
    assert resident_bytes(server) < 600 * MB

    metrics = server.get("/metrics")[1]

    def held(kind):
        line = rf'mlpserve_block_memory_bytes{{model="block000",version="1",kind="{kind}"}} (\S+)'
        return float(re.search(line, metrics).group(1))

    assert held("weights") == 1024 * 1024 * 4
    assert held("buffers") == 2 * 3 * 1024 * 4  # a slot and an output, three rows each
    assert held("buffers_reserved") == (3 + 6) * 4096 * 1024 * 4


def test_three_hundred_tiny_blocks_share_threads_and_say_little(tmp_path, start):
    weights = write_blocks(tmp_path, 300, 8)
    server = start(tmp_path, "--cpu-threads", "2")
    serve_first_requests(server, weights)
    metrics = server.get("/metrics")[1]
    threads = process_status(server, "Threads")
    print(f"300 blocks: {resident_bytes(server) / MB:.0f} MB, {threads} threads, "
          f"{len(metrics) / MB:.2f} MB of metrics")
    assert resident_bytes(server) < 150 * MB
    assert threads <= 40
    assert len(metrics) < 1.5 * MB
    assert metrics.count("mlpserve_request_duration_seconds_count{") == 300
