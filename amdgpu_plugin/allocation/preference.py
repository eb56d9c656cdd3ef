"""Which devices a request should get: a request in, IDs or the reason for none out. Pure.

Distinct devices before replicas, and those by how shared they are (`shares`); then the nearest to each other,
then what leaves most GPUs and hives whole, then the lowest (`search`). What must be included is.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from amdgpu_plugin.allocation.layout import Layout
from amdgpu_plugin.allocation.search import Demand, search
from amdgpu_plugin.allocation.shares import Shares, Spread, Supply, shares
from amdgpu_plugin.allocation.values import Score
from amdgpu_plugin.node import ListedDevice

BUDGET = 20_000_000
"""In elementary steps: about two seconds. MI300X in CPX mode takes a thousandth of that."""
BRIEF_BUDGET = 20_000
"""About 3 ms."""
_STEPS_AN_ID = 10


@dataclass(frozen=True, slots=True)
class NoPreference:
    """Why a request gets an empty answer, which leaves the choice to the kubelet."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ranked:
    """A set of IDs and what it is judged by: total distance, GPUs and hives it leaves whole."""

    devices: tuple[str, ...]
    cost: int
    gpus_left_whole: int
    hives_left_whole: int


@dataclass(frozen=True, slots=True)
class Choice:
    """The best set. `exact` is False where a better one was not ruled out.

    `runner_up` is the best of those that are worse by more than their IDs; None where none is, or none was
    asked for.
    """

    best: Ranked
    runner_up: Ranked | None
    exact: bool


@dataclass(frozen=True, slots=True)
class Request:
    """What the kubelet asks: `size` in all, out of `available`, which has all of `must_include`."""

    available: Sequence[str]
    must_include: Sequence[str]
    size: int


@dataclass(frozen=True, slots=True)
class _Supplies:
    """Free replicas of each device that has some, lowest first, and those that must be taken."""

    devices: tuple[str, ...]
    free: Mapping[str, Sequence[str]]
    must: Mapping[str, Sequence[str]]


def prefer(
    layout: Layout,
    listed: Sequence[ListedDevice],
    request: Request,
    *,
    spread: Spread = "distinct",
    runner_up: bool = False,
) -> Choice | NoPreference:
    """The best `request.size` IDs of the healthy devices `listed`, lowest first; never raises."""
    choice = _choice(layout, listed, request, spread, budget=BUDGET, runner_up=runner_up)
    return NoPreference("more devices than can be weighed") if choice is None else choice


def prefer_at_once(
    layout: Layout,
    listed: Sequence[ListedDevice],
    request: Request,
    *,
    spread: Spread = "distinct",
    runner_up: bool = False,
) -> Choice | NoPreference | None:
    """What `prefer` answers; None where it would take longer than about 5 ms to know."""
    ids = max(len(request.available), sum(each.device.replicas for each in listed))
    if ids * _STEPS_AN_ID > BRIEF_BUDGET:
        return None
    choice = _choice(layout, listed, request, spread, budget=BRIEF_BUDGET, runner_up=runner_up)
    return None if isinstance(choice, Choice) and not choice.exact else choice


def _choice(
    layout: Layout,
    listed: Sequence[ListedDevice],
    request: Request,
    spread: Spread,
    *,
    budget: int,
    runner_up: bool,
) -> Choice | NoPreference | None:
    supplies = _supplies(layout, listed, request)
    if isinstance(supplies, NoPreference):
        return supplies
    depth = shares(_depths(listed, supplies), request.size, spread)
    demand = _demand(layout, supplies, depth, request.size)
    found = search(layout.graph, demand, budget=budget, runner_up=runner_up)
    if found is None:
        return None
    other = found.runner_up
    return Choice(
        _ranked(layout, supplies, depth, found.best),
        None if other is None else _ranked(layout, supplies, depth, other),
        found.exact,
    )


def _supplies(layout: Layout, listed: Sequence[ListedDevice], request: Request) -> _Supplies | NoPreference:
    available, must_include = set(request.available), set(request.must_include)
    free: dict[str, list[str]] = {}
    must: defaultdict[str, list[str]] = defaultdict(list)
    for each in listed:
        # What Allocate would refuse is preferred to nothing.
        if each.healthy and each.id in layout.gpu_of:
            found = [served for served in each.device.served_ids if served in available]
            if found:
                free[each.id] = found
                must[each.id] = [served for served in found if served in must_include]
    count = sum(map(len, free.values()))
    reason = _impossible(request.size, count, must_include, set().union(*must.values()))
    devices = tuple(sorted(free, key=layout.order.__getitem__))
    return NoPreference(reason) if reason else _Supplies(devices, free, must)


def _impossible(size: int, count: int, wanted: set[str], had: set[str]) -> str | None:
    if size <= 0:
        return f"a size of {size}"
    if size > count:
        return f"{size} asked for, {count} known, healthy and available"
    if missing := wanted - had:
        return f"must-include devices that are not available: {', '.join(sorted(missing))}"
    if len(wanted) > size:
        return f"{len(wanted)} devices must be included in {size}"
    return None


def _depths(listed: Sequence[ListedDevice], supplies: _Supplies) -> list[Supply]:
    replicas = {each.id: each.device.replicas for each in listed}
    return [
        Supply(
            len(supplies.free[device]),
            len(supplies.must[device]),
            replicas[device] - len(supplies.free[device]),
        )
        for device in supplies.devices
    ]


def _demand(layout: Layout, supplies: _Supplies, depth: Shares, size: int) -> Demand:
    least = [0] * len(layout.gpus)
    spare = [0] * len(layout.gpus)
    for index, device in enumerate(supplies.devices):
        least[layout.gpu_of[device]] += depth.taken[index]
        spare[layout.gpu_of[device]] += index in depth.open
    unbroken = [
        all(len(supplies.free.get(device.id, ())) == device.replicas for device in devices)
        for devices in layout.devices
    ]
    hives = [False] * layout.graph.hive_count
    for hive, devices in zip(layout.graph.hives, layout.devices, strict=True):
        if hive is not None and devices:
            hives[hive] = True
    for hive, whole in zip(layout.graph.hives, unbroken, strict=True):
        if hive is not None and not whole:
            hives[hive] = False
    return Demand(
        size=size,
        least=tuple(least),
        most=tuple(map(sum, zip(least, spare, strict=True))),
        whole_gpus=tuple(
            whole and bool(devices) for whole, devices in zip(unbroken, layout.devices, strict=True)
        ),
        whole_hives=tuple(hives),
    )


def _ranked(layout: Layout, supplies: _Supplies, depth: Shares, score: Score) -> Ranked:
    left = list(score.counts)
    for index, device in enumerate(supplies.devices):
        left[layout.gpu_of[device]] -= depth.taken[index]
    chosen: list[str] = []
    for index, device in enumerate(supplies.devices):
        gpu = layout.gpu_of[device]
        one_more = index in depth.open and left[gpu] > 0
        left[gpu] -= one_more
        chosen += _replicas(supplies.free[device], supplies.must[device], depth.taken[index] + one_more)
    return Ranked(tuple(chosen), score.cost, score.gpus_left_whole, score.hives_left_whole)


def _replicas(free: Sequence[str], must: Sequence[str], count: int) -> list[str]:
    others = [served for served in free if served not in must]
    chosen = {*must, *others[: count - len(must)]}
    return [served for served in free if served in chosen]
