"""Every version of gpu_metrics; offsets by hand from the kernel's kgd_pp_interface.h."""

import struct
from dataclasses import dataclass

import pytest

from amdgpu_plugin.capture_file import load_capture
from amdgpu_plugin.sysfs import Blob
from amdgpu_plugin.telemetry.gpu_metrics import GpuMetrics, parse_gpu_metrics
from amdgpu_plugin.telemetry.readings import MetricsFormat, Throttling, XgmiTraffic
from tests.telemetry.metrics_blobs import attribute, structure, table

JOULE = 65536
TICKS = (1000, 1, 870, 2, 3, 4)
CAUSES = {"prochot": 1, "ppt": 870, "socket_thermal": 2, "vr_thermal": 3, "hbm_thermal": 4}
READ, WRITTEN = (0, 1, 2, 3, 4, 5, 6, 2**64 - 1), (7, 8, 9, 10, 11, 12, 13, 2**64 - 1)
TRAFFIC = tuple(
    XgmiTraffic(link, read * 1024, written * 1024)
    for link, (read, written) in enumerate(zip(READ[:7], WRITTEN[:7], strict=True))
)
HBM = (50, 51, 52, 53)


@pytest.mark.parametrize(("size", "content"), [(96, 1), (104, 2), (120, 3)])
def test_energy_until_1_3_is_told_of_boards_with_hbm(size: int, content: int) -> None:
    blob = structure(size, 1, content, [(24, "Q", (5 * JOULE,)), (88, "4H", HBM)])
    assert parse_gpu_metrics(blob) == GpuMetrics(MetricsFormat(size, 1, content), energy_joules=5.0)


@pytest.mark.parametrize("hbm", [(0xFFFF,) * 4, (0,) * 4])
def test_energy_until_1_3_of_other_cards_has_no_known_unit(hbm: tuple[int, ...]) -> None:
    blob = structure(120, 1, 3, [(24, "Q", (17691682,)), (88, "4H", hbm)])
    assert parse_gpu_metrics(blob).energy_joules is None


def test_1_3_ends_with_causes_of_throttling() -> None:
    blob = structure(120, 1, 3, [(112, "Q", (1 << 36 | 1,))])
    assert parse_gpu_metrics(blob) == GpuMetrics(MetricsFormat(120, 1, 3), throttle_bits=1 << 36 | 1)


@pytest.mark.parametrize(("size", "content", "energy", "xgmi"), [(288, 4, 24, 104), (360, 5, 88, 176)])
def test_1_4_and_1_5_have_energy_and_xgmi_traffic(size: int, content: int, energy: int, xgmi: int) -> None:
    blob = structure(
        size, 1, content, [(energy, "Q", (JOULE // 2,)), (xgmi, "8Q", READ), (xgmi + 64, "8Q", WRITTEN)]
    )
    assert parse_gpu_metrics(blob) == GpuMetrics(
        MetricsFormat(size, 1, content), energy_joules=0.5, xgmi=TRAFFIC
    )


@dataclass(frozen=True, slots=True)
class Offsets:
    energy: int
    ticks: int
    xgmi: int
    count: int
    first: int
    stride: int


@pytest.mark.parametrize(
    ("size", "content", "at"),
    [
        (1664, 6, Offsets(energy=16, ticks=32, xgmi=128, count=306, first=312, stride=168)),
        (2208, 7, Offsets(energy=24, ticks=40, xgmi=136, count=338, first=344, stride=232)),
        (3872, 8, Offsets(energy=24, ticks=40, xgmi=136, count=338, first=344, stride=440)),
    ],
)
def test_1_6_to_1_8_have_residencies_and_partitions(size: int, content: int, at: Offsets) -> None:
    fields = [
        (at.energy, "Q", (3 * JOULE,)),
        (at.ticks, "6I", TICKS),
        (at.xgmi, "8Q", READ),
        (at.xgmi + 64, "8Q", WRITTEN),
        (at.count, "H", (3,)),
        (at.first, "2I", (100, 50)),
        (at.first + 2 * at.stride, "3I", (0, 0, 2**32 - 1)),
    ]
    assert parse_gpu_metrics(structure(size, 1, content, fields)) == GpuMetrics(
        MetricsFormat(size, 1, content),
        energy_joules=3.0,
        throttling=Throttling(1000, CAUSES),
        xgmi=TRAFFIC,
        partition_busy_ratios=(0.75, None, 0.0),
    )


def test_eighth_partition_of_the_largest_structure_is_read() -> None:
    blob = structure(3872, 1, 8, [(338, "H", (8,)), (344 + 7 * 440, "I", (42,))])
    assert parse_gpu_metrics(blob).partition_busy_ratios == (*[None] * 7, 0.42)


def test_1_9_is_a_table_of_attributes() -> None:
    blob = table(
        attribute(0, "H", (61,), unit=2),
        attribute(7, "Q", (2 * JOULE,)),
        attribute(9, "I", (1000,)),
        *(attribute(10 + number, "I", (ticks,)) for number, ticks in enumerate(TICKS[1:])),
        attribute(29, "Q", READ, unit=9),
        attribute(30, "Q", WRITTEN, unit=9),
        attribute(512 + 7, "b", (-1, 2, 3)),
    )
    assert parse_gpu_metrics(blob + bytes(100)) == GpuMetrics(
        MetricsFormat(len(blob), 1, 9),
        energy_joules=2.0,
        throttling=Throttling(1000, CAUSES),
        xgmi=TRAFFIC,
    )


def test_1_9_attribute_in_another_unit_is_another_attribute() -> None:
    blob = table(attribute(7, "Q", (JOULE,), unit=3), attribute(29, "Q", READ, unit=8))
    assert parse_gpu_metrics(blob) == GpuMetrics(MetricsFormat(len(blob), 1, 9))


def test_1_9_with_more_links_read_than_written() -> None:
    blob = table(attribute(29, "I", (1, 2), unit=9), attribute(30, "I", (3,), unit=9))
    assert parse_gpu_metrics(blob).xgmi == (XgmiTraffic(0, 1024, 3072), XgmiTraffic(1, 2048, None))


def test_1_9_without_values_tells_nothing() -> None:
    blob = table(attribute(7, "Q", ()), attribute(9, "I", ()), attribute(29, "Q", (), unit=9))
    assert parse_gpu_metrics(blob) == GpuMetrics(MetricsFormat(len(blob), 1, 9))


def test_1_9_with_a_type_nobody_knows_is_counted_as_unknown() -> None:
    code = struct.pack("<Q", 8 << 20 | 7 << 10 | 1)
    blob = table(attribute(7, "Q", (JOULE,)), code + bytes(8))
    header = MetricsFormat(len(blob), 1, 9)
    assert parse_gpu_metrics(blob) == GpuMetrics(header, unknown=header)


@pytest.mark.parametrize(
    "blob",
    [
        table(attribute(7, "Q", (JOULE,)), count=2),
        table(attribute(7, "Q", (JOULE,)), count=-1),
        table(attribute(7, "Q", (JOULE,)), count=2**31 - 1),
        table(attribute(7, "Q", (JOULE,)), size=23),
        table(attribute(7, "Q", (JOULE,)), size=1150),
        table(size=6)[:6],
    ],
    ids=["more than there are", "negative", "huge", "cut within a value", "shorter than it says", "no count"],
)
def test_1_9_that_ends_too_early_tells_nothing_but_its_header(blob: bytes) -> None:
    size = struct.unpack_from("<H", blob)[0]
    assert parse_gpu_metrics(blob) == GpuMetrics(MetricsFormat(size, 1, 9))


@pytest.mark.parametrize(
    ("size", "content", "bits"), [(120, 0, None), (120, 1, None), (128, 2, 5), (152, 3, 5), (168, 4, 5)]
)
def test_apus_have_causes_of_throttling_from_2_2_on(size: int, content: int, bits: int | None) -> None:
    blob = structure(size, 2, content, [(120, "Q", (5,))] if bits else [])
    assert parse_gpu_metrics(blob) == GpuMetrics(MetricsFormat(size, 2, content), throttle_bits=bits)


def test_3_0_is_known_and_has_nothing_that_is_wanted() -> None:
    assert parse_gpu_metrics(structure(264, 3, 0)) == GpuMetrics(MetricsFormat(264, 3, 0))


@pytest.mark.parametrize(
    ("size", "layout", "content"),
    [(80, 1, 0), (1664, 1, 7), (1600, 1, 6), (128, 1, 10), (120, 2, 2), (300, 2, 9), (264, 4, 0), (0, 0, 0)],
)
def test_unknown_version_or_size_is_told_and_nothing_is_read(size: int, layout: int, content: int) -> None:
    blob = structure(max(size, 4), layout, content)
    blob = struct.pack("<H", size) + bytes(blob[2:])
    header = MetricsFormat(size, layout, content)
    assert parse_gpu_metrics(blob) == GpuMetrics(header, unknown=header)


@pytest.mark.parametrize(
    ("size", "layout", "content"),
    [
        (96, 1, 1),
        (120, 1, 3),
        (288, 1, 4),
        (360, 1, 5),
        (1664, 1, 6),
        (2208, 1, 7),
        (3872, 1, 8),
        (128, 2, 2),
    ],
)
def test_field_of_all_ones_is_not_told(size: int, layout: int, content: int) -> None:
    assert parse_gpu_metrics(structure(size, layout, content)) == GpuMetrics(
        MetricsFormat(size, layout, content)
    )


def test_cause_of_all_ones_is_left_out() -> None:
    blob = structure(1664, 1, 6, [(32, "2I", (1000, 7))])
    assert parse_gpu_metrics(blob).throttling == Throttling(1000, {"prochot": 7})


@pytest.mark.parametrize("energy", [0, 2**32 - 1, 2**64 - 1])
def test_energy_that_is_not_counted_is_not_told(energy: int) -> None:
    assert parse_gpu_metrics(structure(288, 1, 4, [(24, "Q", (energy,))])).energy_joules is None


def test_blob_longer_than_it_says_is_read_as_far_as_it_says() -> None:
    blob = structure(288, 1, 4, [(24, "Q", (JOULE,))])
    assert parse_gpu_metrics(blob + bytes(4096 - 288)) == parse_gpu_metrics(blob)


@pytest.mark.parametrize("length", [4, 24, 31, 119])
def test_of_a_blob_that_is_short_only_the_header_is_believed(length: int) -> None:
    blob = structure(120, 1, 3, [(24, "Q", (JOULE,)), (88, "4H", HBM), (112, "Q", (1,))])
    assert parse_gpu_metrics(blob[:length]) == GpuMetrics(MetricsFormat(120, 1, 3))


@pytest.mark.parametrize("blob", [b"", b"\x78\x00\x01", b"\xff" * 4, b"\xff" * 120])
def test_without_a_header_nothing_is_told(blob: bytes) -> None:
    assert parse_gpu_metrics(blob) == GpuMetrics()


@pytest.mark.parametrize(
    ("fixture", "address", "expected"),
    [
        ("lact-phoenix", "0000:64:00.0", GpuMetrics(MetricsFormat(120, 2, 1))),
        ("lact-rx6900xt", "0000:0c:00.0", GpuMetrics(MetricsFormat(120, 1, 3), throttle_bits=0)),
        ("lact-rx7600s", "0000:03:00.0", GpuMetrics(MetricsFormat(120, 1, 3), throttle_bits=1 << 36)),
        ("lact-rx9070", "0000:03:00.0", GpuMetrics(MetricsFormat(120, 1, 3), throttle_bits=0)),
    ],
)
def test_real_blobs(fixture: str, address: str, expected: GpuMetrics) -> None:
    sysfs = load_capture(f"tests/fixtures/sysfs/{fixture}.capture")
    blob = sysfs.read_bytes(f"bus/pci/devices/{address}/gpu_metrics")
    assert isinstance(blob, Blob)
    assert parse_gpu_metrics(blob.value) == expected
