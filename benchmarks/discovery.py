"""One scan, as a multiple of opening, reading and closing the very same files, warm."""

import contextlib
import os
import time
from collections.abc import Callable
from statistics import median

from amdgpu_plugin.discovery import Scanner
from amdgpu_plugin.lanes import Lanes
from amdgpu_plugin.product_names import ProductNames
from amdgpu_plugin.sysfs import Blob, DirectorySysfs, Names, Text, Unreadable
from benchmarks.nodes import BenchNode, nodes
from benchmarks.report import Row, spread

RUNS = 15
GOAL = 3.0


class _Noting(DirectorySysfs):
    """Notes every file, link and folder that is read."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.files: list[str] = []
        self.others: list[tuple[Callable[[str], object], str]] = []

    def read_bytes(self, path: str) -> Blob | Unreadable:
        self.files.append(os.path.join(self.root, path))
        return super().read_bytes(path)

    def link(self, path: str) -> Text | Unreadable:
        self.others.append((os.readlink, os.path.join(self.root, path)))
        return super().link(path)

    def list(self, path: str) -> Names | Unreadable:
        self.others.append((os.listdir, os.path.join(self.root, path)))
        return super().list(path)


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
    scanner = Scanner(DirectorySysfs(node.root), Lanes(), names)
    await scanner.scan(deadline=20)
    scans: list[float] = []
    files: list[float] = []
    everything: list[float] = []
    for _ in range(RUNS):
        files.append(_read_all(noting.files))
        everything.append(files[-1] + _look_all(noting.others))
        began = time.perf_counter()
        inventory = await scanner.scan(deadline=20)
        scans.append((time.perf_counter() - began) * 1000)
        assert sum(len(gpu.devices) for gpu in inventory.gpus) == node.devices
    ratio, whole = _ratio(scans, files), _ratio(scans, everything)
    return [
        Row(f"{node.name}: one scan", spread(scans, "ms")),
        Row(f"{node.name}: os.open, os.read, os.close of its {len(noting.files)} files", spread(files, "ms")),
        Row(f"{node.name}: scan to files, run by run", f"{ratio:.2f} ×", f"≤ {GOAL:g} ×", ratio <= GOAL),
        Row(f"{node.name}: the same with its {len(noting.others)} links and folders", f"{whole:.2f} ×"),
    ]


def _ratio(scans: list[float], raw: list[float]) -> float:
    return median(scan / read for scan, read in zip(scans, raw, strict=True))


def _look_all(others: list[tuple[Callable[[str], object], str]]) -> float:
    began = time.perf_counter()
    for look, path in others:
        with contextlib.suppress(OSError):
            look(path)
    return (time.perf_counter() - began) * 1000


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
