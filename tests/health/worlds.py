"""What the tests of the monitor are set in: a simulated node, and a monitor of it whose clocks are the test's."""

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from amdgpu_plugin.discovery import Scanner
from amdgpu_plugin.discovery.inventory import Driver, Inventory
from amdgpu_plugin.discovery.naming import Naming
from amdgpu_plugin.health import monitor as monitor_module
from amdgpu_plugin.health import policy
from amdgpu_plugin.health import survey as survey_module
from amdgpu_plugin.health import watch as watch_module
from amdgpu_plugin.health.monitor import Clocks, Monitor, Remembered, Spans
from amdgpu_plugin.health.policy import rules_of
from amdgpu_plugin.health.policy.rules import Mode
from amdgpu_plugin.health.survey import Survey
from amdgpu_plugin.health.uevents import Listener, SocketUevents
from amdgpu_plugin.lanes import Lanes
from amdgpu_plugin.node import Condition, GpuStatus, Holders, Latest, ListedDevice, NodeState, Verdict
from amdgpu_plugin.product_names import ProductNames
from amdgpu_plugin.simulation.node import SimulatedNode
from amdgpu_plugin.simulation.uevent_socket import uevent_pair
from amdgpu_plugin.sysfs import Blob, DirectorySysfs, Names, Sysfs, Text, Unreadable, decoded
from amdgpu_plugin.sysfs import Path as SysfsPath
from tests.kubelet.worlds import GUARD_SECONDS, running, until

GPU = "amd.com/gpu"
A, B, C = "0000:05:00.0", "0000:27:00.0", "0000:47:00.0"
"""GPUs of the MI300X board."""
NOW = 1_790_000_000.0
"""UNIX time, as far as the monitor knows."""
INTERVAL = 30.0
COUNTS = {"spx": 1, "dpx": 2, "qpx": 4, "cpx": 8}
NOTHING = NodeState(Inventory(Driver("amdgpu", None, "absent"), (), (), ()), ())
STRANGERS = Remembered({}, ())

Listed = dict[str, tuple[str, str | None]]
"""By ID: the resource, and the condition if there is one."""


class Recorded(Latest[NodeState]):
    """Keeps every state it told of, also those that a follower would skip."""

    def __init__(self, value: NodeState) -> None:
        super().__init__(value)
        self.history = [value]

    def set(self, value: NodeState) -> None:
        before = self.value
        super().set(value)
        if self.value is not before:
            self.history.append(value)


class Blocking:
    """A sysfs. Reads of a path that ends in `held` wait until `release`; `read_paths` are all that were read."""

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs = sysfs
        self.held: str | None = None
        self.read_paths: list[str] = []
        self._waiting = threading.Event()
        self._released = threading.Event()

    def read_bytes(self, path: str) -> Blob | Unreadable:
        self.read_paths.append(path)
        if self.held is not None and path.endswith(self.held):
            self._waiting.set()
            self._released.wait()
        return self._sysfs.read_bytes(path)

    def read(self, path: str) -> Text | Unreadable:
        return decoded(self.read_bytes(path))

    def list(self, path: str) -> Names | Unreadable:
        return self._sysfs.list(path)

    def resolve(self, path: str) -> SysfsPath | Unreadable:
        return self._sysfs.resolve(path)

    def link(self, path: str) -> Text | Unreadable:
        return self._sysfs.link(path)

    async def hold(self, end: str) -> None:
        """From now on; returns when a read waits."""
        self.held = end
        assert await asyncio.to_thread(self._waiting.wait, GUARD_SECONDS)

    def release(self) -> None:
        self.held = None
        self._released.set()


@dataclass(slots=True)
class Kernel:
    """Where a node's uevents go: to a monitor that listens, unless they are `lost`."""

    lost: bool = False
    _send: Callable[[bytes], None] | None = None
    _listener: Listener | None = None
    _sent: int = 0

    def __call__(self, message: bytes) -> None:
        if self._send is not None and not self.lost:
            self._sent += 1
            self._send(message)

    @property
    def waits(self) -> bool:
        """Whether something was said that is not heard yet."""
        return self._listener is not None and self._listener.heard.total() < self._sent

    @contextmanager
    def heard(self, monitor: Monitor, clock: Callable[[], float]) -> Iterator[None]:
        """By the monitor, out of a socket, meanwhile."""
        send, end = uevent_pair()
        self._send, self._sent = send, 0
        self._listener = listener = SocketUevents(end, clock)
        listener.start(monitor.hear)
        try:
            yield
        finally:
            self._send = self._listener = None
            listener.stop()
            send.close()
            end.close()


@dataclass(slots=True)
class World:
    """`seconds` and `unix_seconds` are the monitor's clocks; `hangs` are GPUs that no probe is expected of."""

    node: SimulatedNode
    lanes: Lanes
    sysfs: Blocking
    state: Recorded
    monitor: Monitor = field(init=False)
    holders: Latest[Holders | None] = field(default_factory=lambda: Latest(None))
    kernel: Kernel = field(default_factory=Kernel)
    seconds: float = 0.0
    unix_seconds: float = NOW
    surveys: Latest[int] = field(default_factory=lambda: Latest(0))
    probes: Latest[Mapping[str, int]] = field(default_factory=lambda: Latest({}))
    hangs: set[str] = field(default_factory=set)
    _probed_at: dict[str, float] = field(default_factory=dict)

    def surveyed(self) -> None:
        self.surveys.set(self.surveys.value + 1)

    def probed(self, address: str) -> None:
        self._probed_at[address] = self.seconds
        self.probes.set({**self.probes.value, address: self.probes.value.get(address, 0) + 1})

    async def lists(self, *expected: Listed) -> NodeState:
        """The state that lists exactly these, once there is one."""
        wanted = {key: value for some in expected for key, value in some.items()}
        try:
            return await until(self.state, lambda state: listed(state) == wanted)
        except TimeoutError:
            assert listed(self.state.value) == wanted
            raise

    async def tells(self, expected: str, address: str = A) -> NodeState:
        """The state that tells this of a GPU (see `told`), once there is one."""
        try:
            return await until(self.state, lambda state: told(state, address) == expected)
        except TimeoutError:
            assert told(self.state.value, address) == expected
            raise

    async def has_healthy(self, wanted: Listed) -> None:
        """Once these IDs are healthy, whatever else is listed."""
        await until(
            self.state, lambda state: wanted.keys() <= {each.id for each in state.devices if each.healthy}
        )

    async def passes(self, seconds: float) -> None:
        """Time, on both clocks. Returns when every probe that was due by then has ended, but those of who `hangs`."""
        await self.hears()
        await self._rests()
        self.seconds += seconds
        self.unix_seconds += seconds
        await self._rests()

    async def round(self) -> None:
        """An interval passes, and each GPU is probed after that."""
        await self.passes(INTERVAL)

    async def hears(self) -> None:
        """Until the monitor was told of all that the kernel has said."""
        async with asyncio.timeout(GUARD_SECONDS):
            while self.kernel.waits:  # noqa: ASYNC110 - a message that is none of ours wakes nobody
                await asyncio.sleep(0)

    async def _rests(self) -> None:
        def has_no_probe_due() -> bool:
            waiting = self.monitor._addresses() - self.hangs
            return all(self._probed_at.get(gpu, -INTERVAL) + INTERVAL > self.seconds for gpu in waiting)

        await until(self.probes, lambda _: has_no_probe_due())

    async def rounds(self, count: int) -> None:
        """Where rounds never end: so many whole ones of all GPUs that answered before, then of the node."""
        before = self.probes.value
        await until(self.probes, lambda now: all(now[gpu] > before[gpu] + count for gpu in before))
        await self.survey_rounds(count)

    async def survey_rounds(self, count: int) -> None:
        """That many whole looks at the node from now on, whatever hangs."""
        seen = self.surveys.value
        await until(self.surveys, lambda now: now > seen + count)


def listed(state: NodeState) -> Listed:
    return {
        device.id: (device.device.resource, device.verdict.condition if device.verdict else None)
        for device in state.devices
    }


def device_of(state: NodeState, device_id: str) -> ListedDevice:
    return next(device for device in state.devices if device.id == device_id)


def verdict_of(state: NodeState, device_id: str) -> Verdict | None:
    return device_of(state, device_id).verdict


def told(state: NodeState, address: str = A) -> str:
    """`!Name` makes unhealthy, `Name` informs, `~` behind it is only held; as in `timelines.told`."""
    return " ".join(
        f"{'!' if each.effect == 'unhealthy' else ''}{each.name}{'~' if each.held else ''}"
        for each in conditions_of(state, address)
    )


def conditions_of(state: NodeState, address: str = A) -> tuple[Condition, ...]:
    return state.statuses.get(address, GpuStatus()).conditions


def heard_by_kubelet(history: list[NodeState], device_id: str) -> list[str | None]:
    """The conditions of one device, each as often as it changed between healthy and unhealthy."""
    heard: list[str | None] = []
    for state in history:
        verdict = verdict_of(state, device_id)
        if not heard or (verdict is None) != (heard[-1] is None):
            heard.append(None if verdict is None else verdict.condition)
    return heard


def whole(*addresses: str, resource: str = GPU, ill: str | None = None) -> Listed:
    return dict.fromkeys(addresses, (resource, ill))


def parts(address: str, mode: str, resource: str, ill: str | None = None) -> Listed:
    ids = (f"{address}-{mode}{number}" for number in range(COUNTS[mode]))
    return whole(*ids, resource=resource, ill=ill)


def as_saved(remembered: Remembered) -> Remembered:
    """After a way through a file."""
    kept = {address: each.as_json() for address, each in remembered.kept.items()}
    read = {address: policy.kept_from_json(each) for address, each in json.loads(json.dumps(kept)).items()}
    return Remembered(read, remembered.listed, remembered.given)


def nothing(node: SimulatedNode) -> None:
    del node


def uevent(action: str, path: str, subsystem: str, **pairs: str) -> bytes:
    """As the kernel sends it, of the device at `path` below the root."""
    said = {"ACTION": action, "DEVPATH": f"/{path}", "SUBSYSTEM": subsystem, **pairs, "SEQNUM": "1"}
    return b"\0".join([f"{action}@/{path}".encode(), *(f"{k}={v}".encode() for k, v in said.items()), b""])


@asynccontextmanager
async def monitoring(
    node: SimulatedNode,
    *,
    kernel: Kernel | None = None,
    faults: bool = False,
    naming: Naming = "single",
    mode: Mode = "enforce",
    meanwhile: Callable[[SimulatedNode], object] = nothing,
    held: str | None = None,
    hold: float = 0,
    interval: float = 0,
    period: float = 0.005,
    deadline: float = 5,
    patience: float = survey_module.FIRST_SCAN_SECONDS,
    dev_root: str | None = None,
    holders: Holders | None = None,
    earlier: Remembered = STRANGERS,
    lanes: Lanes | None = None,
    clock: tuple[float, float] = (0.0, NOW),
) -> AsyncIterator[World]:
    """A monitor of a node: it looks without rest, and probes each `interval` of the test's clock, 0 without rest.

    `kernel`'s events are heard. With `faults`, it reads what only readers by way of `node.sysfs` see.
    `meanwhile` is done to the node between the first scan and the first look. Scans wait for `patience` seconds.
    """
    sysfs = Blocking(node.sysfs if faults else DirectorySysfs(node.root))
    lanes = lanes or Lanes()
    sysfs.held = held
    made = World(node, lanes, sysfs, Recorded(NOTHING), seconds=clock[0], unix_seconds=clock[1])
    made.holders.set(holders)
    made.kernel = kernel or made.kernel
    monitor = made.monitor = Monitor(
        sysfs=sysfs,
        lanes=lanes,
        survey=Survey(
            sysfs=sysfs,
            lanes=lanes,
            scanner=Scanner(sysfs, lanes, ProductNames(amdgpu_ids=os.devnull, pci_ids=os.devnull)),
            naming=naming,
            deadline_seconds=deadline,
        ),
        rules=rules_of(
            mode=mode, interval_seconds=INTERVAL, hold_seconds=hold, read_deadline_seconds=deadline
        ),
        spans=Spans(period=period, interval=interval, deadline=deadline, pause=0),
        clocks=Clocks(monotonic=lambda: made.seconds, unix=lambda: made.unix_seconds),
        holders=made.holders,
        dev_root=dev_root,
        earlier=earlier,
        surveyed=made.surveyed,
        probed=made.probed,
    )
    with pytest.MonkeyPatch.context() as patched:
        # What spares a machine its time only costs a test its own.
        for module in (survey_module, monitor_module):
            patched.setattr(module, "FIRST_SCAN_SECONDS", patience)
        patched.setattr(watch_module, "SHORTEST_TURN_SECONDS", 0)
        first = await monitor.first_look()
        made.state = monitor.node = Recorded(first.value)
        meanwhile(node)
        try:
            with kernel.heard(monitor, lambda: made.seconds) if kernel else nullcontext():
                async with running(monitor.run()):
                    if interval:
                        await made.passes(0)
                    yield made
        finally:
            sysfs.release()
            await lanes.stuck_after(GUARD_SECONDS)


@asynccontextmanager
async def world(
    scratch: Path,
    shape: str,
    *,
    before: Callable[[SimulatedNode], object] = nothing,
    events: bool = False,
    **options: Any,
) -> AsyncIterator[World]:
    """A node of its own and its monitor; see `monitoring`. `before` is done to the node before the first scan.

    Without `events` the kernel is not heard.
    """
    kernel = Kernel()
    node = SimulatedNode.create(scratch / "node", shape, on_uevent=kernel)
    before(node)
    async with monitoring(node, kernel=kernel if events else None, **options) as made:
        try:
            yield made
        finally:
            node.close()
