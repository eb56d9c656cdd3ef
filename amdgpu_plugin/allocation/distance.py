"""How far two GPUs are from each other, as an integer. Pure.

The proportions are those of AMD's own plugin: a step to another NUMA node costs as much as the step from the
same GPU to an XGMI neighbour, and PCIe is three such steps behind XGMI. docs/allocation.md has the reasons.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, takewhile

from amdgpu_plugin.discovery.inventory import Gpu, Link

SAME_GPU = 0
XGMI = 100
ONE_SWITCH = 300
PCIE = 400
NO_LINK = 1000
OTHER_NUMA_NODE = 100
STEP = 10
"""Between two kinds of link of one class; nine of them do not reach the next class."""
_MOST_STEPS = 9

_Merit = tuple[bool, int, int, int]


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two GPUs and what joins them: the class's distance, and its place within the class, lowest first."""

    a: int
    b: int
    nearest: int
    numa: int
    merit: _Merit


def distances(gpus: Sequence[Gpu], links: Sequence[Link]) -> tuple[tuple[int, ...], ...]:
    """A square matrix in the order of `gpus`.

    Within a class the node's links are ranked by KFD's weight and bandwidth, and where it tells none by how
    many bridges both GPUs are below. A pair without a link is the farthest.
    """
    by_ends = {frozenset((link.a, link.b)): link for link in links}
    pairs = [
        _pair(a, b, gpus, by_ends.get(frozenset((gpus[a].pci_address, gpus[b].pci_address))))
        for a, b in combinations(range(len(gpus)), 2)
    ]
    rank = _ranks(pairs)
    matrix = [[SAME_GPU] * len(gpus) for _ in gpus]
    for pair in pairs:
        matrix[pair.a][pair.b] = matrix[pair.b][pair.a] = pair.nearest + pair.numa + STEP * rank(pair)
    return tuple(map(tuple, matrix))


def _pair(a: int, b: int, gpus: Sequence[Gpu], link: Link | None) -> _Pair:
    shared = _shared_bridges(gpus[a], gpus[b])
    # Two GPUs whose NUMA nodes are not known are taken for neighbours, as on a node that has only one.
    numa = 0 if gpus[a].numa_node == gpus[b].numa_node else OTHER_NUMA_NODE
    if link is None:
        return _Pair(a, b, NO_LINK, numa, (False, 0, 0, 0))
    nearest = XGMI if link.kind == "xgmi" else ONE_SWITCH if shared else PCIE
    return _Pair(a, b, nearest, numa, _merit(link, shared))


def _merit(link: Link, shared: int) -> _Merit:
    if link.weight is None:
        return (True, 0, -(link.bandwidth_mb_s or 0), -shared)
    return (False, link.weight, -(link.bandwidth_mb_s or 0), 0)


def _ranks(pairs: Sequence[_Pair]) -> Callable[[_Pair], int]:
    merits: dict[tuple[int, int], list[_Merit]] = {}
    for pair in pairs:
        merits.setdefault(_class(pair), []).append(pair.merit)
    ranks: Mapping[tuple[int, int], Mapping[_Merit, int]] = {
        key: {merit: min(rank, _MOST_STEPS) for rank, merit in enumerate(sorted(set(found)))}
        for key, found in merits.items()
    }
    return lambda pair: ranks[_class(pair)][pair.merit]


def _class(pair: _Pair) -> tuple[int, int]:
    # A PCIe weight is that of the way through the CPUs: the NUMA step is in it, and must not count twice.
    return (pair.nearest, 0 if pair.nearest == XGMI else pair.numa)


def _shared_bridges(a: Gpu, b: Gpu) -> int:
    """How many bridges both are below; more than one root port has no common one."""
    above = zip((a.bridges or "").split("/"), (b.bridges or "").split("/"), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1] != "", above))
