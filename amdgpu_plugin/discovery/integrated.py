"""Whether a GPU is an APU: the header of its `gpu_metrics`.

The kernel's structures (kgd_pp_interface.h, metrics_table_header) begin with u16 size, u8 format, u8 content.
Discrete cards have format 1 (MI300A as well), APUs 2 or 3.
"""

import struct

from amdgpu_plugin.sysfs import Blob, Sysfs, Text

_HEADER = struct.Struct("<HBB")
_DISCRETE, _APU = frozenset({1}), frozenset({2, 3})


def read_integrated(sysfs: Sysfs, path: str) -> bool | None:
    """True for an APU, None where nothing tells. A suspended GPU is not woken. Blocks: for its lane."""
    status = sysfs.read(f"{path}/power/runtime_status")
    if isinstance(status, Text) and status.value.strip() == "suspended":
        return None
    metrics = sysfs.read_bytes(f"{path}/gpu_metrics")
    return is_integrated(metrics.value) if isinstance(metrics, Blob) else None


def is_integrated(metrics: bytes) -> bool | None:
    """By the first four bytes; None for too few of them, and for a format nobody here knows."""
    if len(metrics) < _HEADER.size:
        return None
    _, layout, _ = _HEADER.unpack_from(metrics)
    return layout in _APU if layout in _APU | _DISCRETE else None
