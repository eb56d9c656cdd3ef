"""A snapshot as metrics see it: boards with their readings, the devices that count, who holds what. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from amdgpu_plugin.discovery.inventory import Gpu, address_order, device_of
from amdgpu_plugin.exposition.snapshot import Snapshot
from amdgpu_plugin.node import GpuStatus, Holder, ListedDevice
from amdgpu_plugin.telemetry.readings import Readings

RETIRED = "Retired"
_LOST = frozenset({"DriverUnbound", "DeviceLost"})
"""With one of these nothing can be read of a GPU: what was read before is no longer so."""


@dataclass(frozen=True, slots=True)
class Board:
    """A GPU that is here, or was and is still listed; `readings` None where there are none that hold now.

    `conditions` are the names of what is the matter with it or with one of its devices.
    """

    gpu: Gpu
    status: GpuStatus
    conditions: frozenset[str]
    readings: Readings | None


@dataclass(frozen=True, slots=True)
class View:
    """Boards by PCI address. `devices` are those listed, without those of an earlier partition mode."""

    snapshot: Snapshot
    boards: tuple[Board, ...]
    devices: tuple[ListedDevice, ...]


def view(snapshot: Snapshot) -> View:
    """Everything that metrics are taken from."""
    state = snapshot.state
    present = {gpu.pci_address: gpu for gpu in state.inventory.gpus}
    gpus = {listed.gpu.pci_address: listed.gpu for listed in state.devices} | present
    counted = tuple(listed for listed in state.devices if not _is_retired(listed))
    boards = (
        _board(snapshot, gpus[address], present=address in present)
        for address in sorted(gpus, key=address_order)
    )
    return View(snapshot, tuple(boards), counted)


def holdings(snapshot: Snapshot) -> Iterator[tuple[ListedDevice, str, Holder]]:
    """Each device that a container holds, itself or a replica of it, with the resource it is charged as.

    What pod-resources names and is not listed here is another plugin's, or long gone.
    """
    listed = {device.id: device for device in snapshot.state.devices}
    said = {
        (device_of(held.device_id), held.resource, holder)
        for held, holders in (snapshot.state.holders or {}).items()
        for holder in holders
    }
    for device_id, resource, holder in sorted(said):
        if (device := listed.get(device_id)) is not None:
            yield device, resource, holder


def _board(snapshot: Snapshot, gpu: Gpu, *, present: bool) -> Board:
    address = gpu.pci_address
    status = snapshot.state.statuses.get(address, GpuStatus())
    conditions = frozenset(condition.name for condition in status.conditions) | {
        listed.verdict.condition
        for listed in snapshot.state.devices
        if listed.verdict is not None and listed.gpu.pci_address == address
    }
    here = present and not conditions & _LOST
    return Board(gpu, status, conditions, snapshot.state.readings.get(address) if here else None)


def _is_retired(listed: ListedDevice) -> bool:
    return listed.verdict is not None and listed.verdict.condition == RETIRED
