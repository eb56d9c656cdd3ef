"""NodeState: everything this process knows of its node, in one immutable value, and its broadcast.

Written by the health monitor alone; every face (kubelet, and later metrics and pages) reads it.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from amdgpu_plugin.discovery.inventory import ComputeDevice, Gpu, Inventory
from amdgpu_plugin.telemetry.readings import Readings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a device is not healthy. `since` is a UNIX time in seconds."""

    condition: str
    detail: str
    since: float

    def __str__(self) -> str:
        """`DriverUnbound: no driver is bound`."""
        return f"{self.condition}: {self.detail}"


Effect = Literal["unhealthy", "inform", "ignore"]


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is the matter with a GPU now.

    `since` is a UNIX time in seconds. `source` says who found it: uevent, presence, readings, lane, control.
    `effect` is what it does in the end: a guard or observe mode turns unhealthy into inform. `held` is True
    when its cause is gone and it only waits for the recovery hold to end.
    """

    name: str
    detail: str
    source: str
    since: float
    effect: Effect
    held: bool = False


@dataclass(frozen=True, slots=True)
class GpuStatus:
    """The health of one GPU as everybody sees it.

    `conditions` are those in force, those with effect `ignore` left out. `would_be` is the verdict that
    observe mode keeps from the kubelet, None where there is none or nothing is kept back. `resets`, `flaps`
    and `core_dumps` count since this process started.
    """

    conditions: tuple[Condition, ...] = ()
    verdict: Verdict | None = None
    would_be: Verdict | None = None
    resets: int = 0
    flaps: int = 0
    core_dumps: int = 0


class Held(NamedTuple):
    """A device as the kubelet charges it to containers."""

    resource: str
    device_id: str


@dataclass(frozen=True, slots=True, order=True)
class Holder:
    """A container that holds a device."""

    namespace: str
    pod: str
    container: str

    def __str__(self) -> str:
        """`namespace/pod`, which is what people look for."""
        return f"{self.namespace}/{self.pod}"


Holders = Mapping[Held, tuple[Holder, ...]]
"""Who holds which devices on this node, of any plugin."""


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """A device as the kubelet is told of it. Once listed, it stays: gone or ill it turns unhealthy.

    `device` and `gpu` are as last seen. `named_anew` is the device as it should be served by now, under
    another resource; None while its name is right.
    """

    device: ComputeDevice
    gpu: Gpu
    verdict: Verdict | None = None
    named_anew: ComputeDevice | None = None

    @property
    def id(self) -> str:
        """The device ID."""
        return self.device.id

    @property
    def healthy(self) -> bool:
        """What the kubelet is told."""
        return self.verdict is None


@dataclass(frozen=True, slots=True)
class NodeState:
    """The node at one moment. `revision` counts changes of what the kubelet sees.

    `holders` is None while it is not known who holds what. `statuses` and `readings` are by PCI address.
    `guard_active`: trouble that all GPUs seem to share informs only. `policy` is the effective policy, made
    for JSON. `heard_at` is when the kernel event was received that led to this state, in seconds of the
    monotonic clock; None where none did.
    """

    inventory: Inventory
    devices: tuple[ListedDevice, ...]
    revision: int = 0
    holders: Holders | None = None
    statuses: Mapping[str, GpuStatus] = field(default_factory=dict)
    readings: Mapping[str, Readings] = field(default_factory=dict)
    guard_active: bool = False
    policy: Mapping[str, Any] = field(default_factory=dict)
    heard_at: float | None = field(default=None, compare=False)

    @property
    def resources(self) -> tuple[str, ...]:
        """The resources that have devices, sorted."""
        return tuple(sorted({listed.device.resource for listed in self.devices}))

    def devices_of(self, resource: str) -> tuple[ListedDevice, ...]:
        """The devices served under a resource, healthy or not."""
        return tuple(listed for listed in self.devices if listed.device.resource == resource)

    def followed_by(self, **changes: Any) -> "NodeState":
        """The next state; the revision moves only if the kubelet would see a difference."""
        following = replace(self, **changes)
        changed = following.devices != self.devices and (
            _seen_by_kubelet(following.devices) != _seen_by_kubelet(self.devices)
        )
        return replace(following, revision=self.revision + changed)


def _seen_by_kubelet(devices: tuple[ListedDevice, ...]) -> tuple[tuple[object, ...], ...]:
    return tuple(
        (listed.id, listed.device.resource, listed.device.replicas, listed.healthy, listed.gpu.numa_node)
        for listed in devices
    )


class Latest(Generic[T]):
    """One value that many follow. Who is slow skips to the newest; nobody holds up the writer."""

    def __init__(self, value: T) -> None:
        """The first value counts as a change to whoever starts following."""
        self._value = value
        self._changed = asyncio.Event()

    @property
    def value(self) -> T:
        """The newest value."""
        return self._value

    def set(self, value: T) -> None:
        """Replace the value and wake all who follow; an equal value wakes nobody."""
        if value == self._value:
            return
        self._value = value
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def follow(self) -> AsyncIterator[T]:
        """The value now, then the newest after each change, for ever."""
        while True:
            changed, value = self._changed, self._value
            yield value
            if value is self._value:
                await changed.wait()

    async def until_other_than(self, seen: T) -> T:
        """The newest value, once it differs from the one seen."""
        while self._value == seen:
            await self._changed.wait()
        return self._value


async def any_change(*values: Latest[Any]) -> None:
    """Until one of them is another than now."""
    waits = [asyncio.create_task(value.until_other_than(value.value)) for value in values]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
