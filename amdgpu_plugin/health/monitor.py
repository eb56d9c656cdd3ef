"""The loop that keeps NodeState true: looks at each listed GPU's presence, and scans when something moved.

It looks when a kernel event was heard, and by polling. It writes NodeState; nobody else does.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from amdgpu_plugin.discovery import drm, pci
from amdgpu_plugin.discovery.inventory import Gpu, Inventory, Skipped
from amdgpu_plugin.discovery.kfd_reader import DENIED
from amdgpu_plugin.discovery.naming import Naming, name_resources, names_of
from amdgpu_plugin.discovery.scan import NODE_LANE, Scanner, gpu_lane
from amdgpu_plugin.health import listing, presence
from amdgpu_plugin.health.presence import Presence
from amdgpu_plugin.lanes import Hung, Lanes
from amdgpu_plugin.node import Holders, Latest, ListedDevice, NodeState
from amdgpu_plugin.sysfs import Names, Sysfs, Text

log = logging.getLogger(__name__)

FIRST_SCAN_SECONDS = 2.0
"""The longest that registration waits for GPUs; who answers later joins the list."""
SETTLE_SECONDS = 5.0
"""For so long must a GPU's new partition mode be seen unchanged before its new IDs are listed."""
_SETTLING_SECONDS = 0.5
_SHORTEST_TURN_SECONDS = 0.002
"""A storm of events must not make looking all that is done."""
_GENERATION = "class/kfd/kfd/topology/generation_id"
_SILENT = "no answer"
"""In the reason of everything that is skipped because its lane did not answer."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What tells that a scan is due: cheap to read, and different whenever a GPU comes, goes or changes."""

    bound: tuple[str, ...]
    minors: tuple[str, ...]
    generation: str | None
    presences: Mapping[str, Presence]


@dataclass(frozen=True, slots=True)
class _Arrival:
    """IDs that are to replace others of the same GPU, and when they were first seen (loop time)."""

    ids: tuple[str, ...]
    seen_at: float


@dataclass(slots=True)
class Monitor:
    """Publishes to `node`. `wall_clock` gives UNIX time, `clock` seconds that only rise."""

    sysfs: Sysfs
    lanes: Lanes
    scanner: Scanner
    naming: Naming
    period_seconds: float
    read_deadline_seconds: float
    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    holders: Latest[Holders | None] = field(default_factory=lambda: Latest(None))
    retire_after_seconds: float = 600.0
    _heard: asyncio.Event = field(default_factory=asyncio.Event)
    _settling: bool = False
    _names: dict[str, str] = field(default_factory=dict)
    _arrivals: dict[str, _Arrival] = field(default_factory=dict)
    _said: frozenset[Skipped] = frozenset()

    async def first_state(self) -> NodeState:
        """The node as far as it answered within FIRST_SCAN_SECONDS."""
        inventory = await self._scan()
        return self._next_state(NodeState(inventory, ()), inventory, {})

    async def run(self, node: Latest[NodeState]) -> None:
        """For ever."""
        # No look before the first: what came while the first scan was under way must count as a change.
        before: _Look | None = None
        while True:
            await self._turn(node.value.holders)
            now = await self._look(node.value)
            # What is lost is told before the scan, which takes longer.
            self._publish(node, node.value.inventory, now.presences)
            if now != before or self._unsettled(node.value.inventory):
                found = self._settled(await self._scan(), node.value.devices)
                named = name_resources(found, self.naming, self._names)
                self._names = names_of(named) | self._names
                self._publish(node, named, now.presences)
            before = now

    def look_now(self) -> None:
        """Something was heard: do not wait for the period."""
        self._heard.set()

    def _publish(
        self, node: Latest[NodeState], inventory: Inventory, presences: Mapping[str, Presence]
    ) -> None:
        state = node.value
        following = self._next_state(state, inventory, presences)
        _log_transitions(state.devices, following.devices)
        node.set(following)

    def _next_state(
        self, state: NodeState, inventory: Inventory, presences: Mapping[str, Presence]
    ) -> NodeState:
        now, holders = self.wall_clock(), self.holders.value
        devices = presence.judge(state.devices, inventory, presences, now)
        devices = listing.without_left(
            devices, holders, now=now, retire_after_seconds=self.retire_after_seconds
        )
        devices = listing.with_held_elsewhere(devices, holders, inventory.xcp_devices, now=now)
        return state.with_devices(inventory, devices, holders)

    async def _turn(self, seen: Holders | None) -> None:
        """Until something was heard, the holders are others than seen, or the period is over.

        After something was heard the next turn comes soon: a bind is not settled when it is told.
        """
        await asyncio.sleep(_SHORTEST_TURN_SECONDS)
        period = min(self.period_seconds, _SETTLING_SECONDS) if self._settling else self.period_seconds
        waits = [
            asyncio.create_task(self._heard.wait()),
            asyncio.create_task(self.holders.until_other_than(seen)),
        ]
        try:
            await asyncio.wait(waits, timeout=period, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._settling = self._heard.is_set()
        self._heard.clear()

    async def _scan(self) -> Inventory:
        deadline = min(FIRST_SCAN_SECONDS, self.read_deadline_seconds)
        inventory = await self.scanner.scan(deadline=deadline)
        named = name_resources(inventory, self.naming, self._names)
        if not self._names:
            self._names = names_of(named)
        self._say_skipped(named)
        return named

    async def _look(self, state: NodeState) -> _Look:
        addresses = {listed.gpu.pci_address for listed in state.devices}
        asked = await asyncio.gather(*(self._presence(address) for address in sorted(addresses)))
        wide = await self.lanes[NODE_LANE].ask(self._node_wide, deadline=FIRST_SCAN_SECONDS)
        bound, minors, generation = ((), (), None) if isinstance(wide, Hung) else wide
        return _Look(bound, minors, generation, dict(asked))

    async def _presence(self, address: str) -> tuple[str, Presence]:
        job = partial(presence.look, self.sysfs, address)
        answer = await self.lanes[gpu_lane(address)].ask(job, deadline=FIRST_SCAN_SECONDS)
        return address, presence.NotSeen(str(answer)) if isinstance(answer, Hung) else answer

    def _node_wide(self) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
        bound, minors = self.sysfs.list(f"{pci.DRIVERS}/amdgpu"), self.sysfs.list(drm.CLASS)
        generation = self.sysfs.read(_GENERATION)
        return (
            bound.value if isinstance(bound, Names) else (),
            minors.value if isinstance(minors, Names) else (),
            generation.value if isinstance(generation, Text) else None,
        )

    def _unsettled(self, inventory: Inventory) -> bool:
        """True while an answer is owed or new IDs wait: the next scan may find what the last one did not.

        What was silent may have answered since, between two looks, and nothing else tells of that.
        """
        silent = any(_SILENT in skipped.reason for skipped in inventory.skipped)
        return bool(self._arrivals) or silent or any(not gpu.devices for gpu in inventory.gpus)

    def _settled(self, inventory: Inventory, listed: tuple[ListedDevice, ...]) -> Inventory:
        """The inventory without devices that replace others of their GPU and are too new to be sure of."""
        there = {gpu.pci_address for gpu in inventory.gpus}
        self._arrivals = {address: seen for address, seen in self._arrivals.items() if address in there}
        gpus = tuple(
            gpu if self._is_settled(gpu, listed) else replace(gpu, devices=()) for gpu in inventory.gpus
        )
        return replace(inventory, gpus=gpus)

    def _is_settled(self, gpu: Gpu, listed: tuple[ListedDevice, ...]) -> bool:
        ids = tuple(device.id for device in gpu.devices)
        known = {earlier.id for earlier in listed if earlier.gpu.pci_address == gpu.pci_address}
        if not known or known.issuperset(ids):
            self._arrivals.pop(gpu.pci_address, None)
            return True
        arrival = self._arrivals.get(gpu.pci_address)
        if arrival is None or arrival.ids != ids:
            self._arrivals[gpu.pci_address] = arrival = _Arrival(ids, self.clock())
            fields = {"gpu": gpu.pci_address, "devices": ",".join(ids), "seconds": SETTLE_SECONDS}
            log.info("new partitions seen: listed once they have settled", extra={"fields": fields})
        return self.clock() - arrival.seen_at >= SETTLE_SECONDS

    def _say_skipped(self, inventory: Inventory) -> None:
        for skipped in inventory.skipped:
            if skipped in self._said:
                continue
            log.log(
                _level(skipped), "skipped", extra={"fields": {"path": skipped.path, "reason": skipped.reason}}
            )
        self._said = frozenset(inventory.skipped)


def _level(skipped: Skipped) -> int:
    """A BMC is no trouble, and denied KFD nodes, up to 64, are told of in one line at the start."""
    if skipped.reason.startswith(DENIED):
        return logging.DEBUG
    return logging.INFO if skipped.reason.startswith(pci.FOREIGN) else logging.WARNING


def _log_transitions(before: tuple[ListedDevice, ...], after: tuple[ListedDevice, ...]) -> None:
    earlier = {listed.id: listed for listed in before}
    for listed in after:
        was = earlier.get(listed.id)
        if was is None:
            log.info(
                "device joined", extra={"fields": {"device": listed.id, "resource": listed.device.resource}}
            )
        elif listed.verdict != was.verdict:
            _log_transition(listed)


def _log_transition(listed: ListedDevice) -> None:
    if listed.verdict is None:
        log.info("device healthy", extra={"fields": {"device": listed.id}})
        return
    fields = {"device": listed.id, "condition": listed.verdict.condition, "detail": listed.verdict.detail}
    log.warning("device unhealthy", extra={"fields": fields})
