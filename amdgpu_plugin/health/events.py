"""What the kernel says about GPUs, as typed events. Pure: made of a message's own properties, never of sysfs."""

from collections.abc import Mapping
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


def event_of(properties: Mapping[str, str]) -> Event | None:
    """The event a message's properties tell of; None for what is none of ours."""
    raise NotImplementedError
