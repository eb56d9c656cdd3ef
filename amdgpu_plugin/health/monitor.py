"""What keeps NodeState true: a watch for each GPU, and surveys of the node. Nobody else writes it.

A kernel event is judged at once, without a read. Each GPU is judged when its own lane answers; none waits for
another. What is new on the node is found by a survey.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from amdgpu_plugin.discovery.inventory import Inventory
from amdgpu_plugin.discovery.naming import GivenNames
from amdgpu_plugin.discovery.scan import NODE_LANE, gpu_lane
from amdgpu_plugin.health import listing, policy
from amdgpu_plugin.health.events import BusRecovery, CoreDumped, Event, Overrun
from amdgpu_plugin.health.evidence import (
    Acknowledged,
    Evidence,
    Happened,
    Holding,
    Moment,
    NoAnswer,
    Passed,
    Sampled,
    Seen,
    Starved,
)
from amdgpu_plugin.health.hearing import Hearing
from amdgpu_plugin.health.pulse import Pulse
from amdgpu_plugin.health.survey import FIRST_SCAN_SECONDS, Survey
from amdgpu_plugin.health.told import tell_devices, tell_transitions
from amdgpu_plugin.health.watch import Watch
from amdgpu_plugin.instruments import Instruments
from amdgpu_plugin.lanes import Hung, Lanes
from amdgpu_plugin.node import Holders, Latest, ListedDevice, NodeState, Verdict
from amdgpu_plugin.sysfs import Sysfs
from amdgpu_plugin.telemetry import presence
from amdgpu_plugin.telemetry.presence import Bound, Gone, NotSeen, Presence, Unbound
from amdgpu_plugin.telemetry.readings import Readings
from amdgpu_plugin.telemetry.sampler import read_gpu_readings

_SOON_SECONDS = 0.5
"""After an event the next survey comes within this: a bind is not settled when it is told."""
_SPARE_LANE = "spare"
_MOST_DUMPS = 1024
"""Core dumps that wait to be told whose they are. The kernel keeps one for each device, for minutes."""


@dataclass(frozen=True, slots=True)
class Spans:
    """In seconds: between looks at presence, between full rounds, and when a read counts as hung.

    `pause` lies before each survey: what an event says is told first, and a storm of events costs few scans.
    """

    period: float
    interval: float
    deadline: float
    pause: float = 0.2


@dataclass(frozen=True, slots=True)
class Clocks:
    """`monotonic` gives seconds that only rise, `unix` those that people know."""

    monotonic: Callable[[], float]
    unix: Callable[[], float]

    def moment(self) -> Moment:
        """Now."""
        return Moment(self.monotonic(), self.unix())


@dataclass(frozen=True, slots=True)
class Remembered:
    """What outlives a daemon within one boot: of each GPU by PCI address, the listed devices, and names.

    `given` is None where no names were kept.
    """

    kept: Mapping[str, policy.Kept]
    listed: tuple[ListedDevice, ...]
    given: GivenNames | None = None


def _failing_devices(sysfs: Sysfs, dumps: tuple[CoreDumped, ...]) -> tuple[str, ...]:
    """PCI addresses, empty where a dump is gone already."""
    links = (sysfs.resolve(f"{dump.path}/failing_device") for dump in dumps)
    return tuple(getattr(link, "value", "").rpartition("/")[2] for link in links)


def _nobody(*_: object) -> None:
    """Told where nobody asked to be."""


def _never() -> bool:
    return False


@dataclass(slots=True)
class Monitor:
    """`probed` is told of each full round by its PCI address, `surveyed` of each survey of the node.

    `listens` says whether somebody listens to kernel events for us at the moment.
    """

    sysfs: Sysfs
    lanes: Lanes
    survey: Survey
    rules: policy.Rules
    spans: Spans
    clocks: Clocks
    holders: Latest[Holders | None] = field(default_factory=lambda: Latest(None))
    retire_after_seconds: float = 600.0
    dev_root: str | None = None
    listens: Callable[[], bool] = _never
    earlier: Remembered = Remembered({}, ())
    instruments: Instruments = field(default_factory=Instruments)
    probed: Callable[[str], None] = _nobody
    surveyed: Callable[[], None] = _nobody
    node: Latest[NodeState] = field(init=False)
    _healths: dict[str, policy.Health] = field(default_factory=dict)
    _presences: dict[str, Presence] = field(default_factory=dict)
    _readings: dict[str, Readings] = field(default_factory=dict)
    _watches: dict[str, Watch] = field(default_factory=dict)
    _poked: asyncio.Event = field(default_factory=asyncio.Event)
    _dumps: list[CoreDumped] = field(default_factory=list)
    _background: set[asyncio.Task[None]] = field(default_factory=set)
    _pulse: Pulse = field(init=False)
    _hearing: Hearing = field(default_factory=Hearing)

    async def first_look(self) -> Latest[NodeState]:
        """The node as far as it answers in time, with all that an earlier daemon of this boot listed."""
        self._pulse = Pulse(self.clocks.monotonic)
        now = self.clocks.moment()
        self._healths = {address: policy.restored(kept, now) for address, kept in self.earlier.kept.items()}
        inventory = await self.survey.first(self.earlier.listed, self.earlier.given)
        unseen = Verdict(*listing.UNSEEN, since=now.unix)
        there = {device.id for gpu in inventory.gpus for device in gpu.devices}
        earlier = tuple(
            ListedDevice(each.device, each.gpu, None if each.id in there else unseen)
            for each in self.earlier.listed
        )
        for address in {gpu.pci_address for gpu in inventory.gpus} | {
            each.gpu.pci_address for each in earlier
        }:
            self._healths.setdefault(address, policy.Health())
        await self._look_for({each.gpu.pci_address for each in earlier if each.id not in there})
        listed = listing.with_earlier(earlier, inventory, self.survey.is_foreign)
        first = NodeState(inventory, listed, policy=self.rules.as_json())
        self.node = Latest(self._following(first, now))
        return self.node

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pulse.run(), name="pulse")
            group.create_task(self._follow_holders(), name="holders")
            group.create_task(self._let_time_pass(), name="time")
            await self._keep_surveying(group)

    @property
    def remembered(self) -> Remembered:
        """What a later daemon should know."""
        kept = {address: policy.kept(health) for address, health in self._healths.items()}
        return Remembered(kept, self.node.value.devices, self.survey.given)

    def hear(self, events: Sequence[Event], heard_at: float) -> None:
        """Kernel events, judged and published before this returns; `heard_at` in monotonic seconds."""
        now = self.clocks.moment()
        for event in events:
            if isinstance(event, Overrun):
                self._hearing.lost(now.monotonic)
            for address in self._concerned(event):
                self._hearing.heard(address, now.monotonic)
                self._judge(address, Happened(event), now)
            if isinstance(event, CoreDumped):
                self._take_dump(event)
        self._publish(now, heard_at)
        for address in {address for event in events for address in self._to_look_at(event)}:
            self._watches[address].look_now()
        self._poked.set()

    def acknowledge(self, address: str, word: Acknowledged) -> None:
        """An operator's word. KeyError for a GPU that is not here."""
        if address not in self._healths:
            raise KeyError(address)
        now = self.clocks.moment()
        self._judge(address, word, now)
        self._publish(now)

    def is_acknowledged(self, address: str, condition: str) -> bool:
        """Whether an operator's word on it still counts."""
        health = self._healths.get(address)
        return health is not None and policy.is_acknowledged(health, condition, self.clocks.moment())

    # -- Loops --

    async def _keep_surveying(self, group: asyncio.TaskGroup) -> None:
        soon = False
        while True:
            self._keep_watching(group)
            period = min(self.spans.period, _SOON_SECONDS) if soon else self.spans.period
            soon = await self._was_poked(within=period)
            await asyncio.sleep(self.spans.pause)
            state = self.node.value
            found = await self.survey.look(
                state.inventory, state.devices, self._sights(), self.clocks.monotonic()
            )
            if found is not None or self.survey.out_of_sight != state.guard_active:
                self._publish(self.clocks.moment(), inventory=found)
            self.surveyed()

    async def _was_poked(self, *, within: float) -> bool:
        try:
            async with asyncio.timeout(within):
                await self._poked.wait()
        except TimeoutError:
            return False
        finally:
            self._poked.clear()
        return True

    async def _follow_holders(self) -> None:
        async for _ in self.holders.follow():
            now = self.clocks.moment()
            for address in self._addresses():
                self._judge(address, self._holding(address), now)
            self._publish(now)

    async def _let_time_pass(self) -> None:
        while True:
            await asyncio.sleep(self.spans.period)
            now = self.clocks.moment()
            self.instruments.missed_events.inc(self._hearing.passed(now.monotonic))
            for address in self._healths:
                self._judge(address, Passed(), now)
            self._publish(now)

    def _keep_watching(self, group: asyncio.TaskGroup) -> None:
        for address in self._addresses() - self._watches.keys():
            self._healths.setdefault(address, policy.Health())
            self._watches[address] = watch = self._watch(address)
            group.create_task(watch.run(), name=f"watch {address}")

    def _watch(self, address: str) -> Watch:
        return Watch(
            lane=self.lanes[gpu_lane(address)],
            spare=self.lanes[_SPARE_LANE],
            look=partial(self._look, address),
            probe=partial(read_gpu_readings, self.sysfs, address, self.clocks.unix),
            spare_look=partial(self.sysfs.read, "class/drm/version"),
            pulse=self._pulse,
            period_seconds=self.spans.period,
            interval_seconds=self.spans.interval,
            deadline_seconds=self.spans.deadline,
            clock=self.clocks.monotonic,
            judge=partial(self._learn, address),
            probed=partial(self._probed, address),
        )

    # -- Looking --

    def _look(self, address: str) -> Presence:
        return presence.look(self.sysfs, address, self._nodes_of(address), self.dev_root)

    def _nodes_of(self, address: str) -> tuple[str, ...]:
        """As listed, in the mode it was scanned in: a scan does not find what is missing. Its own first."""
        state = self.node.value
        modes = {gpu.compute_partition for gpu in state.inventory.gpus if gpu.pci_address == address}
        own = (listed for listed in state.devices if listed.gpu.pci_address == address)
        return tuple(listed.device.render_node for listed in own if listed.gpu.compute_partition in modes)

    async def _look_for(self, addresses: set[str]) -> None:
        """One look at GPUs that an earlier daemon listed and the first scan did not find."""
        jobs = {
            address: partial(presence.look, self.sysfs, address, (), self.dev_root) for address in addresses
        }
        asked = (
            self.lanes[gpu_lane(address)].ask(job, deadline=FIRST_SCAN_SECONDS)
            for address, job in jobs.items()
        )
        now = self.clocks.moment()
        for address, answer in zip(jobs, await asyncio.gather(*asked), strict=True):
            if not isinstance(answer, Hung):
                self._judge(address, Seen(answer), now)

    def _take_dump(self, event: CoreDumped) -> None:
        """One task for all that come: thousands a second may."""
        if len(self._dumps) < _MOST_DUMPS:
            self._dumps.append(event)
        if all(task.done() for task in self._background):
            self._in_background(self._hear_dumps())

    async def _hear_dumps(self) -> None:
        """Whose dumps they are stands in links: read in the node's lane, many at a time."""
        while self._dumps:
            dumps, self._dumps = self._dumps, []
            job = partial(_failing_devices, self.sysfs, tuple(dumps))
            answer = await self.lanes[NODE_LANE].ask(job, deadline=FIRST_SCAN_SECONDS)
            now = self.clocks.moment()
            for event, address in () if isinstance(answer, Hung) else zip(dumps, answer, strict=True):
                if address in self._healths:
                    self._judge(address, Happened(event), now)
            self._publish(now)

    def _in_background(self, doing: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(doing)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _probed(self, address: str, seconds: float) -> None:
        self.instruments.probe_seconds.observe(seconds)
        self.probed(address)

    # -- Judging --

    def _learn(self, address: str, evidence: Evidence) -> None:
        """What a watch learnt."""
        before, now = self._presences.get(address), self.clocks.moment()
        if isinstance(evidence, Seen):
            self._note(address, evidence.presence, now)
        self._judge(address, evidence, now)
        self._publish(now)
        if self._presences.get(address) != before:
            self._poked.set()

    def _note(self, address: str, presence: Presence, now: Moment) -> None:
        if self.listens():
            self._hearing.seen(address, presence, now.monotonic)
        else:
            self._hearing.deafened()

    def _judge(self, address: str, evidence: Evidence, now: Moment) -> None:
        if isinstance(evidence, Seen) and not isinstance(evidence.presence, NotSeen):
            self._presences[address] = evidence.presence
            if not isinstance(evidence.presence, Bound):
                self._readings.pop(address, None)
                self.survey.forget(address)
        if isinstance(evidence, Sampled) and not isinstance(self._presences.get(address), Unbound | Gone):
            self._readings[address] = evidence.readings
        self._healths[address] = policy.judge(self._healths[address], evidence, self.rules, now)
        self._count(address, evidence)

    def _count(self, address: str, evidence: Evidence) -> None:
        failed = self.instruments.failed_reads
        if isinstance(evidence, Sampled):
            failed.labels(address, "busy").inc(evidence.readings.tally.busy)
            failed.labels(address, "failing").inc(evidence.readings.tally.failing)
        elif isinstance(evidence, NoAnswer):
            failed.labels(address, "hung").inc()
        elif isinstance(evidence, Starved):
            self.instruments.starved.inc()

    def _publish(
        self, now: Moment, heard_at: float | None = None, *, inventory: Inventory | None = None
    ) -> None:
        before = self.node.value
        self.node.set(self._following(before, now, heard_at=heard_at, inventory=inventory))
        after = self.node.value
        tell_transitions(before.statuses, after.statuses)
        tell_devices(before.devices, after.devices)

    def _following(
        self,
        state: NodeState,
        now: Moment,
        *,
        heard_at: float | None = None,
        inventory: Inventory | None = None,
    ) -> NodeState:
        inventory, holders = inventory or state.inventory, self.holders.value
        conclusion = policy.conclude(self._healths, self.rules, now)
        modes = {
            address: seen.compute_partition if isinstance(seen, Bound) else None
            for address, seen in self._presences.items()
        }
        merged = inventory is state.inventory
        devices = state.devices
        if not merged:
            devices = listing.with_earlier(devices, inventory, self.survey.is_foreign)
        judged = partial(listing.with_verdicts, statuses=conclusion.statuses, modes=modes, now=now.unix)
        stayed = listing.without_left(
            devices := judged(devices), holders, now=now.unix, retire_after_seconds=self.retire_after_seconds
        )
        if stayed != devices:
            devices = judged(stayed)  # who moved has its GPU's verdict again
        devices = listing.with_held_elsewhere(devices, holders, inventory.xcp_devices, now=now.unix)
        return state.followed_by(
            inventory=inventory,
            devices=devices,
            holders=holders,
            statuses=conclusion.statuses,
            readings=dict(self._readings),
            guard_active=conclusion.guard_active or (self.survey.out_of_sight and bool(devices)),
            missed_events=self._hearing.missed,
            heard_at=heard_at,
        )

    def _holding(self, address: str) -> Holding:
        holders = self.holders.value
        if holders is None:
            return Holding(None)
        # A partition's or replica's ID begins with its GPU's address; another plugin's may be its xcp name.
        xcps = {
            f"amdgpu_xcp{mark}{xcp.number}"
            for xcp in self.node.value.inventory.xcp_devices
            for mark in "._"
            if xcp.gpu == address
        }
        return Holding(any(held.device_id.startswith(address) or held.device_id in xcps for held in holders))

    # -- Who is meant --

    def _addresses(self) -> set[str]:
        state = self.node.value
        return {gpu.pci_address for gpu in state.inventory.gpus} | {
            listed.gpu.pci_address for listed in state.devices
        }

    def _concerned(self, event: Event) -> tuple[str, ...]:
        """The GPUs that an event says something of."""
        if isinstance(event, BusRecovery):
            met = event.path.rpartition("/")[2]
            return tuple(address for address in self._healths if met in self._way_to(address))
        address = getattr(event, "address", None)
        return (address,) if address in self._healths else ()

    def _way_to(self, address: str) -> tuple[str, ...]:
        """The addresses from the root port to a GPU; none to one that has no driver."""
        seen = self._presences.get(address)
        if isinstance(seen, Bound):
            return tuple(seen.path.split("/"))
        if seen is not None:
            return ()
        # Not looked at yet, or it hangs since we started: as it was scanned or listed.
        state = self.node.value
        gpus = (*state.inventory.gpus, *(listed.gpu for listed in state.devices))
        bridges = (gpu.bridges or "" for gpu in gpus if gpu.pci_address == address)
        return (*next(bridges, "").split("/"), address)

    def _to_look_at(self, event: Event) -> tuple[str, ...]:
        """The GPUs to look at anew: who is concerned, or all where the event names none."""
        if hasattr(event, "address"):
            return tuple(address for address in self._concerned(event) if address in self._watches)
        return tuple(self._watches)

    def _sights(self) -> frozenset[tuple[str, Presence]]:
        return frozenset(self._presences.items())
