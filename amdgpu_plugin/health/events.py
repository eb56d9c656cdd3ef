"""What the kernel says about GPUs, as typed events. Pure: made of a message's properties, never of sysfs."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class DriverBound:
    """amdgpu took the GPU (`bind`, the last message of a bind)."""

    address: str


@dataclass(frozen=True, slots=True)
class DriverLeft:
    """The GPU has no driver now (`unbind`)."""

    address: str


@dataclass(frozen=True, slots=True)
class Added:
    """An AMD display device appeared on the PCI bus."""

    address: str


@dataclass(frozen=True, slots=True)
class Removed:
    """A PCI device left its bus. Whether it was a GPU is known to who listed it."""

    address: str


@dataclass(frozen=True, slots=True)
class Wedged:
    """The GPU was reset or needs one: the words of WEDGED= in the kernel's order, as it spells them."""

    address: str
    methods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BusRecovery:
    """PCIe error recovery at a device or at a bridge above it; `path` is below the sysfs root."""

    path: str
    phase: Literal["begin", "failed", "recovered"]


@dataclass(frozen=True, slots=True)
class CoreDumped:
    """A driver left a device coredump at `path` (below the sysfs root); its `failing_device` names whose."""

    path: str


@dataclass(frozen=True, slots=True)
class ModuleChanged:
    """The amdgpu module came or went."""

    loaded: bool


@dataclass(frozen=True, slots=True)
class SriovChanged:
    """The number of virtual functions of a PCI device changed (`change`, without ERROR_EVENT)."""

    address: str


@dataclass(frozen=True, slots=True)
class NodesChanged:
    """DRM minors, xcp devices or KFD came or went: look again. `path` is below the sysfs root."""

    path: str


@dataclass(frozen=True, slots=True)
class Overrun:
    """Messages were lost: anything may have happened."""


Event = (
    DriverBound
    | DriverLeft
    | Added
    | Removed
    | Wedged
    | BusRecovery
    | CoreDumped
    | ModuleChanged
    | SriovChanged
    | NodesChanged
    | Overrun
)

_DISPLAY = frozenset({0x03, 0x12})
_BRIDGE = 0x06
_AMD = "1002"
_AMD_MODULE = "amdgpu"
_PCI_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_MINOR = re.compile(r"(?:card|renderD)\d+")
_XCP = re.compile(r"amdgpu_xcp[._]\d+")
_CAME_OR_WENT = frozenset({"add", "remove"})
_PHASES: Mapping[str, Literal["begin", "failed", "recovered"]] = {
    "BEGIN_RECOVERY": "begin",
    "FAILED_RECOVERY": "failed",
    "SUCCESSFUL_RECOVERY": "recovered",
}


def event_of(properties: Mapping[str, str]) -> Event | None:
    """The event a message's properties tell of; None for what is none of ours.

    What someone wrote to a `uevent` file, as `udevadm trigger` does, bears SYNTH_UUID. It says nothing of
    what happened to a device: at most, look again.
    """
    read = _READERS.get(properties.get("SUBSYSTEM", ""))
    if read is None:
        return None
    path = properties.get("DEVPATH", "").removeprefix("/")
    event = read(properties.get("ACTION", ""), path, properties)
    return NodesChanged(path) if event is not None and "SYNTH_UUID" in properties else event


def _pci_event(action: str, path: str, properties: Mapping[str, str]) -> Event | None:
    address = _pci_address(path)
    if address is None:
        return None
    match action:
        case "bind" if properties.get("DRIVER") == _AMD_MODULE:
            return DriverBound(address)
        case "unbind" if _may_be_ours(properties):
            return DriverLeft(address)
        case "add" if _pci_class(properties) in _DISPLAY and _vendor(properties) == _AMD:
            return Added(address)
        case "remove" if _may_be_display(properties):
            return Removed(address)
        case "change" if "ERROR_EVENT" in properties:
            return _bus_recovery(path, properties)
        case "change" if _may_be_ours(properties):
            return SriovChanged(address)
    return None


def _bus_recovery(path: str, properties: Mapping[str, str]) -> BusRecovery | None:
    """`ERROR_EVENT=`, sent for every device below the port that met the error (pci_uevent_ers)."""
    phase = _PHASES.get(properties["ERROR_EVENT"])
    concerns_gpu = _may_be_display(properties) or _pci_class(properties) == _BRIDGE
    return BusRecovery(path, phase) if phase is not None and concerns_gpu else None


def _drm_event(action: str, path: str, properties: Mapping[str, str]) -> Event | None:
    """Minors and their wedges; connectors are children of a card, and screens none of ours."""
    device, _, name = path.rpartition("/drm/")
    if _MINOR.fullmatch(name) is None:
        return None
    if action in _CAME_OR_WENT:
        return NodesChanged(path)
    address = _pci_address(device)
    if action != "change" or "WEDGED" not in properties or address is None:
        return None
    return Wedged(address, tuple(filter(None, properties["WEDGED"].split(","))))


def _platform_event(action: str, path: str, _: Mapping[str, str]) -> NodesChanged | None:
    """A partition's device; `amdgpu_xcp.3` and `amdgpu_xcp_3` are both in use."""
    known = _XCP.fullmatch(_name(path)) is not None
    return NodesChanged(path) if known and action in _CAME_OR_WENT else None


def _kfd_event(action: str, path: str, _: Mapping[str, str]) -> NodesChanged | None:
    return NodesChanged(path) if action in _CAME_OR_WENT else None


def _driver_event(action: str, path: str, _: Mapping[str, str]) -> NodesChanged | None:
    ours = path == f"bus/pci/drivers/{_AMD_MODULE}"
    return NodesChanged(path) if ours and action in _CAME_OR_WENT else None


def _module_event(action: str, path: str, _: Mapping[str, str]) -> ModuleChanged | None:
    ours = path == f"module/{_AMD_MODULE}"
    return ModuleChanged(loaded=action == "add") if ours and action in _CAME_OR_WENT else None


def _coredump_event(action: str, path: str, _: Mapping[str, str]) -> CoreDumped | None:
    return CoreDumped(path) if action == "add" else None


_READERS: Mapping[str, Callable[[str, str, Mapping[str, str]], Event | None]] = {
    "pci": _pci_event,
    "drm": _drm_event,
    "platform": _platform_event,
    "kfd": _kfd_event,
    "drivers": _driver_event,
    "module": _module_event,
    "devcoredump": _coredump_event,
}

SUBSYSTEMS = frozenset(_READERS)
"""Of whatever happens on a machine, these may concern a GPU."""


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _pci_address(path: str) -> str | None:
    """That of the device at `path`; None where it is none of the PCI bus."""
    name = _name(path)
    return name if _PCI_ADDRESS.fullmatch(name) else None


def _pci_class(properties: Mapping[str, str]) -> int | None:
    """The base class: PCI_CLASS is all 24 bits in hex, without leading zeros (pci_uevent)."""
    try:
        return int(properties.get("PCI_CLASS", ""), 16) >> 16
    except ValueError:
        return None


def _vendor(properties: Mapping[str, str]) -> str | None:
    """As `1002`, in upper case; None where the message says nothing."""
    return properties["PCI_ID"].partition(":")[0] if "PCI_ID" in properties else None


def _may_be_display(properties: Mapping[str, str]) -> bool:
    """Unless the message says otherwise: who listed the device knows what it is."""
    return _pci_class(properties) in {None, *_DISPLAY}


def _may_be_ours(properties: Mapping[str, str]) -> bool:
    """A display device of AMD, unless the message says otherwise."""
    return _vendor(properties) in {None, _AMD} and _may_be_display(properties)
