"""`<device>/gpu_metrics`: what the firmware tells at once, in a structure whose version its header names.

u16 size, u8 format, u8 content; the file may be longer than `size`. A field of all ones was not filled. Taken
from it is only what no other file has: energy, throttling, XGMI traffic, how busy each partition is.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

from amdgpu_plugin.telemetry import gpu_metrics_attributes as attributes
from amdgpu_plugin.telemetry.gpu_metrics_layouts import LAYOUTS, Layout, Partitions
from amdgpu_plugin.telemetry.readings import MetricsFormat, Throttling, XgmiTraffic

_HEADER = struct.Struct("<HBB")
_ALL_ONES = b"\xff" * _HEADER.size
_ATTRIBUTE_TABLE = (1, 9)
_NOT_FILLED = frozenset({2**32 - 1, 2**64 - 1})  # drivers write UINT_MAX into u64 fields as well
_JOULE = 1 << 16
_KB = 1024
_LINKS, _PARTITIONS, _COMPUTE_DIES = 8, 8, 8
_PERCENT = 100
_CAUSES = ("prochot", "ppt", "socket_thermal", "vr_thermal", "hbm_thermal")


@dataclass(frozen=True, slots=True)
class GpuMetrics:
    """None = not told. `unknown` is the header of a version or size that is none of ours.

    `throttle_bits` are causes in force now, bits as throttle.py names them.
    """

    format: MetricsFormat | None = None
    unknown: MetricsFormat | None = None
    energy_joules: float | None = None
    throttle_bits: int | None = None
    throttling: Throttling | None = None
    xgmi: tuple[XgmiTraffic, ...] = ()
    partition_busy_ratios: tuple[float | None, ...] = ()


def parse_gpu_metrics(blob: bytes) -> GpuMetrics:
    """Of a blob shorter than it says it is, nothing but the header is believed; of no header, nothing."""
    if len(blob) < _HEADER.size or blob.startswith(_ALL_ONES):
        return GpuMetrics()
    header = MetricsFormat(*_HEADER.unpack_from(blob))
    told = GpuMetrics(format=header)
    version = (header.format, header.content)
    layout = LAYOUTS.get(version)
    if version != _ATTRIBUTE_TABLE and (layout is None or layout.size != header.size):
        return replace(told, unknown=header)
    if len(blob) < header.size:
        return told
    if layout is not None:
        return _parse_structure(told, layout, blob)
    return _parse_table(told, blob[: header.size])


def _parse_structure(told: GpuMetrics, layout: Layout, blob: bytes) -> GpuMetrics:
    def numbers(kind: str, count: int, at: int | None) -> Sequence[int]:
        return () if at is None else struct.unpack_from(f"<{count}{kind}", blob, at)

    links = numbers("Q", 2 * _LINKS, layout.xgmi)
    return replace(
        told,
        energy_joules=_energy(numbers("Q", 1, layout.energy)) if _has_energy(layout, blob) else None,
        throttle_bits=_first(numbers("Q", 1, layout.throttle)),
        throttling=_throttling(numbers("I", 1 + len(_CAUSES), layout.ticks)),
        xgmi=_xgmi(links[:_LINKS], links[_LINKS:]),
        partition_busy_ratios=_busy(layout.partitions, blob) if layout.partitions else (),
    )


def _parse_table(told: GpuMetrics, table: bytes) -> GpuMetrics:
    try:
        found = attributes.parse_attributes(table)
    except attributes.UnknownTypeError:
        return replace(told, unknown=told.format)
    except attributes.ShortTableError:
        return told
    causes = [_first(found.get(cause, ())) for cause in attributes.CAUSES]
    return replace(
        told,
        energy_joules=_energy(found.get(attributes.ENERGY, ())),
        throttling=_throttling([_first(found.get(attributes.TICKS, ())), *causes]),
        xgmi=_xgmi(found.get(attributes.XGMI_READ, ()), found.get(attributes.XGMI_WRITTEN, ())),
    )


def _has_energy(layout: Layout, blob: bytes) -> bool:
    """Whether its energy has a known unit.

    Until 1.3 that is so on MI200, which alone tells the temperatures of its HBM stacks; an RX 6900 XT counts
    something near mJ.
    """
    if layout.energy_if is None:
        return True
    return any(value not in {0, 0xFFFF} for value in struct.unpack_from("<4H", blob, layout.energy_if))


def _filled(value: int | None) -> int | None:
    return None if value is None or value in _NOT_FILLED or value < 0 else value


def _first(values: Sequence[int]) -> int | None:
    return _filled(values[0]) if values else None


def _energy(values: Sequence[int]) -> float | None:
    """A GPU that does not count its energy tells 0 for ever: none is told."""
    energy = _first(values)
    return energy / _JOULE if energy else None


def _throttling(values: Sequence[int | None]) -> Throttling | None:
    ticks = _filled(values[0]) if values else None
    if ticks is None:
        return None
    told = zip(_CAUSES, (_filled(value) for value in values[1:]), strict=True)
    return Throttling(ticks, {cause: value for cause, value in told if value is not None})


def _xgmi(read: Sequence[int], written: Sequence[int]) -> tuple[XgmiTraffic, ...]:
    count = max(len(read), len(written))
    both = [[_bytes(values, link) for values in (read, written)] for link in range(count)]
    return tuple(XgmiTraffic(link, *each) for link, each in enumerate(both) if each != [None, None])


def _bytes(values: Sequence[int], link: int) -> int | None:
    kilobytes = _filled(values[link]) if link < len(values) else None
    return None if kilobytes is None else kilobytes * _KB


def _busy(partitions: Partitions, blob: bytes) -> tuple[float | None, ...]:
    """The mean of each partition's compute dies."""
    (count,) = struct.unpack_from("<H", blob, partitions.count)
    if count > _PARTITIONS:
        return ()
    places = (partitions.first + number * partitions.stride for number in range(count))
    return tuple(_mean(struct.unpack_from(f"<{_COMPUTE_DIES}I", blob, place)) for place in places)


def _mean(percentages: Sequence[int]) -> float | None:
    told = [value for value in percentages if value <= _PERCENT]
    return sum(told) / len(told) / _PERCENT if told else None
