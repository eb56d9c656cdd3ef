"""gpu_metrics 1.9: a table of attributes, each a u64 code and its values, packed, little-endian.

i32 count at byte 4, the first code at byte 8. Of a code, bits 0–9 are how many values follow, 10–19 which
attribute they are, 20–23 their type, 24–31 their unit. (AMDGPU_METRICS_ENC_ATTR and the enums before it in
the kernel's drivers/gpu/drm/amd/include/kgd_pp_interface.h)
"""

import struct
from collections.abc import Mapping

ENERGY, TICKS = (7, 0), (9, 0)
CAUSES = ((10, 0), (11, 0), (12, 0), (13, 0), (14, 0))
XGMI_READ, XGMI_WRITTEN = (29, 9), (30, 9)
"""Attributes by number and unit (0 none, 9 KB). In another unit it is another attribute."""

_COUNT, _FIRST = 4, 8
_TYPES = "BbHhIiQq"


class UnknownTypeError(ValueError):
    """A value's type is none of ours, so that nobody knows where the next attribute begins."""


class ShortTableError(ValueError):
    """The table ends before its last attribute does."""


def parse_attributes(table: bytes) -> Mapping[tuple[int, int], tuple[int, ...]]:
    """Values by attribute number and unit. Raises UnknownTypeError, ShortTableError."""
    found: dict[tuple[int, int], tuple[int, ...]] = {}
    try:
        (count,) = struct.unpack_from("<i", table, _COUNT)
        at = _FIRST
        for _ in range(count):
            (code,) = struct.unpack_from("<Q", table, at)
            values = struct.Struct(f"<{code & 0x3FF}{_type(code)}")
            found[code >> 10 & 0x3FF, code >> 24 & 0xFF] = values.unpack_from(table, at + 8)
            at += 8 + values.size
    except struct.error as error:
        raise ShortTableError(str(error)) from error
    return found


def _type(code: int) -> str:
    number = code >> 20 & 0xF
    if number >= len(_TYPES):
        raise UnknownTypeError(f"type {number}")
    return _TYPES[number]
