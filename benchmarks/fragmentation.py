"""`python -m benchmarks.fragmentation`: what the tie-breaks are worth, by simulation.

Pods of 1, 2, 4 and 8 devices come at random and stay for a random time; one that finds no room goes away. How
many come is the load: at 1.0 they ask for as many devices as the node has. The same pods come to a node that
takes the lowest IDs (first-fit), to one that takes the nearest devices and of those the lowest IDs, and to
one that also leaves GPUs and hives whole. Asked each time a pod comes: is there a whole hive, or a whole GPU?

Writes docs/fragmentation.svg and benchmarks/fragmentation.md. Nothing is measured: it is the same everywhere.
"""

import heapq
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random

from amdgpu_plugin.allocation.graph import Graph, graph_of
from amdgpu_plugin.allocation.search import Demand, search
from benchmarks.fragmentation_plot import Panel, picture

PODS = 10_000
SIZES = (1, 2, 4, 8)
LOADS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2)
WARM_UP = 200
DOCS = Path(__file__).parents[1] / "docs"
REPORT = Path(__file__).with_name("fragmentation.md")

Counts = tuple[int, ...]
Policy = Callable[[Counts, int], Counts]


@dataclass(frozen=True, slots=True)
class Node:
    """`devices` of each GPU; `unit` is what is looked for whole: `of_unit` gives it by GPU."""

    name: str
    unit: str
    graph: Graph
    devices: int
    of_unit: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pod:
    at: float
    stays: float
    size: int


def nodes() -> tuple[Node, ...]:
    # An XGMI neighbour is 100 away, on the other NUMA node 200, across PCIe 500 (docs/allocation.md).
    mesh = [[0 if a == b else 100 if a // 4 == b // 4 else 200 for b in range(8)] for a in range(8)]
    bridges = [[0 if a == b else 100 if a // 4 == b // 4 else 500 for b in range(8)] for a in range(8)]
    one_hive, two_hives = ["0"] * 8, [str(index // 4) for index in range(8)]
    return (
        Node("MI300X CPX, 64 devices", "GPU", graph_of(mesh, one_hive), 8, tuple(range(8))),
        Node("MI210, 8 devices", "hive", graph_of(bridges, two_hives), 1, tuple(i // 4 for i in range(8))),
        Node("MI300X SPX, 8 devices", "hive", graph_of(mesh, one_hive), 1, (0,) * 8),
    )


def policies(node: Node) -> dict[str, Policy]:
    def first_fit(free: Counts, size: int) -> Counts:
        taken = []
        for count in free:
            taken.append(min(count, size))
            size -= taken[-1]
        return tuple(taken)

    @lru_cache(maxsize=200_000)
    def nearest(free: Counts, size: int, *, whole: bool = False) -> Counts:
        unbroken = tuple(whole and count == node.devices for count in free)
        hives = tuple(
            whole and all(c == node.devices for c, h in zip(free, node.graph.hives, strict=True) if h == hive)
            for hive in range(node.graph.hive_count)
        )
        demand = Demand(size, (0,) * len(free), free, unbroken, hives)
        found = search(node.graph, demand, budget=sys.maxsize)
        assert found is not None
        return found.best.counts

    return {
        "first-fit": first_fit,
        "nearest": nearest,
        "nearest, leaving whole": lambda free, size: nearest(free, size, whole=True),
    }


def pods(node: Node, load: float, seed: int) -> Iterator[Pod]:
    random = Random(seed)
    mean_size = sum(SIZES) / len(SIZES)
    capacity = node.devices * node.graph.gpu_count
    now = 0.0
    for _ in range(PODS):
        now += random.expovariate(load * capacity / mean_size)
        yield Pod(now, random.expovariate(1.0), random.choice(SIZES))


def found_whole(node: Node, policy: Policy, arriving: Sequence[Pod]) -> float:
    """The share of pods, in percent, at whose coming a whole unit was free."""
    free = (node.devices,) * node.graph.gpu_count
    leaving: list[tuple[float, int, Counts]] = []
    found = 0
    for number, pod in enumerate(arriving):
        while leaving and leaving[0][0] <= pod.at:
            free = tuple(map(sum, zip(free, heapq.heappop(leaving)[2], strict=True)))
        found += number >= WARM_UP and _has_whole(node, free)
        if pod.size <= sum(free):
            taken = policy(free, pod.size)
            free = tuple(have - took for have, took in zip(free, taken, strict=True))
            heapq.heappush(leaving, (pod.at + pod.stays, number, taken))
    return 100 * found / (len(arriving) - WARM_UP)


def _has_whole(node: Node, free: Counts) -> bool:
    broken = {unit for unit, count in zip(node.of_unit, free, strict=True) if count < node.devices}
    return len(broken) < len(set(node.of_unit))


def study() -> list[Panel]:
    panels = []
    for node in nodes():
        curves: dict[str, list[float]] = {}
        for load in LOADS:
            arriving = list(pods(node, load, seed=round(load * 10)))
            for name, policy in policies(node).items():
                curves.setdefault(name, []).append(found_whole(node, policy, arriving))
        panels.append(Panel(f"{node.name}: a whole {node.unit}", LOADS, curves))
    return panels


def table(panel: Panel) -> str:
    names = list(panel.curves)
    lines = [f"## {panel.title}", "", f"| load | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for index, load in enumerate(panel.loads):
        figures = " | ".join(f"{panel.curves[name][index]:.1f} %" for name in names)
        lines.append(f"| {load:.1f} | {figures} |")
    return "\n".join(lines)


def main() -> int:
    panels = study()
    head = (
        f"# Fragmentation\n\nBy `python -m benchmarks.fragmentation`: how many of {PODS:,} pods of "
        f"{', '.join(map(str, SIZES))} devices found a whole hive or GPU when they came. The same pods, by "
        "three ways to choose. Simulated, so the same on every machine; one random sequence for each load.\n"
    )
    REPORT.write_text("\n\n".join([head.rstrip(), *map(table, panels)]) + "\n")
    (DOCS / "fragmentation.svg").write_text(picture(panels))
    print(REPORT.read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
