"""Any one file of a GPU that never answers: the other seven are as they are."""

import asyncio
import os
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path as FilePath

import pytest

from amdgpu_plugin.discovery import discover
from amdgpu_plugin.discovery.inventory import Gpu, Inventory, Skipped
from amdgpu_plugin.lanes import Lanes
from amdgpu_plugin.sysfs import (
    Blob,
    DirectorySysfs,
    Names,
    Path,
    Text,
    Unreadable,
    decoded,
)
from tests.discovery.odd_nodes import (
    ABSENT,
    ILL,
    ILL_PATH,
    READABLE,
    whole_node,
    without_the_ill,
)
from tests.discovery.trees import (
    ADDRESSES,
    KFD,
    NO_NAMES,
    NODES,
    Tree,
    below,
    gone,
    in_memory,
    mi300x,
    mi300x_links,
    mi300x_node,
    on_disk,
    pci_path,
    scanned,
)

# --- any one file of one GPU

SHORT = 1.6
"""Seconds that a hung read is waited for here: KFD's nodes get an eighth of it."""
AT_ONCE = 4
"""More scans at once would make each other wait for the GIL, as if KFD hung."""
OTHERS = tuple(index for index in range(8) if index != ILL)


def files_of_a_gpu(tree: Tree, mode: str) -> dict[str, tuple[str, ...]]:
    """All files below the folders of GPU `ILL`, by what they belong to."""
    count = len(mi300x(ILL, mode).devices)
    xcps = [f"devices/platform/amdgpu_xcp_{7 * ILL + number}" for number in range(7)]
    nodes = [f"{NODES}/{2 + count * ILL + partition}" for partition in range(count)]
    return {
        "pci": below(tree, ILL_PATH),
        "drm": below(tree, f"{ILL_PATH}/drm", *xcps),
        "kfd": below(tree, *nodes),
    }


class Hanging:
    """The Sysfs of a tree in which one file's reading hangs: in its place is a FIFO nobody writes to."""

    def __init__(self, tree: Tree, path: str, fifo: str) -> None:
        os.mkfifo(fifo)
        self._tree = in_memory(tree)
        self._path = path
        self._fifo = fifo

    def let_go(self) -> None:
        with suppress(OSError):  # nobody reads it
            os.close(os.open(self._fifo, os.O_WRONLY | os.O_NONBLOCK))

    def read_bytes(self, path: str) -> Blob | Unreadable:
        if self._tree.resolve(path) == Path(self._path):
            folder, name = os.path.split(self._fifo)
            return DirectorySysfs(folder).read_bytes(name)
        return self._tree.read_bytes(path)

    def read(self, path: str) -> Text | Unreadable:
        return decoded(self.read_bytes(path))

    def list(self, path: str) -> Names | Unreadable:
        return self._tree.list(path)

    def resolve(self, path: str) -> Path | Unreadable:
        return self._tree.resolve(path)

    def link(self, path: str) -> Text | Unreadable:
        return self._tree.link(path)


async def scan_past(sysfs: Hanging, lanes: Lanes) -> tuple[Inventory, tuple[str, ...]]:
    """What is found around a read that hangs, and which lanes it held."""
    inventory = await discover(sysfs, lanes, names=NO_NAMES, deadline=SHORT)
    stuck = lanes.stuck
    while lanes.stuck:
        sysfs.let_go()
        await asyncio.sleep(0.001)
    return inventory, stuck


@pytest.mark.parametrize(("family", "mode"), [("pci", "SPX"), ("drm", "DPX"), ("kfd", "DPX")])
async def test_fifo_in_place_of_any_file_of_a_gpu_leaves_the_other_seven_as_they_are(
    family: str, mode: str, tmp_path: FilePath
) -> None:
    whole = mi300x_node(mode)
    tree = gone(whole, *(path for path in whole if re.search("/io_links/([3-9]|1[0-9])/", path)))
    undamaged = await discover(in_memory(tree), Lanes(), names=NO_NAMES)
    assert undamaged.gpus == whole_node(mode)
    lanes = [Lanes() for _ in range(AT_ONCE)]
    files = files_of_a_gpu(tree, mode)[family]
    hung: set[str] = set()
    for start in range(0, len(files), AT_ONCE):
        batch = files[start : start + AT_ONCE]
        odd = [Hanging(tree, path, f"{tmp_path}/{start + at}") for at, path in enumerate(batch)]
        answers = await asyncio.gather(*map(scan_past, odd, lanes[: len(batch)]))
        for path, (inventory, stuck) in zip(batch, answers, strict=True):
            assert (path, without_the_ill(inventory)) == (path, without_the_ill(undamaged))
            if stuck:
                hung.add(path)
                assert is_skipped_for_silence(inventory, mode), path
            else:
                assert (path, inventory) == (path, undamaged)
    assert bool(hung) == (family != "drm"), "which families hold files that are read"


def is_skipped_for_silence(inventory: Inventory, mode: str) -> bool:
    """The GPU offers less than it has, and it is said that something did not answer."""
    found = [gpu for gpu in inventory.gpus if gpu.pci_address == ADDRESSES[ILL]]
    offered = found[0].devices if found else ()
    return set(offered) < set(mi300x(ILL, mode).devices) and any(
        said.reason.startswith("no answer in ") for said in inventory.skipped
    )


async def test_fifo_in_place_of_the_hives_file_costs_no_gpu(tmp_path: FilePath) -> None:
    # one GPU has the hive's folder, and all others have links to it
    folder = f"{pci_path(ADDRESSES[0])}/xgmi_hive_info"
    sysfs = Hanging(mi300x_node(), f"{folder}/xgmi_hive_id", f"{tmp_path}/fifo")
    assert await scan_past(sysfs, Lanes()) == (
        Inventory(READABLE, whole_node(), mi300x_links(), (Skipped(folder, f"no answer in {SHORT} s"),)),
        (f"hive {folder}",),
    )


@pytest.mark.parametrize(
    ("path", "gpu", "said"),
    [
        (
            f"{ILL_PATH}/numa_node",
            None,
            (
                Skipped("class/drm/card24", f"no answer in {SHORT} s"),
                Skipped(f"{KFD}/5", "renderD152 belongs to no usable GPU"),
            ),
        ),
        (
            f"{NODES}/5/properties",
            replace(mi300x(ILL), devices=()),
            (
                Skipped(f"{KFD}/5", f"no answer in {SHORT / 8} s"),
                Skipped(ILL_PATH, "no answer from KFD node 5"),
            ),
        ),
        (f"{ILL_PATH}/drm/renderD152/dev", mi300x(ILL), ()),
    ],
)
def test_fifo_on_disk_skips_that_gpu_with_the_reason(
    path: str, gpu: Gpu | None, said: tuple[Skipped, ...], tmp_path: FilePath
) -> None:
    sysfs = on_disk(mi300x_node(count=4), tmp_path)
    os.unlink(f"{sysfs.root}/{path}")
    os.mkfifo(f"{sysfs.root}/{path}")
    inventory = scanned(sysfs, deadline=SHORT)
    with suppress(OSError):
        os.close(os.open(f"{sysfs.root}/{path}", os.O_WRONLY | os.O_NONBLOCK))
    expected = (*whole_node()[:ILL], *([gpu] if gpu else []))
    assert (inventory.gpus, inventory.skipped) == (expected, said)


def test_only_gpu_hanging_is_not_said_to_be_bound_to_nothing(tmp_path: FilePath) -> None:
    sysfs = on_disk(mi300x_node(count=1, kfd=False), tmp_path)
    fifo = f"{sysfs.root}/{pci_path(ADDRESSES[0])}/device"
    os.unlink(fifo)
    os.mkfifo(fifo)
    inventory = scanned(sysfs, deadline=0.2)
    os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    assert inventory == Inventory(ABSENT, (), (), (Skipped("class/drm/card0", "no answer in 0.2 s"),))


ENDING = """
import asyncio, sys
from amdgpu_plugin.discovery import discover
from amdgpu_plugin.lanes import Lanes
from amdgpu_plugin.product_names import ProductNames
from amdgpu_plugin.sysfs import DirectorySysfs

lanes = Lanes()
names = ProductNames(amdgpu_ids=None, pci_ids=None)
found = asyncio.run(discover(DirectorySysfs(sys.argv[1]), lanes, names=names, deadline=0.8))
print(len(found.gpus), *lanes.stuck, sep=", ")
"""


@pytest.mark.parametrize(
    ("path", "printed"),
    [
        (f"{ILL_PATH}/unique_id", f"3, gpu {ADDRESSES[ILL]}\n"),
        (f"{NODES}/5/gpu_id", "4, kfd\n"),
        ("module/amdgpu/version", "4, bus\n"),
    ],
)
def test_process_whose_scan_hung_ends(path: str, printed: str, tmp_path: FilePath) -> None:
    sysfs = on_disk(gone(mi300x_node(count=4), path), tmp_path)
    os.makedirs(os.path.dirname(f"{sysfs.root}/{path}"), exist_ok=True)
    os.mkfifo(f"{sysfs.root}/{path}")
    ended = subprocess.run(
        [sys.executable, "-c", ENDING, sysfs.root], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, printed, "")
