"""What the examples share: a folder of blocks, and an mlpserve that serves it until the program ends."""

import atexit
import os
import pathlib
import re
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = pathlib.Path(os.environ.get("MLPSERVE_BIN", ROOT / "build/release/bin")) / "mlpserve"


def repository() -> pathlib.Path:
    """An empty model repository that goes when the program ends."""
    folder = tempfile.TemporaryDirectory(prefix="mlpserve-example-")
    atexit.register(folder.cleanup)
    return pathlib.Path(folder.name)


def serve(models: pathlib.Path) -> str:
    """Starts a server on a free port and returns its address."""
    if not PROGRAM.exists():
        raise SystemExit(f"{PROGRAM}: expected the server, found none; ./deploy/quickstart builds it")
    log = models / ".log"
    with open(log, "wb") as output:
        server = subprocess.Popen([PROGRAM, "--model-repository", models, "--grpc-address", "127.0.0.1:0",
                                   "--http-address", "127.0.0.1:0", "--drain-grace", "0"], stderr=output)
    atexit.register(lambda: (server.terminate(), server.wait()))
    while server.poll() is None:
        found = re.search(r"gRPC on (\S+:\d+)", log.read_text())
        if found:
            return found.group(1)
        time.sleep(0.02)
    raise SystemExit(f"the server ended:\n{log.read_text()}")
