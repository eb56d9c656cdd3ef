"""Findings about devices: what the kubelet is told of them, and what it is not. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from amdgpu_plugin.doctor.finding import Finding, found, found_if
from amdgpu_plugin.doctor.looked import Looked
from amdgpu_plugin.health.conditions import CONDITIONS, FACTS
from amdgpu_plugin.node import Condition, ListedDevice, NodeState, Verdict

_Seen = tuple[str, str]
"""A condition's name, and a line about one GPU that has it."""


def about_health(looked: Looked) -> Iterator[Finding]:
    """Grouped by condition, since what to do depends on that."""
    state = looked.node
    told = [(one, one.verdict) for one in state.devices if one.verdict is not None]
    yield from _by_condition("unhealthy", _ill(told))
    waiting = (f"{one.id}: {verdict}" for one, verdict in told if verdict.condition in FACTS)
    yield from found_if("ids-waiting", tuple(waiting))
    yield from _by_condition("informs", _informing(state))
    yield from _by_condition("observed-only", _observed(state))
    if state.guard_active:
        yield found("guard-active", "health.guard_active is true")


def _ill(told: Iterable[tuple[ListedDevice, Verdict]]) -> Iterator[_Seen]:
    """A line for each GPU: its partitions share its verdict."""
    by_gpu: dict[tuple[str, Verdict], int] = defaultdict(int)
    for one, verdict in told:
        if verdict.condition not in FACTS:
            by_gpu[one.gpu.pci_address, verdict] += 1
    for (address, verdict), devices in by_gpu.items():
        yield verdict.condition, _line(address, verdict) + (f", {devices} devices" if devices > 1 else "")


def _informing(state: NodeState) -> Iterator[_Seen]:
    for address, status in state.statuses.items():
        kept_back = None if status.would_be is None else status.would_be.condition
        for condition in status.conditions:
            if condition.effect == "inform" and condition.name != kept_back:
                yield condition.name, _line(address, condition)


def _observed(state: NodeState) -> Iterator[_Seen]:
    for address, status in state.statuses.items():
        if status.would_be is not None:
            yield status.would_be.condition, _line(address, status.would_be)


def _by_condition(name: str, seen: Iterable[_Seen]) -> Iterator[Finding]:
    grouped: dict[str, list[str]] = defaultdict(list)
    for condition, line in seen:
        grouped[condition].append(f"{condition}: {line}")
    for condition, lines in grouped.items():
        kind = CONDITIONS.get(condition)
        yield found(name, *lines, advice="" if kind is None else kind.advice)


def _line(address: str, what: Verdict | Condition) -> str:
    since = datetime.fromtimestamp(what.since, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return f"{address}: {what.detail}, since {since}"
