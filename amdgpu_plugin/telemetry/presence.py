"""Whether a GPU is there: on the bus, bound to amdgpu, with its nodes. Cheap, and wakes nothing."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bound:
    """On the bus and bound to amdgpu.

    `path` is its directory below the sysfs root (`devices/pci0000:00/…/0000:05:00.0`), so that an event at a
    bridge above it is known to concern it. `compute_partition` is what its mode file says, None if it does
    not say. `missing_nodes` are the render nodes that should be there and are not: `renderD128` gone from
    sysfs, or `renderD128 (/dev)` under a visible --dev-root. `silent` is True when its PCI configuration
    reads all ones although its runtime status is active.
    """

    path: str
    compute_partition: str | None
    missing_nodes: tuple[str, ...] = ()
    silent: bool = False


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
