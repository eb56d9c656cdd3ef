"""New partitions of a known GPU are listed only once they have stayed the same for a while.

A mode change rewrites KFD's nodes one by one and tells nobody when it is done.
"""

import logging
from dataclasses import dataclass, field, replace

from amdgpu_plugin.discovery.inventory import Gpu, Inventory
from amdgpu_plugin.node import ListedDevice

log = logging.getLogger(__name__)

SETTLE_SECONDS = 5.0
"""For so long must a GPU's new partition mode be seen unchanged before its new IDs are listed."""


@dataclass(frozen=True, slots=True)
class _Arrival:
    """IDs that are to replace others of the same GPU, and when they were first seen (monotonic seconds)."""

    ids: tuple[str, ...]
    seen_at: float


@dataclass(slots=True)
class Settling:
    """Remembers what waits, by PCI address."""

    _arrivals: dict[str, _Arrival] = field(default_factory=dict)

    @property
    def waits(self) -> bool:
        """Whether new IDs wait to be listed."""
        return bool(self._arrivals)

    def forget(self, address: str) -> None:
        """The GPU went away: what it comes back with settles anew."""
        self._arrivals.pop(address, None)

    def settled(self, inventory: Inventory, listed: tuple[ListedDevice, ...], now: float) -> Inventory:
        """The inventory without devices that replace others of their GPU and are too new to be sure of."""
        there = {gpu.pci_address for gpu in inventory.gpus}
        self._arrivals = {address: seen for address, seen in self._arrivals.items() if address in there}
        gpus = tuple(
            gpu if self._is_settled(gpu, listed, now) else replace(gpu, devices=()) for gpu in inventory.gpus
        )
        return replace(inventory, gpus=gpus)

    def _is_settled(self, gpu: Gpu, listed: tuple[ListedDevice, ...], now: float) -> bool:
        ids = tuple(device.id for device in gpu.devices)
        known = {earlier.id for earlier in listed if earlier.gpu.pci_address == gpu.pci_address}
        if not known or known.issuperset(ids):
            self._arrivals.pop(gpu.pci_address, None)
            return True
        arrival = self._arrivals.get(gpu.pci_address)
        if arrival is None or arrival.ids != ids:
            self._arrivals[gpu.pci_address] = arrival = _Arrival(ids, now)
            fields = {"gpu": gpu.pci_address, "devices": ",".join(ids), "seconds": SETTLE_SECONDS}
            log.info("new partitions seen: listed once they have settled", extra={"fields": fields})
        return now - arrival.seen_at >= SETTLE_SECONDS
