import json
from dataclasses import asdict
from typing import Any

import pytest

from amdgpu_plugin.health.evidence import Acknowledged
from amdgpu_plugin.health.policy import Health, Kept, kept, kept_from_json, restored
from amdgpu_plugin.health.policy.restart import KeptCondition
from amdgpu_plugin.telemetry.readings import BadPages
from tests.health.timelines import (
    BOUND,
    EPOCH,
    PASSED,
    SEEN,
    UNBOUND,
    Step,
    bus,
    follow,
    heat,
    moment,
    ras,
    sampled,
    status,
    wedged,
)


def restarted(health: Health, seconds: float) -> Health:
    """By a way through a file; the monotonic clock of the later process is another."""
    return restored(kept_from_json(json.loads(json.dumps(kept(health).as_json()))), moment(seconds))


BEFORE_AND_AFTER: dict[str, tuple[list[Step], list[Step]]] = {
    "errors above the baseline": (
        [(0, ras(umc=5), "UncorrectableErrors"), (30, ras(umc=6), "!UncorrectableErrors")],
        [
            (40, PASSED, "!UncorrectableErrors"),
            (60, ras(umc=6), "!UncorrectableErrors"),
            (61, Acknowledged("UncorrectableErrors", "", None), ""),
            (90, ras(umc=6), ""),
        ],
    ),
    "a baseline": (
        [(0, ras(umc=0), "")],
        [(40, PASSED, ""), (60, ras(umc=1), "!UncorrectableErrors")],
    ),
    "errors acknowledged for good": (
        [(0, ras(umc=5), "UncorrectableErrors"), (1, Acknowledged("UncorrectableErrors", "", None), "")],
        [(40, PASSED, ""), (60, ras(umc=5), "")],
    ),
    "errors acknowledged for a while": (
        [
            (0, ras(umc=0), ""),
            (1, ras(umc=1), "!UncorrectableErrors"),
            (2, Acknowledged("UncorrectableErrors", "", EPOCH + 100), ""),
        ],
        [(40, PASSED, ""), (100, PASSED, "!UncorrectableErrors")],
    ),
    "pages acknowledged": (
        [
            (0, sampled(bad_pages=BadPages(9, 0, 0), bad_page_threshold=9), "!BadPageThreshold"),
            (1, Acknowledged("BadPageThreshold", "", None), ""),
        ],
        [
            (40, PASSED, ""),
            (60, sampled(bad_pages=BadPages(9, 0, 0), bad_page_threshold=9), ""),
            (90, sampled(bad_pages=BadPages(10, 0, 0), bad_page_threshold=9), "!BadPageThreshold"),
        ],
    ),
    "wedged": ([(0, wedged("rebind"), "!Wedged")], [(40, SEEN, "!Wedged"), (41, BOUND, "!Wedged~")]),
    "wedged by a word nobody knows": ([(0, wedged("x"), "Wedged")], [(40, SEEN, "Wedged")]),
    "wedged, acknowledged for a while": (
        [(0, wedged("rebind"), "!Wedged"), (1, Acknowledged("Wedged", "", EPOCH + 100), "Wedged")],
        [(40, PASSED, "Wedged"), (100, PASSED, "!Wedged")],
    ),
    "a bus error": (
        [(0, bus("failed"), "!BusError")],
        [(40, sampled(), "!BusError"), (60, sampled(), "!BusError~")],
    ),
    "a hold goes on": (
        [(0, bus("failed"), "!BusError"), (10, bus("recovered"), "!BusError~")],
        [(40, PASSED, "!BusError~"), (70, PASSED, "")],
    ),
    "what can be found out again is": (
        [(0, heat(111), ""), (30, heat(111), "!Overheated Hot"), (31, UNBOUND, "!DriverUnbound !Overheated Hot")],
        [(40, PASSED, ""), (41, UNBOUND, "!DriverUnbound")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after"), BEFORE_AND_AFTER.values(), ids=BEFORE_AND_AFTER)
def test_across_a_restart(before: list[Step], after: list[Step]) -> None:
    follow(after, health=restarted(follow(before), 35))


def test_details_and_beginnings_stay() -> None:
    health = follow(
        [
            (0, ras(umc=0), ""),
            (1, ras(umc=1), "!UncorrectableErrors"),
            (2, wedged("rebind"), "!Wedged !UncorrectableErrors"),
            (3, bus("failed"), "!Wedged !BusError !UncorrectableErrors"),
        ]
    )
    assert status(restarted(health, 40), 40).conditions == status(health, 40).conditions


def test_kept_values_are_plain_and_in_unix_time() -> None:
    health = follow(
        [
            (0, wedged("rebind"), "!Wedged"),
            (1, Acknowledged("Wedged", "ticket 7", EPOCH + 100), "Wedged"),
            (2, BOUND, "Wedged~"),
        ]
    )
    detail = "WEDGED=rebind"
    assert kept(health) == Kept(
        conditions=(KeptCondition("Wedged", detail, "uevent", EPOCH, False, EPOCH + 2, "ticket 7", EPOCH + 100),)
    )  # fmt: skip


def test_a_clock_that_was_set_back_holds_no_longer_than_the_hold() -> None:
    health = follow([(0, bus("failed"), "!BusError"), (10, bus("recovered"), "!BusError~")])
    later = restored(kept(health), moment(-3600))
    follow([(-3600, PASSED, "!BusError~"), (-3540, PASSED, "")], health=later)


def test_nothing_kept_is_a_new_health() -> None:
    assert restored(kept(Health()), moment(0)) == Health()


def test_conditions_that_are_not_latched_are_not_taken_from_a_file() -> None:
    said = KeptCondition("Sunburnt", "", "readings", 0.0, False, None, None, None)
    assert restored(Kept(conditions=(said,)), moment(0)) == Health()


GOOD: dict[str, Any] = {
    "conditions": [asdict(KeptCondition("Wedged", "", "uevent", 5, False, None, None, None))],
    "errors": [
        {"name": "umc", "baseline": 1, "count": 2, "acked": {"for_good": 0, "for_now": 0, "until": 0}}
    ],
    "pages_acked": {"for_good": 0, "for_now": 0, "until": 0.0},
}


def test_a_later_version_may_have_written_more() -> None:
    more = {**GOOD, "other": 1, "pages_acked": {**GOOD["pages_acked"], "other": 2}}
    assert kept_from_json(more) == kept_from_json(GOOD)


@pytest.mark.parametrize(
    "said",
    [
        {},
        [],
        {**GOOD, "conditions": {}},
        {**GOOD, "conditions": [{}]},
        {**GOOD, "conditions": [{**GOOD["conditions"][0], "since": "5"}]},
        {**GOOD, "conditions": [{**GOOD["conditions"][0], "informs_only": 0}]},
        {**GOOD, "conditions": [{**GOOD["conditions"][0], "since": True}]},
        {**GOOD, "conditions": [7]},
        {**GOOD, "errors": [{**GOOD["errors"][0], "count": 2.5}]},
        {**GOOD, "errors": [{**GOOD["errors"][0], "acked": None}]},
        {**GOOD, "errors": None},
        {**GOOD, "pages_acked": 3},
    ],
)
def test_what_is_not_the_health_of_a_gpu_is_refused(said: Any) -> None:
    with pytest.raises(ValueError, match="not the health of a GPU"):
        kept_from_json(said)
