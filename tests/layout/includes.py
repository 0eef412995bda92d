"""Checks that includes point down: each folder may include only what the table below allows.

usage: includes.py [ROOT]      prints one line for each bad include; exit code 1 if there is one

A folder is matched by its longest entry. Quoted includes are our own files, named from the root;
angle brackets are other people's, and only the listed prefixes are restricted.
"""

import pathlib
import re
import sys

EVERYTHING = [""]

# Our own headers that the files of a folder may include, by prefix. A folder may include itself.
OWN = {
    "kernels/status": [],
    "kernels/spec": ["kernels/status/"],
    "kernels/reference": ["kernels/spec/"],
    "kernels/cpu": ["kernels/spec/", "kernels/status/"],
    "kernels/cuda/device": [],
    "kernels/cuda/device/ptx": ["kernels/cuda/device/prelude.cuh"],
    "kernels/cuda/tiles": ["kernels/spec/"],
    "kernels/cuda/jit": ["kernels/cuda/tiles/", "kernels/spec/", "kernels/status/"],
    "kernels/cuda/driver": ["kernels/cuda/jit/", "kernels/cuda/tiles/", "kernels/status/"],
    "kernels/cuda/plan": [
        "kernels/cuda/jit/", "kernels/cuda/tiles/", "kernels/cuda/device/", "kernels/spec/",
        "kernels/status/",
    ],
    "kernels/cuda/engine": [
        "kernels/cuda/plan/", "kernels/cuda/driver/", "kernels/cuda/jit/", "kernels/cuda/tiles/",
        "kernels/cuda/device/", "kernels/spec/", "kernels/status/",
    ],
    "kernels/cuda/sheet": ["kernels/cuda/jit/", "kernels/cuda/tiles/", "kernels/spec/", "kernels/status/"],
    "server/machine": [],
    "server/net": ["server/sync/", "kernels/status/"],
    "server/shared_memory": ["server/net/", "server/sync/", "server/text/", "server/vocabulary/", "kernels/status/"],
    "server/sync": [],
    "server/vocabulary": [],
    # Leaves: text and weights are the same to server and client, which include both alike.
    "server/text": [],
    "server/safetensors": ["server/text/", "kernels/spec/", "kernels/status/"],
    "server/model": [
        "server/safetensors/", "server/text/", "server/vocabulary/", "kernels/spec/",
        "kernels/status/", "proto/mlp_model",
    ],
    "server/metrics": ["server/net/", "server/sync/", "server/vocabulary/", "kernels/status/"],
    "server/catalog": [
        "server/vocabulary/", "server/sync/", "server/text/", "server/model/", "server/metrics/", "kernels/status/",
    ],
    "server/status": [
        "server/vocabulary/", "server/catalog/", "server/sync/", "server/metrics/", "server/model/",
        "kernels/spec/",
    ],
    "server/batching": [
        "server/machine/", "server/vocabulary/", "server/sync/", "kernels/status/",
    ],
    "server/engine": ["server/machine/", "server/shared_memory/region.h", "server/vocabulary/", "server/sync/", "kernels/"],
    "server/transport": [
        "server/machine/", "server/net/", "server/shared_memory/",
        "server/vocabulary/", "server/catalog/", "server/version.h", "server/sync/",
        "server/text/", "server/model/", "server/metrics/", "kernels/spec/datatype.h", "kernels/status/",
        "proto/",
    ],
    "server/lifecycle": [
        "server/vocabulary/", "server/catalog/", "server/sync/", "server/text/",
        "server/model/", "server/metrics/", "server/batching/", "server/engine/", "kernels/",
    ],
    "server/tools": EVERYTHING,
    "server": EVERYTHING,
    "client": ["server/safetensors/", "server/version.h", "kernels/spec/", "kernels/status/", "proto/"],
    "deploy": ["client/"],
    "tests": EVERYTHING,
}

# Other people's headers: only these folders may include them.
OTHERS = {
    "grpc": ["server/transport", "client", "tests"],
    "google/protobuf": ["server/model", "server/transport", "client", "tests"],
    "prometheus": ["server/metrics", "tests"],
    "microhttpd": ["server/metrics"],
    "cuda": ["kernels/cuda/driver", "kernels/cuda/engine", "kernels/cuda/jit", "kernels/cuda/device", "server/engine", "server/tools/bench", "tests"],
    "cublas": ["kernels/cuda", "tests"],
    "nvrtc": ["kernels/cuda", "tests"],
    "dnnl": ["kernels/cpu", "tests"],
    "oneapi/dnnl": ["kernels/cpu", "tests"],
    "hwy": ["kernels/cpu"],
    "spdlog": ["server", "tests"],
    "CLI/": ["server/config", "client", "server/tools"],
}
# ... and these never, though a longer entry above would let them.
NEVER = {"spdlog": ["server/batching", "server/metrics", "server/vocabulary"]}

# Google style includes these with quotes, too.
QUOTED_OTHERS = ("CLI/", "absl/", "benchmark/", "dnnl.hpp", "gmock/", "google/", "grpc/", "grpcpp/",
                 "gtest/", "hwy/", "spdlog/")

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.MULTILINE)
ENDINGS = {".h", ".cc", ".cu", ".cuh"}


def is_under(path, prefix):
    return path.startswith(prefix)


def allowed_own(path):
    folder = max((f for f in OWN if is_under(path, f)), key=len, default=None)
    if folder is None:
        return None, []
    return folder, OWN[folder] + [folder]


def problem(path, quoted, target):
    """Why the file at `path` may not include `target`; None if it may."""
    if quoted and not target.startswith(QUOTED_OTHERS):
        folder, prefixes = allowed_own(path)
        if folder is None:
            return f"{path}: its folder is not in the table of tests/layout/includes.py"
        if not any(is_under(target, prefix) for prefix in prefixes):
            return f'{path}: {folder} must not include "{target}" (allowed: {", ".join(prefixes)})'
        return None
    for prefix, folders in OTHERS.items():
        if not is_under(target, prefix):
            continue
        denied = any(is_under(path, folder) for folder in NEVER.get(prefix, []))
        if denied or not any(is_under(path, folder) for folder in folders):
            return f"{path}: must not include <{target}> (allowed in: {', '.join(folders)})"
    return None


def check(root):
    problems = []
    for top in ("kernels", "server", "client", "deploy", "tests"):
        for file in sorted((root / top).rglob("*")):
            path = file.relative_to(root).as_posix()
            if file.suffix not in ENDINGS or path.startswith("tests/layout/bad"):
                continue
            for quote, target in INCLUDE.findall(file.read_text(encoding="utf-8")):
                found = problem(path, quote == '"', target)
                if found:
                    problems.append(found)
    return problems


if __name__ == "__main__":
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    lines = check(root)
    print("\n".join(lines) or "every include points down")
    sys.exit(1 if lines else 0)
