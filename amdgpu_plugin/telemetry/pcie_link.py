"""A GPU's PCIe link: `{current,max}_link_{speed,width}` of the PCI core.

`16.0 GT/s PCIe` (older kernels: `16 GT/s`) and a number of lanes. On RDNA cards and some Vega the GPU sits
behind a switch on the card, so that its own link is the card's inner one; the slot's link is that of the
switch's upstream port, two levels up.
"""

import re
from dataclasses import dataclass
from typing import TypeVar

from amdgpu_plugin.telemetry.numbers import bare, parse_integer
from amdgpu_plugin.telemetry.readings import PcieLink

_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.ASCII)
_SPEED = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,2})?) GT/s(?: PCIe)?", re.ASCII)
_AMD, _BRIDGE_CLASS = "0x1002", "0x0604"
_MOST_LANES = 32
_GIGA = 1e9

N = TypeVar("N", int, float)


@dataclass(frozen=True, slots=True)
class Most:
    """What one end of a link can do: its `max_link_speed` and `max_link_width`, None for an absent file."""

    speed: str | None
    width: str | None


def port_above(path: str) -> str | None:
    """The folder of the port a device hangs on; None at the root of a bus."""
    above = path.rpartition("/")[0]
    return above if _ADDRESS.fullmatch(above.rpartition("/")[2]) else None


def is_switch_of_card(vendor: str | None, pci_class: str | None) -> bool:
    """True for a bridge that AMD's graphics division made: CPUs' ports bear vendor 0x1022."""
    return bare(vendor or "") == _AMD and bare(pci_class or "").startswith(_BRIDGE_CLASS)


def parse_link(speed: str | None, width: str | None, own: Most, port: Most) -> PcieLink | None:
    """The link as it is now, and the most that both of its ends can do; None where nothing is told.

    `own` is the end below, `port` the one above. A port without such files (there is none, or it is no PCIe
    device) sets no limit; one whose answer is no number leaves the most unknown: in a slot of unknown speed
    any card might look degraded.
    """
    link = PcieLink(
        parse_speed(speed),
        parse_width(width),
        _both(parse_speed(own.speed), port.speed, parse_speed(port.speed)),
        _both(parse_width(own.width), port.width, parse_width(port.width)),
    )
    return link if link != PcieLink(None, None, None, None) else None


def parse_speed(text: str | None) -> float | None:
    """Transfers a second; None for `Unknown` and `Unknown speed`."""
    found = _SPEED.fullmatch(bare(text or ""))
    return float(found[1]) * _GIGA if found else None


def parse_width(text: str | None) -> int | None:
    """Lanes; None for 0 (no link) and for all-ones in the register's bits (63, 255)."""
    value = parse_integer(text)
    return value if value is not None and 1 <= value <= _MOST_LANES else None


def _both(own: N | None, port_text: str | None, port: N | None) -> N | None:
    if own is None or port_text is None:
        return own
    return None if port is None else min(own, port)
