import asyncio
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any, TypeVar

import pytest

from amdgpu_plugin.discovery import kfd_reader
from amdgpu_plugin.discovery.inventory import Driver, Inventory, Skipped
from amdgpu_plugin.discovery.offering import Offering
from amdgpu_plugin.discovery.scan import Scanner, discover, gpu_lane
from amdgpu_plugin.lanes import Hung, Lane, Lanes
from amdgpu_plugin.product_names import ProductNames
from amdgpu_plugin.sysfs import Blob, Names, Path, Sysfs, Text, Unreadable, decoded
from tests.discovery.trees import (
    ADDRESSES,
    KFD,
    NO_NAMES,
    Tree,
    in_memory,
    mi300x,
    mi300x_links,
    mi300x_node,
    pci_path,
    put,
    scanned,
    without_kfd_nodes,
)

T = TypeVar("T")
READABLE = Driver("amdgpu", None, "readable")
LONG = 20.0


class Gated:
    """A Sysfs in which reading or listing some paths blocks until they are let go."""

    def __init__(self, tree: Tree, *blocked: str) -> None:
        self._tree = in_memory(tree)
        self._gates = {path: threading.Event() for path in blocked}
        self.readers: dict[str, str] = {}

    def becomes(self, tree: Tree) -> None:
        self._tree = in_memory(tree)

    def let_go(self) -> None:
        for gate in self._gates.values():
            gate.set()

    def _pass(self, path: str) -> None:
        self.readers[path] = threading.current_thread().name
        for blocked, gate in self._gates.items():
            if path.startswith(blocked):
                gate.wait()

    def read_bytes(self, path: str) -> Blob | Unreadable:
        self._pass(path)
        return self._tree.read_bytes(path)

    def read(self, path: str) -> Text | Unreadable:
        return decoded(self.read_bytes(path))

    def list(self, path: str) -> Names | Unreadable:
        self._pass(path)
        return self._tree.list(path)

    def resolve(self, path: str) -> Path | Unreadable:
        return self._tree.resolve(path)

    def link(self, path: str) -> Text | Unreadable:
        return self._tree.link(path)


async def answered(lanes: Lanes) -> None:
    while lanes.stuck:  # noqa: ASYNC110 - lanes have no event for this
        await asyncio.sleep(0.001)


def test_every_read_of_a_gpus_folder_is_done_on_its_lane() -> None:
    sysfs = Gated(mi300x_node(count=2))
    scanned(sysfs)
    for index in range(2):
        folder = f"{pci_path(ADDRESSES[index])}/"
        readers = {
            name
            for path, name in sysfs.readers.items()
            if path.startswith(folder) and "/xgmi_hive_info" not in path
        }
        assert readers == {gpu_lane(ADDRESSES[index])}


def test_nothing_is_read_on_the_loops_thread() -> None:
    sysfs = Gated(mi300x_node(count=2))
    scanned(sysfs)
    assert threading.current_thread().name not in sysfs.readers.values()


def test_product_is_the_boards_own_name_or_that_of_the_lists(tmp_path: FilePath) -> None:
    (tmp_path / "amdgpu.ids").write_text("1.0.0\n74A1,\t00,\tAMD Instinct MI300X OAM\n")
    names = ProductNames(amdgpu_ids=str(tmp_path / "amdgpu.ids"), pci_ids=None)
    tree = mi300x_node(count=2)
    put(tree, pci_path(ADDRESSES[1]), {"product_name": "\n"})
    found = asyncio.run(discover(in_memory(tree), Lanes(), names=names))
    assert [gpu.product for gpu in found.gpus] == ["AMD Instinct MI300X", "AMD Instinct MI300X OAM"]


def test_resources_are_named_as_asked() -> None:
    found = scanned(in_memory(mi300x_node("DPX", count=1)), naming="mixed")
    assert found.gpus == (mi300x(0, "DPX", resource="amd.com/dpx_nps1"),)


def test_module_version_is_told_where_there_is_one() -> None:
    tree = mi300x_node(count=1)
    put(tree, "module/amdgpu", {"version": "6.12.12\n"})
    assert scanned(in_memory(tree)).driver == Driver("amdgpu", "6.12.12", "readable")


def test_gpu_bound_since_class_drm_was_listed_is_found_by_its_driver() -> None:
    tree = mi300x_node(count=2, kfd=False)
    tree = {
        path: entry for path, entry in tree.items() if path not in {"class/drm/card8", "class/drm/renderD136"}
    }
    assert scanned(in_memory(tree)).gpus == (
        without_kfd_nodes(mi300x(0)),
        replace(mi300x(1), devices=()),
    )


async def test_gpu_that_answers_late_is_there_at_the_next_scan() -> None:
    sysfs, lanes = Gated(mi300x_node(count=2), pci_path(ADDRESSES[1])), Lanes()
    scanner = Scanner(sysfs, lanes, NO_NAMES)
    first = await scanner.scan(deadline=0.4)
    assert [gpu.pci_address for gpu in first.gpus] == [ADDRESSES[0]]
    assert Skipped("class/drm/card8", "no answer in 0.4 s") in first.skipped
    sysfs.let_go()
    await answered(lanes)
    second = await scanner.scan(deadline=LONG)
    assert [gpu.pci_address for gpu in second.gpus] == list(ADDRESSES[:2])
    assert second.skipped == ()


async def test_kfd_node_that_answers_late_is_there_at_the_next_scan() -> None:
    sysfs, lanes = Gated(mi300x_node(count=2), f"{KFD}/2/properties"), Lanes()
    scanner = Scanner(sysfs, lanes, NO_NAMES)
    first = await scanner.scan(deadline=0.8)
    whole = tuple(map(named, first.gpus))
    assert (whole, lanes.stuck) == ((replace(mi300x(0), devices=()), mi300x(1)), ("kfd",))
    sysfs.let_go()
    await answered(lanes)
    second = await scanner.scan(deadline=LONG)
    assert [device.kfd_node for gpu in second.gpus for device in gpu.devices] == [2, 3]


async def test_kfd_nodes_that_hang_keep_one_lane_each_however_often_they_are_scanned() -> None:
    sysfs, lanes = Gated(mi300x_node(count=4), f"{KFD}/2/", f"{KFD}/4/"), Lanes()
    scanner = Scanner(sysfs, lanes, NO_NAMES)
    scans = [await scanner.scan(deadline=0.8) for _ in range(4)]
    assert lanes.stuck == ("kfd", "kfd 2")
    assert [[len(gpu.devices) for gpu in scan.gpus] for scan in scans] == [[0, 1, 0, 1]] * 4
    sysfs.let_go()
    await answered(lanes)


async def test_kfd_whose_listing_hangs_costs_one_lane_and_no_gpu() -> None:
    sysfs, lanes = Gated(mi300x_node(count=2), KFD), Lanes()
    scanner = Scanner(sysfs, lanes, NO_NAMES)
    scans = [await scanner.scan(deadline=0.4) for _ in range(4)]
    expected = Inventory(
        READABLE,
        (without_kfd_nodes(mi300x(0)), without_kfd_nodes(mi300x(1))),
        mi300x_links(count=2, kfd=False),
        (Skipped(KFD, "no answer in 0.05 s"),),
    )
    assert [replace(scan, gpus=tuple(map(named, scan.gpus))) for scan in scans] == [expected] * 4
    assert lanes.stuck == ("kfd",)
    sysfs.let_go()
    await answered(lanes)


def named(gpu: Any) -> Any:
    return replace(gpu, devices=tuple(replace(device, resource="amd.com/gpu") for device in gpu.devices))


async def test_class_drm_that_hangs_leaves_nothing_known_and_says_so() -> None:
    sysfs, lanes = Gated(mi300x_node(count=2), "class/drm"), Lanes()
    found = await discover(sysfs, lanes, names=NO_NAMES, deadline=0.2)
    assert found == Inventory(
        Driver("amdgpu", None, "absent"), (), (), (Skipped("class/drm", "no answer in 0.2 s"),)
    )
    sysfs.let_go()
    await answered(lanes)


async def test_bus_that_hangs_costs_no_gpu() -> None:
    sysfs, lanes = Gated(mi300x_node(count=2), "bus/pci/devices"), Lanes()
    found = await discover(sysfs, lanes, names=NO_NAMES, deadline=0.8)
    assert (found.gpus, found.skipped) == (
        (mi300x(0), mi300x(1)),
        (Skipped("bus/pci/devices", "no answer in 0.8 s"),),
    )
    sysfs.let_go()
    await answered(lanes)


class VirtualTime(asyncio.SelectorEventLoop):
    """A loop whose clock stands still while anything is ready, and jumps when nothing is."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self._now = max(self._now, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


class SlowLane(Lane):
    """A lane without a thread: what it is asked takes a time told by its name, or for ever."""

    seconds: Callable[[str], float]

    async def ask(self, job: Callable[[], T], *, deadline: float) -> T | Hung:
        needed = type(self).seconds(self.name)
        await asyncio.sleep(min(needed, deadline))
        return job() if needed <= deadline else Hung(deadline)


class SlowLanes(Lanes):
    def __init__(self, seconds: Callable[[str], float]) -> None:
        super().__init__()
        self._kind = type("SlowLane", (SlowLane,), {"seconds": staticmethod(seconds)})

    def __getitem__(self, name: str) -> Lane:
        lane: Lane = self._kind(name)
        return lane


def in_virtual_time(scan: Coroutine[None, None, T]) -> tuple[T, float]:
    """What it gives, and how many seconds it took."""
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(scan), runner.get_loop().time()


@pytest.mark.parametrize("lane", ["gpu", "kfd", "bus", "hive", "node"])
def test_scan_ends_by_its_deadline_whatever_hangs(lane: str) -> None:
    def seconds(name: str) -> float:
        return 1000.0 if name.startswith(lane) else 0.0

    scan = discover(in_memory(mi300x_node("DPX")), SlowLanes(seconds), names=NO_NAMES, deadline=2.0)
    _, took = in_virtual_time(scan)
    assert took <= 2.0


class WalkingLane(Lane):
    """A lane without a thread: nothing is back in time, but each time it is waited for it came one node on."""

    def __init__(self, sysfs: Sysfs, nodes: int) -> None:
        super().__init__("kfd")
        self.walk = kfd_reader._Walk(sysfs, list(range(nodes)), frozenset(range(nodes)))

    async def ask(self, job: Callable[[], T], *, deadline: float) -> T | Hung:
        await self.comes_back(within=deadline)
        return Hung(deadline)

    async def comes_back(self, *, within: float) -> bool:
        await asyncio.sleep(within)
        self.walk.current += 1
        return self.walk.current == 20


@pytest.mark.parametrize(("end", "took", "done"), [(100.0, 5.0, True), (2.0, 2.0, False)])
def test_kfd_that_is_slow_but_comes_on_is_waited_for_until_the_end(
    end: float, took: float, *, done: bool
) -> None:
    async def walk() -> bool:
        lane = WalkingLane(in_memory({}), 20)
        return await kfd_reader._done(lane.walk, lane, 0.25, end)

    assert in_virtual_time(walk()) == (done, took)


def card_and_apu() -> Tree:
    """Two GPUs, the second of them an APU by its gpu_metrics."""
    tree = mi300x_node(count=2)
    for index, layout in enumerate((1, 2)):
        tree[f"{pci_path(ADDRESSES[index])}/gpu_metrics"] = Blob(struct.pack("<HBB", 4, layout, 3))
    return tree


def asleep(tree: Tree, index: int) -> None:
    put(tree, pci_path(ADDRESSES[index]), {"power/runtime_status": "suspended\n"})


async def kinds(scanner: Scanner) -> dict[str, tuple[bool | None, bool]]:
    """Of each GPU, whether it is an APU, and whether it is left out."""
    found = await scanner.scan(deadline=LONG)
    return {gpu.pci_address: (gpu.integrated, gpu.left_out is not None) for gpu in found.gpus}


async def test_an_apu_is_known_though_it_sleeps_later() -> None:
    tree = card_and_apu()
    sysfs = Gated(tree)
    scanner = Scanner(sysfs, Lanes(), NO_NAMES)
    awake = {ADDRESSES[0]: (False, False), ADDRESSES[1]: (True, True)}
    assert await kinds(scanner) == awake
    asleep(tree, 1)
    sysfs.becomes(tree)
    assert await kinds(scanner) == awake


async def test_a_gpu_that_sleeps_from_the_first_counts_as_discrete() -> None:
    tree = card_and_apu()
    asleep(tree, 1)
    scanner = Scanner(in_memory(tree), Lanes(), NO_NAMES)
    assert await kinds(scanner) == {ADDRESSES[0]: (False, False), ADDRESSES[1]: (None, False)}


async def test_another_gpu_at_the_address_of_one_that_left_is_looked_at_anew() -> None:
    tree = card_and_apu()
    sysfs = Gated(tree)
    scanner = Scanner(sysfs, Lanes(), NO_NAMES)
    await kinds(scanner)
    sysfs.becomes(mi300x_node(count=1))
    await kinds(scanner)
    tree[f"{pci_path(ADDRESSES[1])}/gpu_metrics"] = Blob(struct.pack("<HBB", 4, 1, 3))
    sysfs.becomes(tree)
    assert (await kinds(scanner))[ADDRESSES[1]] == (False, False)


async def test_an_apu_stays_left_out_after_the_card_beside_it_failed() -> None:
    sysfs = Gated(card_and_apu())
    scanner = Scanner(sysfs, Lanes(), NO_NAMES)
    await kinds(scanner)
    tree = {path: entry for path, entry in card_and_apu().items() if ADDRESSES[0] not in path}
    sysfs.becomes(tree)
    assert await kinds(scanner) == {ADDRESSES[1]: (True, True)}


async def test_what_is_left_out_changes_no_others_name() -> None:
    tree = mi300x_node("CPX", count=2)
    put(tree, pci_path(ADDRESSES[1]), {"current_memory_partition": "NPS4\n"})
    offering = Offering(exclude=(ADDRESSES[1],))
    found = await discover(in_memory(tree), Lanes(), names=NO_NAMES, offering=offering)
    assert {device.resource for gpu in found.gpus for device in gpu.devices} == {"amd.com/gpu"}
