"""Findings about devices: what the kubelet is told, and what it is not told. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from amdgpu_plugin.doctor.finding import Finding, found, found_if
from amdgpu_plugin.doctor.looked import Looked
from amdgpu_plugin.health.conditions import CONDITIONS, FACTS
from amdgpu_plugin.node import ListedDevice

_Told = tuple[str, str]
"""A condition's name, and what is to be said of one GPU that has it."""


def about_health(looked: Looked) -> Iterator[Finding]:
    """A finding for each condition; partitions share their GPU's."""
    state = looked.node
    verdicts = [(one, one.verdict) for one in state.devices if one.verdict is not None]
    ill = [(one, verdict) for one, verdict in verdicts if verdict.condition not in FACTS]
    yield from _by_condition(
        "unhealthy",
        ((verdict.condition, _line(one, verdict.detail, verdict.since)) for one, verdict in ill),
    )
    waiting = (f"{one.id}: {verdict}" for one, verdict in verdicts if verdict.condition in FACTS)
    yield from found_if("ids-waiting", tuple(waiting))
    yield from _by_condition(
        "informs",
        (
            (condition.name, f"{address}: {condition.detail}, since {_time(condition.since)}")
            for address, status in state.statuses.items()
            for condition in status.conditions
            if condition.effect == "inform" and (status.would_be is None or not _is(condition.name, status.would_be))
        ),
    )
    yield from _by_condition(
        "observed-only",
        (
            (status.would_be.condition, f"{address}: {status.would_be.detail}, since {_time(status.would_be.since)}")
            for address, status in state.statuses.items()
            if status.would_be is not None
        ),
    )
    if state.guard_active:
        yield found("guard-active", "health.guard_active is true")
