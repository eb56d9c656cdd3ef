import pytest

from amdgpu_plugin.telemetry.memory import parse_memory
from amdgpu_plugin.telemetry.numbers import parse_count, parse_integer, parse_measured, parse_ratio
from amdgpu_plugin.telemetry.readings import Memory
from amdgpu_plugin.telemetry.runtime_status import is_active, is_asleep


@pytest.mark.parametrize(
    "text", [None, "", "\n", "1 2", "1.5", "1_000", "٣", "+1", "0x10", "9" * 5000, "1\0002"]
)
def test_what_is_no_whole_number_is_none(text: str | None) -> None:
    assert parse_integer(text) is None


@pytest.mark.parametrize("text", ["42\n", "42", " 42 \n", "42\n" + "\0" * 4093])
def test_padding_of_a_number_does_not_matter(text: str) -> None:
    assert parse_integer(text) == 42


@pytest.mark.parametrize(
    ("text", "per_unit", "value"),
    [
        ("61500\n", 1000, 61.5),
        ("-5000\n", 1000, -5.0),
        ("0\n", 1000, 0.0),
        ("65535\n", 1, None),
        ("65535000\n", 1000, None),
        ("65535000000\n", 1_000_000, None),
        ("4294967295\n", 1000, None),
        ("4294967295000\n", 1000, None),
        ("18446744073709551615\n", 1, None),
        ("-1\n", 1, None),
    ],
)
def test_measured_values_are_in_base_units_and_all_ones_is_none(
    text: str, per_unit: int, value: float | None
) -> None:
    assert parse_measured(text, per_unit=per_unit) == value


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("65535", 65535), ("-3", None), ("4294967295", None), ("18446744073709551615", None)],
)
def test_counts_are_never_negative_nor_all_ones(text: str, count: int | None) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize(
    ("text", "ratio"), [("0", 0.0), ("37", 0.37), ("100", 1.0), ("101", None), ("65535", None), ("-1", None)]
)
def test_ratio_is_of_a_percentage(text: str, ratio: float | None) -> None:
    assert parse_ratio(text) == ratio


def test_memory_is_told_as_far_as_it_is_known() -> None:
    told = [
        parse_memory("1024\n", "0\n"),
        parse_memory("1024\n", None),
        parse_memory(None, "5"),
        parse_memory("x", None),
    ]
    assert told == [Memory(1024, 0), Memory(1024, None), Memory(None, 5), None]


@pytest.mark.parametrize(
    ("text", "asleep", "active"),
    [
        ("active\n", False, True),
        ("suspended\n", True, False),
        ("suspending\n", True, False),
        ("resuming\n", True, False),
        ("unsupported\n", False, False),
        ("error\n", False, False),
        ("", False, False),
        (None, False, False),
    ],
)
def test_runtime_status(text: str | None, *, asleep: bool, active: bool) -> None:
    assert (is_asleep(text), is_active(text)) == (asleep, active)
