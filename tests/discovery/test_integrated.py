import errno
import struct

import pytest

from amdgpu_plugin.capture_file import Entry
from amdgpu_plugin.discovery.integrated import is_integrated, read_integrated
from amdgpu_plugin.sysfs import Absent, Blob, Refused
from tests.discovery.trees import in_memory


def metrics(layout: int, content: int = 1) -> bytes:
    return struct.pack("<HBB", 120, layout, content).ljust(120, b"\xff")


@pytest.mark.parametrize(
    ("found", "integrated"),
    [
        (metrics(1, 3), False),
        (metrics(1, 8), False),
        (metrics(2, 4), True),
        (metrics(3, 0), True),
        (metrics(3)[:4], True),
        (metrics(3)[:3], None),
        (b"", None),
        (metrics(0), None),
        (metrics(4), None),
        (b"\xff" * 120, None),
    ],
)
def test_formats_2_and_3_are_apus_and_strange_ones_tell_nothing(
    found: bytes, *, integrated: bool | None
) -> None:
    assert is_integrated(found) is integrated


@pytest.mark.parametrize(
    ("status", "entry", "integrated"),
    [
        (Blob(b"active\n"), Blob(metrics(2)), True),
        (Blob(b"unsupported\n"), Blob(metrics(1)), False),
        (Absent(), Blob(metrics(2)), True),
        (Blob(b"active\n"), Absent(), None),
        (Blob(b"active\n"), Refused(errno.EPERM), None),
    ],
)
def test_what_cannot_be_read_is_not_known(status: Entry, entry: Entry, *, integrated: bool | None) -> None:
    tree = {"gpu/power/runtime_status": status, "gpu/gpu_metrics": entry}
    assert read_integrated(in_memory(tree), "gpu") is integrated


def test_a_gpu_that_sleeps_is_not_woken() -> None:
    tree: dict[str, Entry] = {
        "gpu/power/runtime_status": Blob(b"suspended\n"),
        "gpu/gpu_metrics": Blob(metrics(2)),
    }
    assert read_integrated(in_memory(tree), "gpu") is None
