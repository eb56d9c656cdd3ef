import pytest

from amdgpu_plugin.telemetry.bad_pages import parse_bad_pages, parse_threshold
from amdgpu_plugin.telemetry.readings import BadPages


def test_pages_are_counted_by_state() -> None:
    lines = "0x00001234 : 0x00001000 : R\n" * 3 + "0x00001300 : 0x00001000 : P\n0x00001301 : 0x00001000 : F\n"
    assert parse_bad_pages(lines) == BadPages(retired=3, pending=1, unreservable=1)


def test_table_longer_than_a_page_is_counted_whole() -> None:
    assert parse_bad_pages("0x00001234 : 0x00001000 : R\n" * 2000) == BadPages(2000, 0, 0)


def test_empty_table_is_no_bad_page() -> None:
    assert parse_bad_pages("") == BadPages(0, 0, 0)


@pytest.mark.parametrize(
    "text",
    [
        "0x00001234 : 0x00001000 : X\n",
        "0x00001234 : 0x00001000 : R\ngarbage\n",
        "0x00001234 : 0x000",
        "0x00001234 : 0x00001000 : R\n\0\0\n0x00001234 : 0x00001000 : R\n",
    ],
)
def test_garbled_table_is_not_told(text: str) -> None:
    assert parse_bad_pages(text) is None


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("-1\n", None),
        ("-2\n", None),
        ("0\n", None),
        ("128\n", 128),
        ("", None),
        (None, None),
        ("many\n", None),
    ],
)
def test_only_a_number_of_pages_is_a_limit(text: str | None, limit: int | None) -> None:
    assert parse_threshold(text) == limit
