import pytest

from amdgpu_plugin.telemetry.aer import parse_aer
from amdgpu_plugin.telemetry.readings import AerCounters

FATAL = "Undefined 0\nDLP 1\nSDES 0\nTLP 0\nFCP 0\nTOTAL_ERR_FATAL 18446744073\n"


def test_totals_of_the_three_files() -> None:
    correctable = "RxErr 4\nBadTLP 1\nTOTAL_ERR_COR 5\n"
    nonfatal = "Undefined 0\nTOTAL_ERR_NONFATAL 2\n"
    assert parse_aer(correctable, nonfatal, FATAL) == AerCounters(5, 2, 18446744073)


def test_total_is_found_at_the_end_of_a_long_file() -> None:
    long = "".join(f"Kind{number} 1\n" for number in range(3000)) + "TOTAL_ERR_COR 3000\n"
    assert parse_aer(long, None, None) == AerCounters(3000, None, None)


@pytest.mark.parametrize(
    "text", ["", "RxErr 4\n", "TOTAL_ERR_COR\n", "TOTAL_ERR_COR many\n", "TOTAL_ERR_COR -1\n"]
)
def test_file_without_a_total_is_not_told(text: str) -> None:
    assert parse_aer(text, "TOTAL_ERR_NONFATAL 0\n", None) == AerCounters(None, 0, None)


def test_device_without_aer_has_no_counters() -> None:
    assert parse_aer(None, None, None) is None
