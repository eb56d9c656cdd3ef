"""Images of one static binary, written as archives that `ctr images import` reads."""

import io
import json
import tarfile
from hashlib import sha256
from pathlib import Path
from platform import machine

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write(path: Path, *, name: str, binary: Path, command: tuple[str, ...]) -> None:
    """A docker-archive at `path`: `binary` alone, as /`its name`, and `command` as its arguments."""
    layer = _tar({binary.name: (binary.read_bytes(), 0o755)})
    config = {
        "architecture": ARCHITECTURES.get(machine(), machine()),
        "os": "linux",
        "config": {"Entrypoint": [f"/{binary.name}"], "Cmd": list(command)},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {
        "layer.tar": (layer, 0o644),
        "config.json": (json.dumps(config).encode(), 0o644),
        "manifest.json": (json.dumps(manifest).encode(), 0o644),
    }
    path.write_bytes(_tar(files))


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, (data, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()
