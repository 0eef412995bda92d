"""Compiles proto/ to a descriptor set inside the package, from which the messages are made at import.

No generated code is kept: a descriptor set is read by every version of protobuf, generated Python
only by those from its own generator's on. An sdist carries the .proto files with it.
"""

import pathlib
import shutil
import sys

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = pathlib.Path(__file__).resolve().parent
CARRIED = HERE / "proto"  # in an sdist
IN_REPOSITORY = HERE.parent.parent / "proto"
PROTOS = ["model_config.proto", "open_inference.proto"]


def proto_folder() -> pathlib.Path:
    for folder in (CARRIED, IN_REPOSITORY):
        if all((folder / name).is_file() for name in PROTOS):
            return folder
    sys.exit(f"mlpserve: expected {' and '.join(PROTOS)} in {CARRIED} or {IN_REPOSITORY}, found neither")


def compile_protos(target: pathlib.Path) -> None:
    import grpc_tools
    from grpc_tools import protoc

    includes = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    target.parent.mkdir(parents=True, exist_ok=True)
    code = protoc.main(["protoc", f"-I{proto_folder().parent}", f"-I{includes}",
                        "--include_imports", f"--descriptor_set_out={target}",
                        *(f"proto/{name}" for name in PROTOS)])
    if code != 0:
        sys.exit(f"mlpserve: protoc ended with code {code}")


class BuildPy(build_py):
    def run(self) -> None:
        super().run()
        built = HERE if getattr(self, "editable_mode", False) else pathlib.Path(self.build_lib)
        compile_protos(built / "mlpserve" / "messages.binpb")


class Sdist(sdist):
    def make_release_tree(self, base_dir: str, files: list) -> None:
        super().make_release_tree(base_dir, files)
        carried = pathlib.Path(base_dir) / "proto"
        carried.mkdir(exist_ok=True)
        for name in PROTOS:
            shutil.copyfile(proto_folder() / name, carried / name)


setup(cmdclass={"build_py": BuildPy, "sdist": Sdist})
