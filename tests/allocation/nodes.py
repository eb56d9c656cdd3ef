"""Nodes to choose from, and the choice made by trying everything."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from amdgpu_plugin.allocation.distance import distances
from amdgpu_plugin.allocation.preference import Ranked, Request
from amdgpu_plugin.allocation.shares import Spread
from amdgpu_plugin.capture_file import load_capture
from amdgpu_plugin.discovery import discover
from amdgpu_plugin.discovery.inventory import (
    ComputeDevice,
    Driver,
    Gpu,
    Inventory,
    Link,
    LinkKind,
    device_of,
)
from amdgpu_plugin.lanes import Lanes
from amdgpu_plugin.node import ListedDevice
from amdgpu_plugin.sysfs import DirectorySysfs
from tests.discovery.trees import NO_NAMES

FIXTURES = Path(__file__).parents[1] / "fixtures" / "sysfs"

Joint = tuple[LinkKind, int | None, int | None]
"""A link's kind, weight and bandwidth."""


def address(index: int) -> str:
    return f"0000:{index:02x}:00.0"


def ids(*indices: int) -> tuple[str, ...]:
    return tuple(map(address, indices))


def gpu(
    index: int,
    *,
    numa: int | None = 0,
    hive: str | None = None,
    devices: int = 1,
    replicas: int = 1,
    bridges: str | None = None,
) -> Gpu:
    """The GPU at 0000:<index>:00.0, whole or in so many partitions."""
    names = (
        [f"{address(index)}-cpx{number}" for number in range(devices)] if devices != 1 else [address(index)]
    )
    return Gpu(
        pci_address=address(index),
        product=None,
        pci_id=None,
        unique_id=None,
        numa_node=numa,
        vram_bytes=None,
        compute_partition=None,
        memory_partition=None,
        xgmi_hive=hive,
        devices=tuple(
            ComputeDevice(name, "amd.com/gpu", None, "renderD128", None, None, replicas) for name in names
        ),
        bridges=bridges,
    )


def node(gpus: Sequence[Gpu], joint: Callable[[int, int], Joint | None]) -> Inventory:
    """`joint` tells what joins two GPUs, by their places in `gpus`."""
    joined = (
        (gpus[a].pci_address, gpus[b].pci_address, joint(a, b)) for a, b in combinations(range(len(gpus)), 2)
    )
    links = tuple(Link(a, b, *told) for a, b, told in joined if told)
    return Inventory(Driver("amdgpu", None, "readable"), tuple(gpus), links, ())


def hives(count: int, size: int, *, devices: int = 1, replicas: int = 1) -> Inventory:
    """XGMI bridges over `size` GPUs each, each on a NUMA node of its own, with PCIe between them."""
    gpus = [
        gpu(index, numa=index // size, hive=str(index // size), devices=devices, replicas=replicas)
        for index in range(count * size)
    ]
    return node(gpus, lambda a, b: ("xgmi", 15, 50000) if a // size == b // size else ("pcie", 72, None))


def inventory_of(root: str) -> Inventory:
    """What is discovered in a directory, or in a capture."""
    sysfs = load_capture(root) if root.endswith(".capture") else DirectorySysfs(root)
    return asyncio.run(discover(sysfs, Lanes(), names=NO_NAMES))


def shared(inventory: Inventory, replicas: int) -> Inventory:
    gpus = tuple(
        replace(gpu, devices=tuple(replace(device, replicas=replicas) for device in gpu.devices))
        for gpu in inventory.gpus
    )
    return replace(inventory, gpus=gpus)


def listed(inventory: Inventory) -> list[ListedDevice]:
    return [ListedDevice(device, gpu) for gpu in inventory.gpus for device in gpu.devices]


def served(inventory: Inventory) -> list[str]:
    return [served_id for each in listed(inventory) for served_id in each.device.served_ids]


def total(rows: Sequence[Sequence[int]], places: Iterable[int]) -> int:
    """The sum over all pairs."""
    return sum(rows[a][b] for a, b in combinations(places, 2))


def by_trying_all(inventory: Inventory, request: Request, spread: Spread = "distinct") -> Ranked:
    """The best set in the documented order, each of them looked at."""
    order = {served_id: number for number, served_id in enumerate(served(inventory))}
    place = {device.id: index for index, gpu in enumerate(inventory.gpus) for device in gpu.devices}
    rows = distances(inventory.gpus, inventory.links)
    available, must = set(request.available), set(request.must_include)
    groups = [
        [served_id for device in gpu.devices for served_id in device.served_ids] for gpu in inventory.gpus
    ]
    in_hive: dict[str, set[str]] = {}
    for gpu, group in zip(inventory.gpus, groups, strict=True):
        if gpu.xgmi_hive is not None and group:
            in_hive.setdefault(gpu.xgmi_hive, set()).update(group)

    held = {
        device.id: len(set(device.served_ids) - available) for gpu in inventory.gpus for device in gpu.devices
    }

    def judged(chosen: Sequence[str]) -> tuple[tuple[int, ...], list[int], Ranked]:
        devices = [device_of(served_id) for served_id in chosen]
        depth = sum(devices.count(device) * (devices.count(device) - 1) // 2 for device in set(devices))
        load = sum(held[device] for device in devices) * (1 if spread == "distinct" else -1)
        cost = total(rows, (place[device] for device in devices))
        left = available - set(chosen)
        whole = sum(bool(group) and left.issuperset(group) for group in groups)
        whole_hives = sum(left.issuperset(group) for group in in_hive.values())
        ranked = Ranked(tuple(chosen), cost, whole, whole_hives)
        return (depth, load, cost, -whole, -whole_hives), [order[each] for each in chosen], ranked

    rest = sorted(available - must, key=order.__getitem__)
    sets = (
        sorted({*must, *more}, key=order.__getitem__) for more in combinations(rest, request.size - len(must))
    )
    return min(map(judged, sets))[2]
