#!/usr/bin/env python3
"""Writes seeds/: small valid inputs, from which the fuzz targets start.

Run it with build/venv/bin/python, which tests/run makes. safetensors_fuzz starts from files that
other tests use (CMakeLists.txt).
"""
import io
import json
import pathlib

import numpy as np
from tritonclient.grpc import service_pb2 as pb

SEEDS = pathlib.Path(__file__).parent / "seeds"
GOLDENS = pathlib.Path(__file__).parent.parent / "goldens"

CSV = {
    "plain": "1,2.5,-3e2\n4,5,6\n",
    "heading": "\ufeff age ,\tincome\r\n\r\n+1,nan\r\n-inf,1e-45\r\n",
    "digits": "0.1,16777217,3.4028235e38\n1e-60,-0,.5",
}


def write(folder, name, data):
    path = SEEDS / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def npy(array, version):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


def full_request():
    """Something in every field."""
    request = pb.ModelInferRequest(model_name="digits", model_version="3", id="r\u00f6w-17")
    request.parameters["timeout"].int64_param = -5
    request.parameters["priority"].uint64_param = 2**63
    request.parameters["other"].double_param = 0.5
    request.parameters["sequence_id"].string_param = "s"
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[2, 300, -1])
    tensor.parameters["shared_memory_region"].string_param = "r"
    tensor.contents.fp32_contents.extend([1, -2.5, 3e38])
    tensor.contents.int_contents.append(-7)
    request.inputs.add().contents.bytes_contents.append(b"ignored")
    request.outputs.add(name="logits")
    request.outputs.add(name="second").parameters["classification"].int64_param = 3
    request.raw_input_contents.extend([b"\x5a" * 40, b"second"])
    return request.SerializeToString(deterministic=True)


def usual_request():
    request = pb.ModelInferRequest(model_name="digits")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    request.raw_input_contents.append(np.arange(4, dtype=np.float32).tobytes())
    return request.SerializeToString(deterministic=True)


def main():
    for name, text in CSV.items():
        write("csv", name, text.encode())
    rng = np.random.default_rng(1)
    write("npy", "fp32", npy(rng.standard_normal((2, 3)).astype(np.float32), (1, 0)))
    write("npy", "fp16_scalar", npy(np.array(1.5, np.float16), (2, 0)))
    write("npy", "int64_empty", npy(np.zeros((0, 4), np.int64), (3, 0)))
    write("npy", "bool", npy(np.array([True, False, True]), (1, 0)))
    for path in sorted(GOLDENS.glob("*/model.json")):
        model = json.loads(path.read_text())
        del model["name"]  # that of the folder, which a target has none of
        write("model_json", path.parent.name, json.dumps(model).encode())
    # The first byte is the pieces' (infer_message_fuzz.cc).
    for pieces in (0x00, 0x73, 0x01):
        write("infer_message", f"full_{pieces:02x}", bytes([pieces]) + full_request())
        write("infer_message", f"usual_{pieces:02x}", bytes([pieces]) + usual_request())


if __name__ == "__main__":
    main()
