"""DRM minors: `/sys/class/drm/{cardN,renderDM}` and the devices they belong to.

A card's number is not its render node's less 128: a server's BMC takes card0 and has no render node. The
kernel names a render node after its minor number (128–191; 192 and up once those are full, since 6.12).
"""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from amdgpu_plugin.discovery.inventory import Skipped
from amdgpu_plugin.sysfs import Absent, Names, Path, Sysfs, Text

CLASS = "class/drm"

_MINOR = re.compile(r"(card|renderD)(0|[1-9][0-9]{0,6})")
# Spelled with a dot by DKMS 6.7 and Ubuntu 6.8, with an underscore in mainline (amdgpu_xcp_drv.c).
_XCP = re.compile(r"amdgpu_xcp[._](\d+)")


Kind = Literal["card", "render"]


@dataclass(frozen=True, slots=True)
class Minor:
    """A card or render node. `device` is the path of the device it belongs to, below the root."""

    name: str
    kind: Kind
    number: int
    device: str

    @property
    def xcp_number(self) -> int | None:
        """The number of a compute partition's platform device; None for any other device."""
        return _xcp_number(self.device)

    @property
    def is_xcp(self) -> bool:
        """True for a compute partition's platform device, which says nothing about its GPU."""
        return self.xcp_number is not None


@lru_cache(maxsize=1024)
def _xcp_number(device: str) -> int | None:
    found = _XCP.fullmatch(posixpath.basename(device))
    return int(found[1]) if found else None


@dataclass(frozen=True)
class DrmMinors:
    """All minors by number, and what in class/drm could not be followed."""

    minors: tuple[Minor, ...]
    skipped: tuple[Skipped, ...]

    def of(self, device: str, kind: Kind) -> Minor | None:
        """The first minor of that kind which belongs to the device."""
        return self._by_device.get((device, kind))

    @cached_property
    def render_nodes(self) -> Mapping[int, Minor]:
        """Render nodes by minor number, in their order."""
        return {minor.number: minor for minor in self.minors if minor.kind == "render"}

    @cached_property
    def _by_device(self) -> Mapping[tuple[str, Kind], Minor]:
        return {(minor.device, minor.kind): minor for minor in reversed(self.minors)}


def read_minors(sysfs: Sysfs) -> DrmMinors:
    """Every card and render node; connectors and control nodes are left out. Reads links only."""
    names = sysfs.list(CLASS)
    if not isinstance(names, Names):
        absent = "no DRM: the amdgpu module is not loaded, or has no GPU"
        return DrmMinors((), (Skipped(CLASS, absent if isinstance(names, Absent) else str(names)),))
    minors: list[Minor] = []
    skipped: list[Skipped] = []
    for name in names.value:
        found = _MINOR.fullmatch(name)
        if found is None:
            continue
        device = _device_of(sysfs, name)
        if isinstance(device, Skipped):
            skipped.append(device)
        else:
            minors.append(Minor(name, "card" if found[1] == "card" else "render", int(found[2]), device))
    return DrmMinors(tuple(sorted(minors, key=lambda minor: (minor.kind, minor.number))), tuple(skipped))


def _device_of(sysfs: Sysfs, name: str) -> str | Skipped:
    path = f"{CLASS}/{name}"
    link = sysfs.link(path)
    if isinstance(link, Text):
        # One readlink tells: ../../devices/…/0000:05:00.0/drm/renderD128
        device = link.value.removeprefix("../../").removesuffix(f"/drm/{name}")
        if link.value == f"../../{device}/drm/{name}" and ".." not in device:
            return device
    resolved = sysfs.resolve(f"{path}/device")
    return (
        resolved.value
        if isinstance(resolved, Path)
        else Skipped(path, f"its device cannot be followed: {resolved}")
    )
