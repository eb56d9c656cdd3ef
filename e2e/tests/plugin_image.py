"""The plugin's image: the one that is named, else one built from this checkout when its inputs changed."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from e2e.local import LocalCluster
from e2e.machine import tools
from e2e.places import SOURCES, cache

ROOT = SOURCES.parent
BUILT = "localhost/amdgpu-plugin:e2e"
SECOND_TAG = "localhost/amdgpu-plugin:e2e-next"
# What the Dockerfile copies, and how it is built.
INPUTS = ("Dockerfile", "LICENSE", "README.md", "pyproject.toml", "requirements/run.txt", "image/*.sh")
BUILD_LIMIT_S = 900


@dataclass(frozen=True, slots=True)
class ImageName:
    """`registry/repository:tag` or `registry/repository@digest`; no registry means docker.io."""

    registry: str
    repository: str
    tag: str
    digest: str

    @classmethod
    def parse(cls, name: str) -> "ImageName":
        rest, _, digest = name.partition("@")
        first, slash, others = rest.partition("/")
        has_registry = bool(slash) and (first == "localhost" or "." in first or ":" in first)
        registry, path = (first, others) if has_registry else ("", rest)
        repository, _, tag = path.partition(":")
        return cls(registry, repository, tag, digest)

    def __str__(self) -> str:
        name = f"{self.registry}/{self.repository}" if self.registry else self.repository
        return f"{name}@{self.digest}" if self.digest else f"{name}:{self.tag or 'latest'}"

    def values(self) -> dict[str, str]:
        """As the chart takes them, under `image`."""
        return {
            "registry": self.registry,
            "repository": self.repository,
            "tag": self.tag,
            "digest": self.digest,
        }


def built_and_loaded(cluster: LocalCluster) -> tuple[str, str]:
    """The image of this checkout, on the local node under two names: a version and the next one."""
    archive = cache() / "images" / f"{_digest()}.tar"
    if not archive.exists():
        _build(archive)
    cluster.load(archive)
    cluster.ctr("images", "tag", "--force", BUILT, SECOND_TAG)
    return BUILT, SECOND_TAG


def _build(archive: Path) -> None:
    tools("buildah", "debootstrap")
    archive.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["image/build.sh"],
        cwd=ROOT,
        env={**os.environ, "IMAGE": BUILT, "ARCHIVE": str(archive)},
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_LIMIT_S,
    )
    assert done.returncode == 0, f"image/build.sh: {done.stderr[-3000:]}"
    for older in set(archive.parent.glob("*.tar")) - {archive}:
        older.unlink()


def _digest() -> str:
    digest = sha256()
    for path in _inputs():
        digest.update(f"{path.relative_to(ROOT)}\0{path.stat().st_mode & 0o111}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _inputs() -> Iterator[Path]:
    for pattern in INPUTS:
        yield from sorted(ROOT.glob(pattern))
    package = (path for path in (ROOT / "amdgpu_plugin").rglob("*") if path.is_file())
    yield from sorted(path for path in package if "__pycache__" not in path.parts)
