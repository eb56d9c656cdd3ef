"""Where things stand in the topology picture: clusters of GPUs in rings, rings in a grid. Pure geometry.

A cluster is an XGMI hive, or the GPUs that are in none. In a ring NUMA nodes follow each other, so that two
of them are its left and right half, four its quarters.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from itertools import count as count_up

from amdgpu_plugin.discovery.inventory import Gpu, address_order

BOX_WIDTH, BOX_HEIGHT = 114.0, 46.0
PARTS_HEIGHT = 16.0
"""Of one row of partitions, added to a box."""
PARTS_IN_ROW = 8
CHORD = BOX_WIDTH + 16
"""From middle to middle of two neighbours in a ring."""
PADDING = 14.0
HEAD = 24.0
"""Of a cluster, the room for its name."""
GAP = 12.0
"""Between boxes above each other, at least."""
ZONE_GAP = 6.0
QUARTERS = 4
STACKED = 2
"""Clusters up to so many stand above each other, more of them in a grid."""
BETWEEN = 56.0
"""Clusters are so far apart that the links between them can be told."""


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Its top left corner and its size."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> tuple[float, float]:
        """Its centre."""
        return self.x + self.width / 2, self.y + self.height / 2


@dataclass(frozen=True, slots=True)
class Zone:
    """A part of a cluster whose GPUs are all of one NUMA node."""

    numa_node: int
    area: Rectangle
    label_below: bool


@dataclass(frozen=True, slots=True)
class Cluster:
    """Its GPUs in the order of their ring; `hive` None where they are in none."""

    hive: str | None
    gpus: tuple[Gpu, ...]
    area: Rectangle
    zones: tuple[Zone, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """`boxes` by PCI address."""

    width: float
    height: float
    clusters: tuple[Cluster, ...]
    boxes: dict[str, Rectangle]


def arrange(gpus: Iterable[Gpu]) -> Layout:
    """Every GPU in its place; the same for the same GPUs."""
    hives = _hives(gpus)
    columns = 1 if len(hives) <= STACKED else math.ceil(math.sqrt(len(hives)))
    clusters: list[Cluster] = []
    boxes: dict[str, Rectangle] = {}
    top = width = 0.0
    for row in _rows(hives, columns):
        left = 0.0
        below = 0.0
        for hive, members in row:
            cluster, inside = _cluster(hive, members, left, top)
            clusters.append(cluster)
            boxes |= inside
            left += cluster.area.width + BETWEEN
            below = max(below, cluster.area.height)
        width = max(width, left - BETWEEN)
        top += below + BETWEEN
    return Layout(width, max(0.0, top - BETWEEN), tuple(clusters), boxes)


def _hives(gpus: Iterable[Gpu]) -> list[tuple[str | None, tuple[Gpu, ...]]]:
    """By the first address of each; those in no hive last."""
    hives: dict[str | None, list[Gpu]] = {}
    for gpu in sorted(gpus, key=lambda gpu: address_order(gpu.pci_address)):
        hives.setdefault(gpu.xgmi_hive, []).append(gpu)
    return [(hive, tuple(hives[hive])) for hive in sorted(hives, key=lambda hive: hive is None)]


def _rows(
    hives: Sequence[tuple[str | None, tuple[Gpu, ...]]], columns: int
) -> list[Sequence[tuple[str | None, tuple[Gpu, ...]]]]:
    return [hives[begin : begin + columns] for begin in range(0, len(hives), columns)]


def _cluster(
    hive: str | None, members: Sequence[Gpu], left: float, top: float
) -> tuple[Cluster, dict[str, Rectangle]]:
    columns = _columns(members)
    ring = (*columns[0], *reversed(columns[1]))
    places = _places(len(ring), max(map(_height, ring)))
    nodes = _zone_nodes(gpu for column in columns for gpu in column)
    wide = max(abs(x) for x, _ in places) + BOX_WIDTH / 2 + PADDING
    high = max(abs(y) + _height(gpu) / 2 for gpu, (_, y) in zip(ring, places, strict=True)) + PADDING
    above = HEAD * (1 + bool(nodes))
    below = HEAD * (len(nodes) == QUARTERS)
    x0, y0 = left + wide, top + above + high
    boxes = {
        gpu.pci_address: Rectangle(x0 + x - BOX_WIDTH / 2, y0 + y - _height(gpu) / 2, BOX_WIDTH, _height(gpu))
        for gpu, (x, y) in zip(ring, places, strict=True)
    }
    area = Rectangle(left, top, 2 * wide, 2 * high + above + below)
    return Cluster(hive, ring, area, tuple(_zones(nodes, area, y0))), boxes


def _height(gpu: Gpu) -> float:
    parts = len(gpu.devices) if len(gpu.devices) > 1 else 0
    return BOX_HEIGHT + PARTS_HEIGHT * math.ceil(parts / PARTS_IN_ROW)


def _columns(members: Sequence[Gpu]) -> tuple[list[Gpu], list[Gpu]]:
    """By NUMA node, then address: the left half of the ring and the right one, each from the top down."""
    ordered = sorted(
        members,
        key=lambda gpu: (gpu.numa_node is None, gpu.numa_node or 0, address_order(gpu.pci_address)),
    )
    half = (len(ordered) + 1) // 2
    return ordered[:half], ordered[half:]


def _places(count: int, height: float) -> list[tuple[float, float]]:
    """The middles of boxes around 0, counter-clockwise from the top."""
    if count == 1:
        return [(0.0, 0.0)]
    radius = CHORD / (2 * math.sin(math.pi / count)) if count > 2 else CHORD * 0.8  # noqa: PLR2004
    angles = [math.pi / 2 + (number + 0.5) * 2 * math.pi / count for number in range(count)]
    circle = [(radius * math.cos(angle), -radius * math.sin(angle)) for angle in angles]
    # Boxes are wider than high: the ring is as flat as they allow.
    return next(
        places
        for percent in count_up(80, 5)
        if _apart(places := [(x, y * percent / 100) for x, y in circle], height)
    )


def _apart(places: Sequence[tuple[float, float]], height: float) -> bool:
    return all(
        abs(ax - bx) >= CHORD - 1 or abs(ay - by) >= height + GAP
        for (ax, ay), (bx, by) in combinations(places, 2)
    )


def _zone_nodes(gpus: Iterable[Gpu]) -> tuple[int, ...]:
    """The NUMA nodes where they are the two halves or four quarters of a ring; else none."""
    groups = [(node, len(list(found))) for node, found in groupby(gpu.numa_node for gpu in gpus)]
    nodes = tuple(node for node, _ in groups if node is not None)
    even = len({size for _, size in groups}) == 1 and len(nodes) == len(groups)
    return nodes if even and len(nodes) in {2, QUARTERS} else ()


def _zones(nodes: Sequence[int], area: Rectangle, middle: float) -> Iterator[Zone]:
    """Left and right half; or upper left, lower left, upper right, lower right of `middle`."""
    rows = 2 if len(nodes) == QUARTERS else 1
    top, bottom = area.y + HEAD, area.y + area.height - ZONE_GAP
    wide = (area.width - 3 * ZONE_GAP) / 2
    for number, node in enumerate(nodes):
        column, row = divmod(number, rows)
        begin = top if row == 0 else middle + ZONE_GAP / 2
        end = bottom if row == rows - 1 else middle - ZONE_GAP / 2
        x = area.x + ZONE_GAP + column * (wide + ZONE_GAP)
        yield Zone(node, Rectangle(x, begin, wide, end - begin), label_below=row == 1)
