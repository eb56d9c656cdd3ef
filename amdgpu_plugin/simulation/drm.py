"""DRM minors: which numbers a device gets, and what its folder and links look like."""

from collections.abc import Iterable
from dataclasses import dataclass

from amdgpu_plugin.simulation import uevents
from amdgpu_plugin.simulation.tree import Content, Entries, Link

XCPS_PER_GPU = 7
"""amdgpu registers MAX_XCP - 1 platform devices for every GPU that can be partitioned, in every mode."""

_PRIMARY, _RENDER, _EXTENDED = 0, 128, 192
_MINORS_PER_TYPE = 64
_XCP_DEVICES = 64


@dataclass(frozen=True, slots=True)
class Minors:
    """A device's two numbers, as in `card1` and `renderD128`."""

    card: int
    render: int

    @property
    def names(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """Names and numbers in the order of their registration."""
        return (f"renderD{self.render}", self.render), (f"card{self.card}", self.card)


@dataclass(frozen=True, slots=True)
class Xcp:
    """A partition's platform device `amdgpu_xcp_<number>`."""

    number: int
    minors: Minors

    @property
    def name(self) -> str:
        """Its name on the platform bus."""
        return f"amdgpu_xcp_{self.number}"

    @property
    def path(self) -> str:
        """Relative to the sysfs root."""
        return f"devices/platform/{self.name}"


class MinorTable:
    """The kernel's table of minors: lowest free first.

    `extended`: since Linux 6.12 what finds no room among its 64 gets a number from 192 up; before, the
    kernel answers ENOSPC (drm_minor_alloc in drm_drv.c).
    """

    def __init__(self, *, extended: bool) -> None:
        """Empty."""
        self._extended = extended
        self._minors: set[int] = set()
        self._xcps: set[int] = set()

    def take_card(self) -> int:
        """A primary minor alone, as a display without a render node has."""
        card = self._take(_PRIMARY)
        assert card is not None
        return card

    def take(self) -> Minors | None:
        """A render and a primary minor; None when the kernel has no more."""
        render = self._take(_RENDER)
        card = self._take(_PRIMARY)
        if render is None or card is None:
            self._minors -= {minor for minor in (render, card) if minor is not None}
            return None
        return Minors(card=card, render=render)

    def take_xcps(self) -> tuple[Xcp, ...]:
        """A GPU's seven partition devices; amdgpu goes on without those that get no minor."""
        xcps = []
        for _ in range(XCPS_PER_GPU):
            minors = self.take()
            number = next(number for number in range(_XCP_DEVICES) if number not in self._xcps)
            if minors is not None:
                self._xcps.add(number)
                xcps.append(Xcp(number, minors))
        return tuple(xcps)

    def give_back(self, own: Minors, xcps: Iterable[Xcp]) -> None:
        """The driver has left."""
        for minors in (own, *(xcp.minors for xcp in xcps)):
            self._minors -= {minors.card, minors.render}
        self._xcps -= {xcp.number for xcp in xcps}

    def _take(self, base: int) -> int | None:
        free = (minor for minor in range(base, base + _MINORS_PER_TYPE) if minor not in self._minors)
        minor = next(free, None)
        if minor is None and self._extended:
            minor = next(minor for minor in range(_EXTENDED, 1 << 20) if minor not in self._minors)
        if minor is not None:
            self._minors.add(minor)
        return minor


def minor_entries(device: str, name: str, minor: int) -> Entries:
    """`drm/<name>` below a device, and the link in class/drm."""
    path = f"{device}/drm/{name}"
    return {
        f"{path}/dev": f"226:{minor}\n".encode(),
        f"{path}/uevent": uevents.text_of(uevents.drm_pairs(name, minor)),
        f"{path}/power/control": b"auto\n",
        f"{path}/power/runtime_status": b"unsupported\n",
        f"{path}/device": Link(device),
        f"{path}/subsystem": Link("class/drm"),
        f"class/drm/{name}": Link(path),
    }


def connector_entries(device: str, card: str, connector: str) -> Entries:
    """A display output, a child of its card."""
    path = f"{device}/drm/{card}/{card}-{connector}"
    return {
        f"{path}/uevent": b"DEVTYPE=drm_connector\n",
        f"{path}/status": b"disconnected\n",
        f"{path}/enabled": b"disabled\n",
        f"{path}/device": Link(f"{device}/drm/{card}"),
        f"{path}/subsystem": Link("class/drm"),
        f"class/drm/{card}-{connector}": Link(path),
    }


def xcp_entries(xcp: Xcp) -> Entries:
    """A partition's platform device without its minors. It has no vendor, no driver and no NUMA node."""
    return {
        f"{xcp.path}/uevent": uevents.text_of(xcp_pairs(xcp)),
        f"{xcp.path}/modalias": f"platform:{xcp.name}\n".encode(),
        f"{xcp.path}/driver_override": b"(null)\n",
        f"{xcp.path}/power/control": b"auto\n",
        f"{xcp.path}/power/runtime_status": b"unsupported\n",
        f"{xcp.path}/subsystem": Link("bus/platform"),
        f"bus/platform/devices/{xcp.name}": Link(xcp.path),
    }


def xcp_pairs(xcp: Xcp) -> list[tuple[str, str]]:
    """What platform_uevent() adds."""
    return [("MODALIAS", f"platform:{xcp.name}")]


def gpu_extras(device: str, card: int, connectors: Iterable[str]) -> Entries:
    """What a GPU's `drm` folder holds besides its minors: outputs, and the old name of its card."""
    entries: dict[str, Content] = {f"{device}/drm/controlD{card + 64}": Link(f"{device}/drm/card{card}")}
    for connector in connectors:
        entries |= connector_entries(device, f"card{card}", connector)
    return entries
