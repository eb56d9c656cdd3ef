"""One scan, as a multiple of opening, reading and closing the very same files, warm."""

import os
import time
from statistics import median

from amdgpu_plugin.discovery import Scanner
from amdgpu_plugin.lanes import Lanes
from amdgpu_plugin.product_names import ProductNames
from amdgpu_plugin.sysfs import Blob, DirectorySysfs, Unreadable
from benchmarks.nodes import BenchNode, nodes
from benchmarks.report import Row, spread

RUNS = 15
GOAL = 3.0


class _Noting(DirectorySysfs):
    """Notes every file that is read."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.paths: list[str] = []

    def read_bytes(self, path: str) -> Blob | Unreadable:
        self.paths.append(path)
        return super().read_bytes(path)


async def measure() -> list[Row]:
    rows: list[Row] = []
    with nodes() as both:
        for node in both:
            rows += await _measure(node)
    return rows


async def _measure(node: BenchNode) -> list[Row]:
    names = ProductNames(amdgpu_ids=None, pci_ids=None)
    noting = _Noting(node.root)
    await Scanner(noting, Lanes(), names).scan(deadline=20)
    paths = [os.path.join(noting.root, path) for path in noting.paths]
    scanner = Scanner(DirectorySysfs(node.root), Lanes(), names)
    await scanner.scan(deadline=20)
    scans: list[float] = []
    raw: list[float] = []
    for _ in range(RUNS):
        raw.append(_read_all(paths))
        began = time.perf_counter()
        inventory = await scanner.scan(deadline=20)
        scans.append((time.perf_counter() - began) * 1000)
        assert sum(len(gpu.devices) for gpu in inventory.gpus) == node.devices
    ratio = median(scan / read for scan, read in zip(scans, raw, strict=True))
    return [
        Row(f"{node.name}: one scan, {len(paths)} files", spread(scans, "ms")),
        Row(f"{node.name}: os.open, os.read, os.close of these files", spread(raw, "ms")),
        Row(f"{node.name}: ratio, run by run", f"{ratio:.2f} ×", f"≤ {GOAL:g} ×", ratio <= GOAL),
    ]


def _read_all(paths: list[str]) -> float:
    began = time.perf_counter()
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        os.read(descriptor, 65536)
        os.close(descriptor)
    return (time.perf_counter() - began) * 1000
