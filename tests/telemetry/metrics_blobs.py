"""gpu_metrics as the kernel fills it, field by field, at the offsets of kgd_pp_interface.h.

Everything not given is all ones, as smu_cmn_init_soft_gpu_metrics leaves it.
"""

import struct
from collections.abc import Iterable


def structure(
    size: int, layout: int, content: int, fields: Iterable[tuple[int, str, tuple[int, ...]]] = ()
) -> bytes:
    """`fields` are (offset, format, values)."""
    blob = bytearray(b"\xff" * size)
    struct.pack_into("<HBB", blob, 0, size, layout, content)
    for offset, form, values in fields:
        struct.pack_into(f"<{form}", blob, offset, *values)
    return bytes(blob)


TYPES = {"B": 0, "b": 1, "H": 2, "h": 3, "I": 4, "i": 5, "Q": 6, "q": 7}


def attribute(number: int, kind: str, values: tuple[int, ...], *, unit: int = 0) -> bytes:
    """One attribute of 1.9."""
    code = unit << 24 | TYPES[kind] << 20 | number << 10 | len(values)
    return struct.pack("<Q", code) + struct.pack(f"<{len(values)}{kind}", *values)


def table(*attributes: bytes, count: int | None = None, size: int | None = None) -> bytes:
    """A whole gpu_metrics 1.9."""
    body = b"".join(attributes)
    head = struct.pack(
        "<HBBi",
        size if size is not None else 8 + len(body),
        1,
        9,
        len(attributes) if count is None else count,
    )
    return head + body
