"""What is on the node: a cheap look again and again, and a scan whenever that look differs from the last."""

import logging
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from functools import partial

from amdgpu_plugin.discovery import drm, pci
from amdgpu_plugin.discovery.inventory import Inventory, Skipped
from amdgpu_plugin.discovery.naming import UNSHARED, GivenNames, Naming, Sharing, name_resources, names_of
from amdgpu_plugin.discovery.offering import remarks
from amdgpu_plugin.discovery.scan import NODE_LANE, Scanner
from amdgpu_plugin.health.settling import Settling
from amdgpu_plugin.health.told import tell_skipped
from amdgpu_plugin.lanes import Hung, Lanes
from amdgpu_plugin.node import ListedDevice
from amdgpu_plugin.sysfs import Absent, Names, Sysfs, Text

log = logging.getLogger(__name__)

FIRST_SCAN_SECONDS = 2.0
"""The longest that registration waits for GPUs; who answers later joins the list."""
_GENERATION = "class/kfd/kfd/topology/generation_id"
_SILENT = "no answer"
"""In the reason of everything that is skipped because its lane did not answer."""


@dataclass(slots=True)
class Survey:
    """Remembers what it saw and which names it gave. `deadline_seconds` is for each answer of a scan.

    `out_of_sight`: there is no PCI bus in what should be sysfs, so that nothing is known of any GPU.
    """

    sysfs: Sysfs
    lanes: Lanes
    scanner: Scanner
    naming: Naming
    deadline_seconds: float
    sharing: Sharing = UNSHARED
    out_of_sight: bool = False
    _before: Hashable = None
    _names: dict[str, str] = field(default_factory=dict)
    _settling: Settling = field(default_factory=Settling)
    _said: frozenset[Skipped] = frozenset()
    _remarked: set[str] = field(default_factory=set)
    _went_away: set[str] = field(default_factory=set)

    @property
    def given(self) -> GivenNames:
        """The names that styles have in this boot."""
        return GivenNames(self.naming, dict(self._names))

    async def first(
        self, listed: tuple[ListedDevice, ...] = (), given: GivenNames | None = None
    ) -> Inventory:
        """The node as far as it answers in time, without waiting for anything to settle.

        `listed` are an earlier daemon's devices, `given` its names: within one boot a style keeps its name.
        Where it kept no names, those of the devices count.
        """
        inventory = await self._scan()
        gpus = tuple(replace(each.gpu, devices=(each.device,)) for each in listed)
        kept = names_of(replace(inventory, gpus=gpus)) if given is None else dict(given.names)
        if given is not None and given.naming != self.naming:
            fields = {"before": given.naming, "now": self.naming}
            log.warning(
                "resource naming was changed: devices move when nobody holds them", extra={"fields": fields}
            )
            kept = {}
        named = name_resources(inventory, self.naming, kept, self.sharing)
        self._names = names_of(named) | kept
        self._remark(named)
        return named

    def forget(self, address: str) -> None:
        """The GPU went away: what it comes back with settles anew."""
        self._settling.forget(address)
        self._went_away.add(address)

    async def look(
        self, inventory: Inventory, listed: tuple[ListedDevice, ...], presences: Hashable, now: float
    ) -> Inventory | None:
        """What a new scan found, None while none is due. `presences` are what the GPUs' own lanes told."""
        wide = await self.lanes[NODE_LANE].ask(self._node_wide, deadline=FIRST_SCAN_SECONDS)
        before, self._before = self._before, (None if isinstance(wide, Hung) else wide, presences)
        # What came while the first scan was under way must count as a change: there is no look before it.
        if before is not None and before == self._before and not self._unsettled(inventory):
            return None
        self._went_away.clear()
        scanned = await self._scan()
        if await self._is_out_of_sight():
            self._before = None
            return None
        found = self._settling.settled(scanned, listed, now)
        for address in self._went_away:
            self._settling.forget(address)
        named = name_resources(found, self.naming, self._names, self.sharing)
        self._names = names_of(named) | self._names
        self._remark(named)
        return named

    async def _is_out_of_sight(self) -> bool:
        """Said once, and once that it is back. No answer is the lane's trouble, and not this."""
        bus = await self.lanes[NODE_LANE].ask(
            partial(self.sysfs.resolve, pci.DEVICES), deadline=FIRST_SCAN_SECONDS
        )
        before, self.out_of_sight = self.out_of_sight, isinstance(bus, Absent)
        if self.out_of_sight and not before:
            fields = {"path": pci.DEVICES}
            log.warning(
                "no PCI bus in sysfs: is it still mounted here? GPUs stay as they are",
                extra={"fields": fields},
            )
        elif before and not self.out_of_sight:
            log.warning("the PCI bus is in sysfs again")
        return self.out_of_sight

    async def _scan(self) -> Inventory:
        inventory = await self.scanner.scan(deadline=min(FIRST_SCAN_SECONDS, self.deadline_seconds))
        for skipped in inventory.skipped:
            if skipped not in self._said:
                tell_skipped(skipped)
        self._said = frozenset(inventory.skipped)
        return name_resources(inventory, self.naming, self._names, self.sharing)

    def _remark(self, inventory: Inventory) -> None:
        for remark in remarks(inventory, self.scanner.offering):
            if remark not in self._remarked:
                log.warning(remark)
                self._remarked.add(remark)

    def _node_wide(self) -> Hashable:
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
        return (
            self._settling.waits
            or silent
            or any(not gpu.devices and gpu.left_out is None for gpu in inventory.gpus)
        )
