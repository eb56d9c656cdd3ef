"""A node whose GPUs fall ill and get well, as one line each; time is the test's."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from amdgpu_plugin.exposition.kubernetes.standing import Subject
from amdgpu_plugin.exposition.kubernetes.story import Change, Story, Told
from amdgpu_plugin.health.evidence import Moment
from amdgpu_plugin.node import (
    Condition,
    Effect,
    GpuStatus,
    Held,
    Holder,
    Holders,
    ListedDevice,
    NodeState,
    Verdict,
)
from tests.exposition.states import A, B, node, partitioned, whole

UNIX = 1_790_000_000.0
"""UNIX time at 0 s."""
NOBODY: Holders = {}


def moment(seconds: float) -> Moment:
    return Moment(seconds, UNIX + seconds)


def ill(name: str, *, effect: Effect = "unhealthy", detail: str = "so hot", at: float = 0.0) -> Condition:
    return Condition(name, detail, "readings", UNIX + at, effect)


def held(listed: ListedDevice, *pods: str) -> Holders:
    """By pods of namespace team."""
    holders = tuple(Holder("team", pod, "main") for pod in pods)
    return {Held(listed.device.resource, listed.id): holders}


def state(
    conditions: Mapping[str, tuple[Condition, ...]],
    *,
    devices: tuple[ListedDevice, ...] = (whole(A), whole(B, minor=129)),
    holders: Holders | None = NOBODY,
) -> NodeState:
    """Two MI300X, or other devices; each has the verdict that its GPU's conditions give it."""
    statuses = {each.gpu.pci_address: _status(conditions.get(each.gpu.pci_address, ())) for each in devices}
    judged = tuple(
        replace(each, verdict=each.verdict or statuses[each.gpu.pci_address].verdict) for each in devices
    )
    return node(*judged, statuses=statuses, holders=holders)


def _status(conditions: tuple[Condition, ...]) -> GpuStatus:
    grave = next((each for each in conditions if each.effect == "unhealthy"), None)
    verdict = None if grave is None else Verdict(grave.name, grave.detail, grave.since)
    return GpuStatus(conditions, verdict)


def told(change: Change) -> str:
    """`0000:05:00.0 Overheated raised`, with `team/train` in front for a pod."""
    subject = change.subject
    pod = f"{subject.namespace}/{subject.pod} " if subject.pod else ""
    return f"{pod}{subject.gpu} {subject.condition} {change.kind}"


@dataclass(slots=True)
class Reader:
    """Follows a story."""

    story: Story = field(default_factory=lambda: Story({}, settled_at=0.0))

    def at(self, seconds: float, seen: NodeState) -> list[str]:
        return [told(change) for change in self.changes(seconds, seen)]

    def changes(self, seconds: float, seen: NodeState) -> tuple[Change, ...]:
        return self.story.follow(seen, moment(seconds))


__all__ = ["A", "B", "Subject", "Told", "partitioned", "whole"]
