"""Whether a listed GPU is still there, and what that means for its devices.

A listed ID is never dropped because its GPU is gone: it turns unhealthy, with the reason. What could not be
looked at changes no verdict.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from amdgpu_plugin.discovery.inventory import Inventory, address_order
from amdgpu_plugin.node import ListedDevice, Verdict
from amdgpu_plugin.sysfs import Absent, Path, Sysfs, Text, Unreadable

DEVICES = "bus/pci/devices"


@dataclass(frozen=True, slots=True)
class Bound:
    """On the bus and bound to amdgpu; `compute_partition` as its file says, None if it does not say."""

    compute_partition: str | None


@dataclass(frozen=True, slots=True)
class Unbound:
    """On the bus, on another driver or none."""

    driver: str | None


@dataclass(frozen=True, slots=True)
class Gone:
    """Not on the bus."""


@dataclass(frozen=True, slots=True)
class NotSeen:
    """Could not be looked at."""

    why: str


Presence = Bound | Unbound | Gone | NotSeen


def look(sysfs: Sysfs, address: str) -> Presence:
    """A GPU by its PCI address. Reads two links and one file. Blocks: for the GPU's lane."""
    path = sysfs.resolve(f"{DEVICES}/{address}")
    if not isinstance(path, Path):
        return _not_there(path)
    link = sysfs.link(f"{path.value}/driver")
    driver = link.value.rpartition("/")[2] if isinstance(link, Text) else None
    if driver != "amdgpu":
        return Unbound(driver) if isinstance(link, Text | Absent) else NotSeen(str(link))
    mode = sysfs.read(f"{path.value}/current_compute_partition")
    known = isinstance(mode, Text) and re.fullmatch(r"([A-Z]PX)[\s\0]*", mode.value)
    return Bound(known[1] if known else None)


def judge(
    listed: tuple[ListedDevice, ...], inventory: Inventory, presences: Mapping[str, Presence], now: float
) -> tuple[ListedDevice, ...]:
    """The devices to list: those of the inventory, and the earlier ones that are not in it any more.

    `now` is a UNIX time in seconds. Sorted by PCI address, then partition.
    """
    found = {device.id: ListedDevice(device, gpu) for gpu in inventory.gpus for device in gpu.devices}
    for earlier in listed:
        presence = presences.get(earlier.gpu.pci_address, NotSeen("not asked"))
        problem = _problem(earlier, presence)
        base = _under_its_name(found[earlier.id], earlier) if earlier.id in found else earlier
        if problem is not None:
            found[earlier.id] = replace(base, verdict=_since(earlier.verdict, *problem, now))
        elif earlier.id not in found or isinstance(presence, NotSeen):
            found[earlier.id] = replace(base, verdict=earlier.verdict)
        else:
            found[earlier.id] = base
    return tuple(found[key] for key in sorted(found, key=lambda key: _order(found[key])))


def _under_its_name(listed: ListedDevice, earlier: ListedDevice) -> ListedDevice:
    """An ID's resource is fixed while it is listed, whatever its GPU's modes say for a moment."""
    return replace(listed, device=replace(listed.device, resource=earlier.device.resource))


def _problem(earlier: ListedDevice, presence: Presence) -> tuple[str, str] | None:
    match presence:
        case Unbound(driver=None):
            return "DriverUnbound", "bound to no driver"
        case Unbound(driver=driver):
            return "DriverUnbound", f"bound to {driver}, not amdgpu"
        case Gone():
            return "DeviceLost", "not on the PCI bus"
        case Bound(compute_partition=mode) if mode is not None and earlier.gpu.compute_partition not in {
            None,
            mode,
        }:
            return "Retired", f"the compute partition mode is now {mode}"
    return None


def _since(before: Verdict | None, condition: str, detail: str, now: float) -> Verdict:
    since = before.since if before is not None and before.condition == condition else now
    return Verdict(condition, detail, since)


def _order(listed: ListedDevice) -> tuple[tuple[int, ...], str, int]:
    return (
        address_order(listed.gpu.pci_address),
        listed.gpu.compute_partition or "",
        listed.device.partition or 0,
    )


def _not_there(path: Unreadable) -> Presence:
    return Gone() if isinstance(path, Absent) else NotSeen(str(path))
