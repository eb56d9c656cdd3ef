"""Values as people read them. What is not known says so. Pure."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

from amdgpu_plugin.discovery.inventory import Link
from amdgpu_plugin.exposition.markup import Inside, element

UNKNOWN = "not known"
OLD_ROUNDS, OLD_SECONDS = 3.0, 10.0
"""Readings are old when so many rounds and seconds have gone by."""
_KIND_NAMES = {"xgmi": "XGMI", "pcie": "PCIe", "internal": "inside the GPU"}
_GIB = 2**30
_NO_DECIMALS_FROM = 100


def counted(number: int, noun: str) -> str:
    """`1 device`, `8 devices`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def with_unit(value: float | None, unit: str) -> str:
    """`61 °C`."""
    return UNKNOWN if value is None else f"{value:.0f} {unit}"


def percent(ratio: float | None) -> str:
    """`87 %`."""
    return with_unit(None if ratio is None else ratio * 100, "%")


def gib(size_bytes: float | None) -> str:
    """`192 GiB`, `0.3 GiB`."""
    return UNKNOWN if size_bytes is None else f"{_gib(size_bytes)} GiB"


def part_of(used: float | None, size: float | None, unit: str) -> str:
    """`140 of 750 W`; for bytes the unit is GiB."""
    if used is None:
        return UNKNOWN if size is None else f"{UNKNOWN}, of {_amount(size, unit)} {unit}"
    return (
        f"{_amount(used, unit)} {unit}"
        if size is None
        else f"{_amount(used, unit)} of {_amount(size, unit)} {unit}"
    )


def link_words(kind: str, weight: int | None, bandwidth_mb_s: int | None) -> str:
    """`XGMI, weight 15, 64 GB/s`; what is not known of a link is left out."""
    parts = (
        _KIND_NAMES[kind],
        None if weight is None else f"weight {weight}",
        None if bandwidth_mb_s is None else f"{bandwidth_mb_s / 1000:g} GB/s",
    )
    return ", ".join(filter(None, parts))


def link_key(link: Link) -> tuple[str, int | None, int | None]:
    """What makes two links of one sort."""
    return (link.kind, link.weight, link.bandwidth_mb_s)


def moment(unix: float | None, *, old_after: float | None = None) -> list[Inside]:
    """A time in UTC, and room for how long ago that is: the script fills it, by the daemon's clock.

    From `old_after` seconds on the script says that it is old.
    """
    try:
        at = datetime.fromtimestamp(unix if unix is not None else float("nan"), UTC)
    except (ValueError, OverflowError, OSError):
        return [UNKNOWN]
    written = at.strftime("%Y-%m-%d %H:%M:%S UTC")
    ago = element("span", class_="ago", data_since=f"{unix:.3f}", data_old_after=old_after)
    return [element("time", written, datetime=at.strftime("%Y-%m-%dT%H:%M:%SZ")), " ", ago]


def prose(text: str) -> list[Inside]:
    """Sentences with `code` in them."""
    return [
        element("code", part) if number % 2 else part
        for number, part in enumerate(re.split("`([^`]*)`", text))
        if part
    ]


def definitions(pairs: Iterable[tuple[str, Iterable[Inside]]]) -> Element:
    """A list of terms and what is known of each."""
    return element("dl", *_definitions(pairs))


def _definitions(pairs: Iterable[tuple[str, Iterable[Inside]]]) -> Iterator[Element]:
    for term, told in pairs:
        yield element("div", element("dt", term), element("dd", *told))


def _amount(value: float, unit: str) -> str:
    return _gib(value) if unit == "GiB" else f"{value:.0f}"


def _gib(size_bytes: float) -> str:
    gib_ = size_bytes / _GIB
    return f"{gib_:.0f}" if gib_ >= _NO_DECIMALS_FROM or gib_ == round(gib_) else f"{gib_:.1f}"
