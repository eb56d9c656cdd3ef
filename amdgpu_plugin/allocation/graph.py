"""What of a node's distances can be known before any request: which GPUs are alike. Pure.

GPUs that are equally far from all others are joined, again and again, as in a tree: partitions of a hive,
hives of a node. A request then needs no search among them. What is left over (`tops`) is joined by nothing
so regular: the dies of MI250X, for example.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Join:
    """Two modules become one. Every GPU of the one is `distance` from every GPU of the other."""

    left: int
    right: int
    distance: int


@dataclass(frozen=True, slots=True)
class Graph:
    """Modules are numbered: first the GPUs, then what each of `joins` makes.

    `hives` gives each GPU's hive as a number, `completes` the hive a module is all of, None where it is not.
    `between` are the distances of `tops`. A hive not completed by any module is in several of the tops, each
    of which then holds nothing else.
    """

    hives: tuple[int | None, ...]
    joins: tuple[Join, ...]
    completes: tuple[int | None, ...]
    tops: tuple[int, ...]
    top_hives: tuple[int | None, ...]
    between: tuple[tuple[int, ...], ...]

    @property
    def gpu_count(self) -> int:
        """How many GPUs there are."""
        return len(self.hives)

    @property
    def hive_count(self) -> int:
        """How many hives there are."""
        return len({hive for hive in self.hives if hive is not None})


@dataclass(slots=True)
class _Module:
    """`hive` is the one it has a part of; None where it has none, or all of it."""

    number: int
    hive: int | None
    gpus: int = 1


@dataclass(slots=True)
class _Builder:
    sizes: Counter[int]
    joins: list[Join] = field(default_factory=list)
    completes: list[int | None] = field(default_factory=list)

    def added(self, hive: int | None, gpus: int) -> _Module:
        complete = hive is not None and gpus == self.sizes[hive]
        self.completes.append(hive if complete else None)
        return _Module(len(self.completes) - 1, None if complete else hive, gpus)

    def joined(self, modules: Sequence[_Module], distance: int) -> _Module:
        whole = modules[0]
        for other in modules[1:]:
            self.joins.append(Join(whole.number, other.number, distance))
            whole = self.added(whole.hive, whole.gpus + other.gpus)
        return whole


def graph_of(rows: Sequence[Sequence[int]], hives: Sequence[str | None]) -> Graph:
    """The graph of GPUs at these distances, in these hives."""
    names = {hive: number for number, hive in enumerate(sorted({hive for hive in hives if hive is not None}))}
    numbers = tuple(None if hive is None else names[hive] for hive in hives)
    builder = _Builder(Counter(number for number in numbers if number is not None))
    modules = [builder.added(hive, 1) for hive in numbers]
    matrix = [list(row) for row in rows]
    while alike := _alike(modules, matrix):
        distance, groups = alike
        for group in groups:
            modules[group[0]] = builder.joined([modules[index] for index in group], distance)
        gone = {index for group in groups for index in group[1:]}
        kept = [index for index in range(len(modules)) if index not in gone]
        modules = [modules[index] for index in kept]
        matrix = [[matrix[a][b] for b in kept] for a in kept]
    return Graph(
        hives=numbers,
        joins=tuple(builder.joins),
        completes=tuple(builder.completes),
        tops=tuple(module.number for module in modules),
        top_hives=tuple(module.hive for module in modules),
        between=tuple(map(tuple, matrix)),
    )


def _alike(modules: Sequence[_Module], matrix: Sequence[Sequence[int]]) -> tuple[int, list[list[int]]] | None:
    """Groups of modules, each equally far from all outside it, at the least distance that has any."""
    found = sorted({matrix[a][b] for a in range(len(modules)) for b in range(a)})
    for distance in found:
        by_row: defaultdict[object, list[int]] = defaultdict(list)
        for index, module in enumerate(modules):
            # With the distance in its own place, the row of each of two that are alike is the other's.
            row = (*matrix[index][:index], distance, *matrix[index][index + 1 :])
            by_row[row, module.hive].append(index)
        if groups := [group for group in by_row.values() if len(group) > 1]:
            return distance, groups
    return None
