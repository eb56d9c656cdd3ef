import pytest

from amdgpu_plugin.health.evidence import Acknowledged, Sampled
from amdgpu_plugin.node import Condition
from amdgpu_plugin.telemetry.readings import BadPages, RasCounts
from tests.health.timelines import EPOCH, PASSED, Step, follow, ras, rules, sampled, status

KNOWN = Acknowledged("UncorrectableErrors", "known", None)
KNOWN_FOR_100_S = Acknowledged("UncorrectableErrors", "known", EPOCH + 100)
PAGES_KNOWN = Acknowledged("BadPageThreshold", "known", None)


def corrected(count: int, deferred: int | None = None, block: str = "umc") -> Sampled:
    return sampled(ras={block: RasCounts(0, count, deferred)})


def pages(retired: int, pending: int = 0, unreservable: int = 0, threshold: int | None = None) -> Sampled:
    return sampled(bad_pages=BadPages(retired, pending, unreservable), bad_page_threshold=threshold)


UNCORRECTABLE: dict[str, list[Step]] = {
    "5 at first sight, then 6, then ack": [
        (0, ras(umc=5), "UncorrectableErrors"),
        (30, ras(umc=6), "!UncorrectableErrors"),
        (60, ras(umc=6), "!UncorrectableErrors"),
        (61, KNOWN, ""),
        (90, ras(umc=6), ""),
        (120, ras(umc=7), "!UncorrectableErrors"),
    ],
    "none at first sight, then 1": [(0, ras(umc=0), ""), (30, ras(umc=1), "!UncorrectableErrors")],
    "5 at first sight, acknowledged": [(0, ras(umc=5), "UncorrectableErrors"), (1, KNOWN, "")],
    "unknown leaves it": [
        (0, ras(umc=0, gfx=0), ""),
        (30, ras(umc=1), "!UncorrectableErrors"),
        (60, sampled(ras_unknown=("umc",)), "!UncorrectableErrors"),
        (90, ras(gfx=0), "!UncorrectableErrors"),
    ],
    "unknown at first": [(0, sampled(ras_unknown=("umc",)), ""), (30, ras(umc=3), "UncorrectableErrors")],
    "another block appears": [(0, ras(umc=0), ""), (30, ras(umc=0, gfx=2), "UncorrectableErrors")],
    "blocks add up": [
        (0, ras(umc=1, gfx=1), "UncorrectableErrors"),
        (30, ras(umc=1, gfx=2), "!UncorrectableErrors"),
    ],
    "a counter falls: a new baseline": [
        (0, ras(umc=0), ""),
        (30, ras(umc=6), "!UncorrectableErrors"),
        (60, ras(umc=2), "UncorrectableErrors"),
        (90, ras(umc=3), "!UncorrectableErrors"),
    ],
    "acknowledged for a while": [
        (0, ras(umc=1), "UncorrectableErrors"),
        (1, ras(umc=2), "!UncorrectableErrors"),
        (2, KNOWN_FOR_100_S, ""),
        (99, ras(umc=2), ""),
        (100, PASSED, "!UncorrectableErrors"),
    ],
    "acknowledged for a while after for good": [
        (0, ras(umc=1), "UncorrectableErrors"),
        (1, KNOWN, ""),
        (2, ras(umc=2), "!UncorrectableErrors"),
        (3, KNOWN_FOR_100_S, ""),
        (50, ras(umc=3), "!UncorrectableErrors"),
    ],
    "acknowledged before anything is known": [(0, KNOWN, ""), (30, ras(umc=1), "UncorrectableErrors")],
    "the word for another condition": [
        (0, ras(umc=0), ""),
        (1, ras(umc=1), "!UncorrectableErrors"),
        (2, PAGES_KNOWN, "!UncorrectableErrors"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("steps", UNCORRECTABLE.values(), ids=UNCORRECTABLE)
def test_uncorrectable_errors_along_a_timeline(steps: list[Step]) -> None:
    # A hold would hide when it is cleared; an operator's word ends it without one in any case.
    follow(steps, rules=rules(hold_seconds=0))


def test_an_operators_word_needs_no_hold() -> None:
    follow([(0, ras(umc=0), ""), (1, ras(umc=1), "!UncorrectableErrors"), (2, KNOWN, "")])


def test_a_fallen_counter_is_held() -> None:
    follow(
        [
            (0, ras(umc=0), ""),
            (1, ras(umc=1), "!UncorrectableErrors"),
            (2, ras(umc=0), "!UncorrectableErrors~"),
            (62, PASSED, ""),
        ]
    )


def test_fewer_than_the_threshold_inform() -> None:
    three = rules(hold_seconds=0, UncorrectableErrors={"threshold": 3})
    follow(
        [
            (0, ras(umc=0, gfx=0), ""),
            (30, ras(umc=1, gfx=1), "UncorrectableErrors"),
            (60, ras(umc=2, gfx=1), "!UncorrectableErrors"),
        ],
        rules=three,
    )


def test_uncorrectable_errors_tell_which() -> None:
    health = follow([(0, ras(umc=5, gfx=0), "UncorrectableErrors")])
    before = "umc 5 from before the first look"
    assert status(health, 0).conditions == (
        Condition("UncorrectableErrors", before, "readings", EPOCH, "inform"),
    )
    health = follow([(30, ras(umc=6, gfx=2), "!UncorrectableErrors")], health=health)
    after = "gfx 2, umc 1 since first seen"
    assert status(health, 30).conditions == (
        Condition("UncorrectableErrors", after, "readings", EPOCH + 30, "unhealthy"),
    )


CORRECTED: dict[str, list[Step]] = {
    "many at first sight": [(0, corrected(1000), ""), (30, corrected(1009), "")],
    "10 within an hour": [(0, corrected(5), ""), (1800, corrected(15), "CorrectableErrors")],
    "deferred ones count as well": [(0, corrected(5, 0), ""), (1800, corrected(10, 5), "CorrectableErrors")],
    "slowly": [(0, corrected(0), ""), (3600, corrected(9), ""), (7200, corrected(18), "")],
    "an hour with fewer ends it": [
        (0, corrected(0), ""),
        (1800, corrected(10), "CorrectableErrors"),
        (3600, corrected(12), "CorrectableErrors"),
        (5400, corrected(21), "CorrectableErrors"),
        (7200, corrected(21), "CorrectableErrors~"),
        (7260, PASSED, ""),
    ],
    "a counter falls": [(0, corrected(90), ""), (30, corrected(20), ""), (60, corrected(29), ""), (90, corrected(30), "CorrectableErrors")],
    "bit by bit": [(0, corrected(0), ""), (30, corrected(5), ""), (60, corrected(5), ""), (90, corrected(10), "CorrectableErrors")],
    "unknown leaves it": [
        (0, corrected(0), ""),
        (30, corrected(10), "CorrectableErrors"),
        (3600, corrected(10), "CorrectableErrors"),
        (7200, sampled(ras_unknown=("umc",)), "CorrectableErrors"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("steps", CORRECTED.values(), ids=CORRECTED)
def test_correctable_errors_along_a_timeline(steps: list[Step]) -> None:
    follow(steps)


def test_correctable_errors_tell_which() -> None:
    first, then = RasCounts(0, 5), RasCounts(0, 15)
    health = follow(
        [
            (0, sampled(ras={"gfx": first, "umc": first}), ""),
            (30, sampled(ras={"gfx": first, "umc": then}), "CorrectableErrors"),
        ]
    )
    assert status(health, 30).conditions[0].detail == "umc 10 within an hour"


def test_the_number_of_correctable_errors_can_be_set() -> None:
    follow(
        [(0, corrected(0), ""), (30, corrected(2), "CorrectableErrors")],
        rules=rules(CorrectableErrors={"threshold": 2}),
    )


PAGES: dict[str, list[Step]] = {
    "no limit known": [(0, pages(500), "")],
    "the driver's limit": [
        (0, pages(9, threshold=10), ""),
        (30, pages(10, threshold=10), "!BadPageThreshold"),
        (60, sampled(), "!BadPageThreshold"),
        (90, pages(9, threshold=10), "!BadPageThreshold~"),
    ],
    "the driver's limit is not told any more": [
        (0, pages(9, threshold=10), ""),
        (30, pages(10), "!BadPageThreshold"),
    ],
    "the driver has none": [(0, pages(500, threshold=-1), ""), (30, pages(500, threshold=0), "")],
    "the driver's limit is 1": [(0, pages(0, threshold=1), ""), (30, pages(1, threshold=1), "!BadPageThreshold")],
    "acknowledged before anything is known": [(0, PAGES_KNOWN, ""), (30, pages(1, threshold=1), "!BadPageThreshold")],
    "pending pages": [(0, pages(1, pending=2), "PendingPages"), (30, pages(3), "PendingPages~")],
    "pages that could not be reserved": [(0, pages(1, unreservable=1), "PendingPages")],
    "acknowledged until there are more": [
        (0, pages(10, threshold=10), "!BadPageThreshold"),
        (1, PAGES_KNOWN, ""),
        (30, pages(10, threshold=10), ""),
        (60, pages(11, threshold=10), "!BadPageThreshold"),
    ],
    "acknowledged for a while": [
        (0, pages(10, threshold=10), "!BadPageThreshold"),
        (1, Acknowledged("BadPageThreshold", "", EPOCH + 100), ""),
        (100, PASSED, "!BadPageThreshold"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("steps", PAGES.values(), ids=PAGES)
def test_bad_pages_along_a_timeline(steps: list[Step]) -> None:
    follow(steps)


def test_the_operators_limit_goes_before_the_drivers() -> None:
    limit = rules(BadPageThreshold={"limit": 64})
    health = follow(
        [
            (0, PASSED, ""),
            (0, pages(63, threshold=10), ""),
            (30, pages(64, threshold=100), "!BadPageThreshold"),
        ],
        rules=limit,
    )
    assert str(status(health, 30, limit).verdict) == "BadPageThreshold: 64 pages retired, the limit is 64"


def test_pending_pages_tell_how_many() -> None:
    health = follow([(0, pages(1, pending=2, unreservable=3), "PendingPages")])
    assert status(health, 0).conditions[0].detail == "2 pending, 3 that could not be reserved"
