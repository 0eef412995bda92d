"""A server of the protocol in Python, which answers what a test tells it to: y = 2 · x."""

import contextlib
from concurrent import futures

import grpc

from mlpserve.messages import SERVICE, ModelInferRequest, ModelInferResponse, StreamResponse, message

Metadata = message("inference.ModelMetadataResponse")


def doubled(request):
    """The answer to one request; its input and output are FP32 [rows, 2]."""
    import numpy as np
    x = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(tuple(request.inputs[0].shape))
    answer = ModelInferResponse(model_name=request.model_name, id=request.id)
    answer.outputs.add(name="y", datatype="FP32", shape=x.shape)
    answer.raw_output_contents.append((2 * x).tobytes())
    return answer


def metadata(request, context):
    answer = Metadata(name=request.name, versions=["1"])
    answer.inputs.add(name="x", datatype="FP32", shape=[-1, 2])
    answer.outputs.add(name="y", datatype="FP32", shape=[-1, 2])
    return answer


def unary(call, request_type, response_type):
    return grpc.unary_unary_rpc_method_handler(call, request_type.FromString, response_type.SerializeToString)


@contextlib.contextmanager
def running(infer=lambda request, context: doubled(request), stream=None, describe=metadata):
    """The address of a server with these calls."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    handlers = {
        "ModelMetadata": unary(describe, message("inference.ModelMetadataRequest"), Metadata),
        "ModelInfer": unary(infer, ModelInferRequest, ModelInferResponse),
    }
    if stream is not None:
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
            stream, ModelInferRequest.FromString, StreamResponse.SerializeToString)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
