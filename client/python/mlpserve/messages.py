"""The protocol's messages, made at import from the descriptor set that the build put beside this file.

They live in a descriptor pool of their own, so that tritonclient's messages, which have the same
names, may be loaded in the same process.
"""

from __future__ import annotations

import pathlib
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "inference.GRPCInferenceService"
_FILE = pathlib.Path(__file__).with_name("messages.binpb")


def _load() -> Any:
    try:
        data = _FILE.read_bytes()
    except FileNotFoundError:
        raise ImportError(f"{_FILE}: expected the compiled messages, found none; install the package "
                          "(pip install ./client/python)") from None
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL: Any = _load()


def message(name: str) -> Any:
    """The class of a message, "inference.ModelInferRequest"."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


ModelInferRequest: Any = message("inference.ModelInferRequest")
ModelInferResponse: Any = message("inference.ModelInferResponse")
StreamResponse: Any = message("inference.ModelStreamInferResponse")
