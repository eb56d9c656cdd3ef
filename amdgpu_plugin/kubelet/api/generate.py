"""Makes the checked-in Python of the kubelet's APIs: `python -m amdgpu_plugin.kubelet.api.generate [OUTDIR]`.

Enter: the `.proto` files beside this one. Leave: their `_pb2` and `_pb2_grpc` modules with type stubs, at
the same place below OUTDIR, which is this checkout unless given. The same generators give the same bytes.
Needs grpcio-tools and mypy-protobuf.
"""

import os
import sys

_HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(_HERE)))
# The whole path below the root names the file in protobuf's registry and in the generated imports.
PROTOS = ("amdgpu_plugin/kubelet/api/deviceplugin.proto", "amdgpu_plugin/kubelet/api/podresources.proto")
GENERATED = tuple(
    f"{proto.removesuffix('.proto')}_pb2{suffix}"
    for proto in PROTOS
    for suffix in (".py", ".pyi", "_grpc.py", "_grpc.pyi")
)


def generate(directory: str) -> None:
    """Writes GENERATED below `directory`.

    Raises ImportError without grpcio-tools, RuntimeError when the compiler refuses.
    """
    from grpc_tools import protoc  # noqa: PLC0415 - absent where the plugin merely runs

    # The interpreter's own plugins, whether or not its environment is on PATH.
    scripts = os.path.dirname(sys.executable)
    os.makedirs(directory, exist_ok=True)
    plugins = [f"--plugin=protoc-gen-{name}={scripts}/protoc-gen-{name}" for name in ("mypy", "mypy_grpc")]
    outputs = [
        f"--python_out={directory}",
        f"--grpc_python_out={directory}",
        f"--mypy_out=quiet:{directory}",
        f"--mypy_grpc_out=quiet,only_async:{directory}",
    ]
    if protoc.main(["protoc", f"--proto_path={ROOT}", *plugins, *outputs, *PROTOS]) != 0:
        raise RuntimeError("protoc could not compile: its messages are above")


if __name__ == "__main__":
    generate(sys.argv[1] if len(sys.argv) > 1 else ROOT)
