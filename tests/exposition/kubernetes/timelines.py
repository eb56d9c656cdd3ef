"""A node whose GPUs fall ill and get well, as one line each; time is the test's."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from amdgpu_plugin.exposition.kubernetes.story import Change, Story
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
from tests.exposition.states import A, B, node, whole
from tests.kubelet.worlds import GUARD_SECONDS

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


async def soon(holds: Callable[[], object]) -> None:
    """Once it is so; tasks and sockets go on meanwhile."""
    async with asyncio.timeout(GUARD_SECONDS):
        while not holds():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.001)


@dataclass(slots=True)
class Time:
    """A clock that stands until the test moves it; who sleeps wakes then."""

    now: float = 0.0
    _sleepers: list[tuple[float, asyncio.Future[None]]] = field(default_factory=list)

    def moment(self) -> Moment:
        return moment(self.now)

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, future))
        await future

    @property
    def pauses(self) -> list[float]:
        """In how many seconds each sleeper wakes."""
        return sorted(wakes - self.now for wakes, future in self._sleepers if not future.done())

    async def asleep(self, count: int) -> None:
        """Once so many sleep."""
        await soon(lambda: len(self.pauses) >= count)

    def go_on(self, seconds: float) -> None:
        self.now += seconds
        for wakes, future in self._sleepers:
            if wakes <= self.now and not future.done():
                future.set_result(None)
        self._sleepers = [each for each in self._sleepers if not each[1].done()]
