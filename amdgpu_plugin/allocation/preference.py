"""Which devices a request should get: what must be included, then the nearest by the link graph. Pure.

Greedy for now: from each GPU as a start, the nearest device is added until there are enough; the start with
the lowest total cost wins.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from amdgpu_plugin.discovery.inventory import Link
from amdgpu_plugin.node import ListedDevice

_KIND_COSTS = {"xgmi": 10, "pcie": 40}
_OTHER_NUMA_COST = 10
_NO_LINK_COST = 1000
# A weight orders links of one kind; added raw, 13 within a package and 41 across would drown the rest.
_WEIGHT_SHARE = 1 / 1000


@dataclass(frozen=True, slots=True)
class NoPreference:
    """Why a request gets an empty answer, which leaves the choice to the kubelet."""

    reason: str


def prefer(
    devices: Sequence[ListedDevice],
    links: Sequence[Link],
    *,
    available: Sequence[str],
    must_include: Sequence[str],
    size: int,
) -> tuple[str, ...] | NoPreference:
    """`size` IDs out of `available`, with all of `must_include`, sorted; never raises."""
    by_id = {listed.id: listed for listed in devices}
    candidates = sorted(set(available) & by_id.keys())
    start = sorted(set(must_include))
    if size <= 0:
        return NoPreference(f"a size of {size}")
    if size > len(candidates):
        return NoPreference(f"{size} asked for, {len(candidates)} known and available")
    if unknown := set(start) - set(candidates):
        return NoPreference(f"must-include devices that are not available: {', '.join(sorted(unknown))}")
    if len(start) > size:
        return NoPreference(f"{len(start)} devices must be included in {size}")
    cost = _costs(by_id, links)
    starts = [start] if start else [[first] for first in _one_per_gpu(candidates, by_id)]
    choices = (_grow(begin, candidates, size, cost) for begin in starts)
    return min(choices)[1]


def _one_per_gpu(candidates: Sequence[str], by_id: Mapping[str, ListedDevice]) -> list[str]:
    firsts: dict[str, str] = {}
    for candidate in candidates:
        firsts.setdefault(by_id[candidate].gpu.pci_address, candidate)
    return list(firsts.values())


def _grow(
    start: Sequence[str], candidates: Sequence[str], size: int, cost: Callable[[str, str], float]
) -> tuple[float, tuple[str, ...]]:
    chosen: list[str] = []
    total = 0.0
    distance = dict.fromkeys(candidates, 0.0)
    while len(chosen) < size:
        if len(chosen) < len(start):
            nearest = start[len(chosen)]
        else:
            nearest = min(distance, key=lambda candidate: (distance[candidate], candidate))
        total += distance.pop(nearest)
        chosen.append(nearest)
        for candidate in distance:
            distance[candidate] += cost(nearest, candidate)
    return total, tuple(sorted(chosen))


def _costs(by_id: Mapping[str, ListedDevice], links: Sequence[Link]) -> Callable[[str, str], float]:
    by_pair = {frozenset((link.a, link.b)): link for link in links}
    gpus = {listed.gpu.pci_address: listed.gpu for listed in by_id.values()}
    of_gpus: dict[tuple[str, str], float] = {}
    for a, gpu_a in gpus.items():
        for b, gpu_b in gpus.items():
            link = by_pair.get(frozenset((a, b)))
            numa = _OTHER_NUMA_COST if gpu_a.numa_node != gpu_b.numa_node else 0
            of_gpus[a, b] = 0 if a == b else numa + _link_cost(link)
    address = {device_id: listed.gpu.pci_address for device_id, listed in by_id.items()}
    return lambda a, b: of_gpus[address[a], address[b]]


def _link_cost(link: Link | None) -> float:
    if link is None:
        return _NO_LINK_COST
    return _KIND_COSTS.get(link.kind, 0) + (link.weight or 0) * _WEIGHT_SHARE
