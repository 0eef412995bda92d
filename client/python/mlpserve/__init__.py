"""Exports trained models as blocks for mlpserve, checks what is served, and asks for rows.

    mlpserve.export(model, "models/tower")              # PyTorch, scikit-learn or ONNX
    with mlpserve.Client("127.0.0.1:8001") as client:
        y = client.infer("tower", x)                    # [rows, features] to [rows, outputs]
    mlpserve.verify(model, "127.0.0.1:8001", "tower")   # the original beside what is served
"""

from mlpserve.aio import AsyncClient
from mlpserve.client import Client
from mlpserve.errors import ExportError, MlpserveError, VerificationError
from mlpserve.exporting import Exported, export
from mlpserve.protocol import BlockInfo, BlockState, Retry, ServerError, ServerInfo, TensorInfo
from mlpserve.verifying import Verification, verify

__all__ = [
    "AsyncClient", "BlockInfo", "BlockState", "Client", "ExportError", "Exported", "MlpserveError", "Retry",
    "ServerError", "ServerInfo", "TensorInfo", "Verification", "VerificationError", "export", "verify",
]
