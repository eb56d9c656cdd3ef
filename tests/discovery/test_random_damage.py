"""Whatever is done to the files of one GPU, no other changes."""

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path as FilePath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amdgpu_plugin.discovery import discover
from amdgpu_plugin.discovery.inventory import Inventory
from amdgpu_plugin.lanes import Lanes
from amdgpu_plugin.sysfs import (
    Blob,
    Refused,
    Sysfs,
    Text,
    Unreadable,
    decoded,
)
from tests.discovery.odd_nodes import (
    ILL,
    ILL_PATH,
    without_the_ill,
)
from tests.discovery.trees import (
    ADDRESSES,
    KFD,
    NO_NAMES,
    NODES,
    mi300x,
    mi300x_node,
    on_disk,
)

# --- random damage to one GPU


def emptied(content: bytes) -> bytes:
    return b""


def binary(content: bytes) -> bytes:
    return b"\x00\xff\xfe" + content


def two_megabytes(content: bytes) -> bytes:
    return (content or b"7").ljust(2_000_000, b"7")


def padded(content: bytes) -> bytes:
    return content.ljust(4096, b"\0")


def cut(length: int, content: bytes) -> bytes:
    return content[:length]


def replaced(new: bytes, content: bytes) -> bytes:
    return new


REWRITES = [emptied, binary, two_megabytes, padded]
DAMAGES = st.one_of(
    st.sampled_from(["delete", "loop", "folder"]),
    st.sampled_from(REWRITES),
    st.builds(partial, st.just(cut), st.integers(0, 600)),
    st.builds(partial, st.just(replaced), st.binary(max_size=20)),
)
Damage = str | Callable[[bytes], bytes]


class DamagedNode:
    """A node on disk whose GPU `ILL` is damaged and repaired again and again."""

    def __init__(self, directory: FilePath, mode: str) -> None:
        self.tree = mi300x_node(mode)
        self.sysfs = on_disk(self.tree, directory)
        count = len(mi300x(ILL, mode).devices)
        minors = [f"class/drm/{kind}{base + 8 * ILL + at}" for kind, base in MINORS for at in range(8)]
        folders = (
            ILL_PATH,
            *(f"devices/platform/amdgpu_xcp_{7 * ILL + number}" for number in range(7)),
            *(f"{NODES}/{2 + count * ILL + partition}" for partition in range(count)),
        )
        inside = tuple(f"{folder}/" for folder in folders)
        self.targets = sorted(
            path
            for path in self.tree
            if path.startswith(inside) or path in minors or path.endswith(f"/{ADDRESSES[ILL]}")
        )
        self.folders = [*folders, f"{folders[-1]}/io_links", f"{folders[-1]}/mem_banks", f"{ILL_PATH}/drm"]
        self._lanes = Lanes()
        self._runner = asyncio.Runner()

        self.undamaged = without_the_ill(self.scan(self.sysfs))
        self.undamaged_if_denied = without_the_ill(self.scan(DeniedKfd(self.sysfs)))

    def scan(self, sysfs: Sysfs) -> Inventory:
        return self._runner.run(discover(sysfs, self._lanes, names=NO_NAMES))

    @contextmanager
    def damaged(self, path: str, damage: Damage) -> Iterator[None]:
        place = f"{self.sysfs.root}/{path}"
        aside = f"{self.sysfs.root}/../aside"
        os.rename(place, aside)
        if damage == "loop":
            os.symlink(os.path.basename(place), place)
        elif damage == "folder":
            os.mkdir(place)
        elif callable(damage):
            entry = self.tree.get(path)
            FilePath(place).write_bytes(damage(entry.value if isinstance(entry, Blob) else b""))
        yield
        if os.path.isdir(place) and not os.path.islink(place):
            os.rmdir(place)
        elif os.path.lexists(place):
            os.unlink(place)
        os.rename(aside, place)

    def close(self) -> None:
        self._runner.close()


MINORS = (("card", 0), ("renderD", 128))


@pytest.fixture(scope="module", params=["SPX", "DPX"])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DamagedNode]:
    node = DamagedNode(tmp_path_factory.mktemp("node") / "sys", request.param)
    yield node
    node.close()


@settings(max_examples=50)
@given(data=st.data(), damage=DAMAGES)
def test_random_damage_to_one_gpu_changes_no_other(
    node: DamagedNode, data: st.DataObject, damage: Damage
) -> None:
    path = data.draw(st.sampled_from(node.targets + node.folders))
    with node.damaged(path, damage):
        inventory = node.scan(node.sysfs)
    assert without_the_ill(inventory) == node.undamaged


class DeniedKfd:
    """A Sysfs whose KFD nodes of GPUs may not be read."""

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs = sysfs
        self.list = sysfs.list
        self.resolve = sysfs.resolve
        self.link = sysfs.link

    def read_bytes(self, path: str) -> Blob | Unreadable:
        if path.startswith(f"{KFD}/") and not path.startswith((f"{KFD}/0/", f"{KFD}/1/")):
            return Refused(errno.EPERM)
        return self._sysfs.read_bytes(path)

    def read(self, path: str) -> Text | Unreadable:
        return decoded(self.read_bytes(path))


@settings(max_examples=50)
@given(data=st.data(), damage=DAMAGES)
def test_random_damage_to_one_gpu_with_kfd_denied_gives_no_other_a_foreign_minor(
    node: DamagedNode, data: st.DataObject, damage: Damage
) -> None:
    # minors that cannot be followed may make others' not provable: less is offered then, nothing else
    path = data.draw(st.sampled_from(node.targets + node.folders))
    with node.damaged(path, damage):
        inventory = node.scan(DeniedKfd(node.sysfs))
    for gpu, was in zip(without_the_ill(inventory)[0], node.undamaged_if_denied[0], strict=True):
        assert gpu == was or (path.startswith("class/drm") and gpu == replace(was, devices=()))
