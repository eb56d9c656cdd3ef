"""How a node's links are drawn: sorts of links, each with a stroke, and trunks between clusters. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from amdgpu_plugin.discovery.inventory import Link
from amdgpu_plugin.exposition.picture.layout import Cluster
from amdgpu_plugin.exposition.words import link_key

Sort = tuple[str, int | None, int | None]
"""Kind, weight and bandwidth of links that are alike."""

THINNEST, STEP = 1.6, 1.5


@dataclass(frozen=True, slots=True)
class Stroke:
    """How a sort of links is drawn. `far`: there are nearer links of the same kind, so that it is fainter."""

    kind: str
    width: float
    far: bool


@dataclass(frozen=True, slots=True)
class Trunk:
    """All links between two clusters, where they are of one sort."""

    a: Cluster
    b: Cluster
    sort: Sort


@dataclass(frozen=True, slots=True)
class Drawn:
    """`lines` are links drawn one by one. `sorts` are all there are, nearest first, with their number."""

    strokes: Mapping[Sort, Stroke]
    sorts: Mapping[Sort, int]
    lines: tuple[Link, ...]
    trunks: tuple[Trunk, ...]


def strokes_of(links: Iterable[Link], clusters: Iterable[Cluster]) -> Drawn:
    """What to draw for the links of GPUs that have a place."""
    home = {gpu.pci_address: cluster for cluster in clusters for gpu in cluster.gpus}
    known = [link for link in links if link.a in home and link.b in home]
    sorts = Counter(map(link_key, known))
    ordered = {sort: sorts[sort] for sort in sorted(sorts, key=_nearness)}
    lines: list[Link] = []
    between: defaultdict[tuple[str, str], list[Link]] = defaultdict(list)
    for link in known:
        a, b = home[link.a], home[link.b]
        if a is not b:
            between[
                min(a.gpus[0].pci_address, b.gpus[0].pci_address),
                max(a.gpus[0].pci_address, b.gpus[0].pci_address),
            ].append(link)
        elif link.a != link.b:
            lines.append(link)
    trunks: list[Trunk] = []
    for found in between.values():
        if len(found) > 1 and len({link_key(link) for link in found}) == 1:
            trunks.append(Trunk(home[found[0].a], home[found[0].b], link_key(found[0])))
        else:
            lines += found
    return Drawn(dict(_strokes(ordered)), ordered, tuple(lines), tuple(trunks))


def _nearness(sort: Sort) -> tuple[str, float, float]:
    kind, weight, bandwidth = sort
    order = {"xgmi": "a", "pcie": "b", "internal": "c"}
    return order[kind], weight if weight is not None else float("inf"), -(bandwidth or 0)


def _strokes(sorts: Iterable[Sort]) -> Iterator[tuple[Sort, Stroke]]:
    """Of the nearest links of a kind, the more bandwidth, the wider."""
    by_kind: defaultdict[str, list[Sort]] = defaultdict(list)
    for sort in sorts:
        by_kind[sort[0]].append(sort)
    for kind, found in by_kind.items():
        nearest = found[0][1]
        near = [sort for sort in found if sort[1] == nearest]
        for number, sort in enumerate(near):
            yield sort, Stroke(kind, THINNEST + STEP * (len(near) - 1 - number), False)
        for sort in found[len(near) :]:
            yield sort, Stroke(kind, 1.0, True)
