"""Whether a GPU is there: on the bus, bound to amdgpu, with its nodes. Cheap, and wakes nothing."""

import os
import re
from dataclasses import dataclass

from amdgpu_plugin.sysfs import Absent, Blob, Names, Path, Sysfs, Text
from amdgpu_plugin.telemetry import runtime_status
from amdgpu_plugin.telemetry.numbers import bare

DEVICES = "bus/pci/devices"
_MINORS = "class/drm"
_HEADER_HEAD = 16
"""Bytes looked at of the PCI header. A virtual function's vendor and device read ffff as well."""
_MODE = re.compile(r"[A-Z]PX")


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


def look(sysfs: Sysfs, address: str, nodes: tuple[str, ...], dev_root: str | None) -> Presence:
    """A GPU by its PCI address. Blocks: for the GPU's lane.

    `nodes` are the render nodes of its devices as listed (`renderD128`), its own first; `dev_root` is where
    the host's /dev can be seen, if anywhere. What cannot be read is no fault.
    """
    path = sysfs.resolve(f"{DEVICES}/{address}")
    if not isinstance(path, Path):
        return _missed(sysfs) if isinstance(path, Absent) else NotSeen(str(path))
    link = sysfs.link(f"{path.value}/driver")
    driver = link.value.rpartition("/")[2] if isinstance(link, Text) else None
    if driver != "amdgpu":
        return Unbound(driver) if isinstance(link, Text | Absent) else NotSeen(str(link))
    return Bound(
        path.value,
        _compute_partition(sysfs, path.value),
        missing_nodes=_missing(sysfs, path.value, nodes, dev_root),
        silent=_is_silent(sysfs, path.value),
    )


def _missed(sysfs: Sysfs) -> Presence:
    """Gone only from a bus that can be seen: else it is our /sys that is gone, and not the GPU."""
    bus = sysfs.resolve(DEVICES)
    return Gone() if isinstance(bus, Path) else NotSeen(f"{DEVICES}: {bus}")


def _compute_partition(sysfs: Sysfs, path: str) -> str | None:
    mode = sysfs.read(f"{path}/current_compute_partition")
    known = _MODE.fullmatch(bare(mode.value)) if isinstance(mode, Text) else None
    return known[0] if known else None


def _missing(sysfs: Sysfs, path: str, nodes: tuple[str, ...], dev_root: str | None) -> tuple[str, ...]:
    own = _own_render_nodes(sysfs, path)
    if own is None or (own and own.isdisjoint(nodes)):
        return ()  # bound anew, under other numbers: what was listed is no measure any more
    gone = {node for node in nodes if node not in own and isinstance(sysfs.link(f"{_MINORS}/{node}"), Absent)}
    if not own:
        gone.update(nodes[:1])  # its number may be another GPU's by now
    return tuple(
        node if node in gone else f"{node} (/dev)"
        for node in nodes
        if node in gone or _is_hidden(node, dev_root)
    )


def _own_render_nodes(sysfs: Sysfs, path: str) -> frozenset[str] | None:
    """Of the PCI device itself, not of its partitions; None where that is not told."""
    names = sysfs.list(f"{path}/drm")
    if isinstance(names, Names):
        return frozenset(name for name in names.value if name.startswith("renderD"))
    return frozenset() if isinstance(names, Absent) else None


def _is_hidden(node: str, dev_root: str | None) -> bool:
    """True where the host's /dev can be seen and has not the node."""
    if not dev_root or not os.path.isdir(f"{dev_root}/dri"):
        return False
    try:
        os.stat(f"{dev_root}/dri/{node}")
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _is_silent(sysfs: Sysfs, path: str) -> bool:
    """True where an active GPU's PCI header is all ones. Of any other it is not read: that would wake it."""
    status = sysfs.read(f"{path}/{runtime_status.FILE}")
    if not isinstance(status, Text) or not runtime_status.is_active(status.value):
        return False
    header = sysfs.read_bytes(f"{path}/config")
    return isinstance(header, Blob) and set(header.value[:_HEADER_HEAD]) == {0xFF}
