import time
from collections.abc import Iterator

import pytest

from amdgpu_plugin.exposition.markup import element, xml
from amdgpu_plugin.exposition.words import gib, link_words, moment, part_of, percent, prose, with_unit

GIB = 2**30


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that is not on UTC."""
    with monkeypatch.context() as there:
        there.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (with_unit(None, "W"), "not known"),
        (with_unit(0.0, "W"), "0 W"),
        (percent(0.876), "88 %"),
        (percent(None), "not known"),
        (gib(192 * GIB), "192 GiB"),
        (gib(0.25 * GIB), "0.2 GiB"),
        (gib(None), "not known"),
        (part_of(140.4, 750.0, "W"), "140 of 750 W"),
        (part_of(140.4, None, "W"), "140 W"),
        (part_of(None, 750.0, "W"), "not known, of 750 W"),
        (part_of(None, None, "W"), "not known"),
        (part_of(1.5 * GIB, 191.98 * GIB, "GiB"), "1.5 of 192 GiB"),
        (link_words("xgmi", 15, 64000), "XGMI, weight 15, 64 GB/s"),
        (link_words("pcie", None, None), "PCIe"),
    ],
)
def test_values_are_told_with_their_unit_or_as_not_known(told: str, expected: str) -> None:
    assert told == expected


def test_a_moment_is_told_in_utc_with_room_for_its_age(new_york: None) -> None:
    made = xml(element("p", *moment(1795462350.7, old_after=100.0))).decode()
    assert made.partition("\n")[2] == (
        '<p><time datetime="2026-11-23T19:32:30Z">2026-11-23 19:32:30 UTC</time> '
        '<span class="ago" data-since="1795462350.700" data-old-after="100" /></p>\n'
    )


def test_backquotes_mark_code() -> None:
    made = xml(element("p", *prose("See `dmesg`, or `a"))).decode()
    assert made.partition("\n")[2] == "<p>See <code>dmesg</code>, or `a</p>\n"
