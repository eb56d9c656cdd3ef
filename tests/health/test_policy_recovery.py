import pytest

from amdgpu_plugin.health.evidence import Acknowledged, Starved
from amdgpu_plugin.node import Condition
from amdgpu_plugin.telemetry.readings import Tally
from tests.health.timelines import (
    BOUND,
    DUMPED,
    EPOCH,
    FAILING,
    PASSED,
    RESETTING,
    SEEN,
    Step,
    bus,
    follow,
    sampled,
    status,
    wedged,
)

KNOWN = Acknowledged("Wedged", "ticket 7", None)

TIMELINES: dict[str, list[Step]] = {
    "WEDGED=none": [(0, wedged("none"), "")],
    "WEDGED=rebind,none": [(0, wedged("rebind", "none"), "")],
    "WEDGED=rebind,bus-reset": [(0, wedged("rebind", "bus-reset"), "!Wedged")],
    "WEDGED=vendor-specific": [(0, wedged("vendor-specific"), "!Wedged")],
    "WEDGED=unknown": [(0, wedged("unknown"), "!Wedged")],
    "WEDGED= with a word nobody knows": [(0, wedged("incantation"), "Wedged")],
    "WEDGED= with nothing": [(0, wedged(""), "Wedged")],
    "WEDGED= with a word nobody knows beside one that is known": [(0, wedged("incantation", "rebind"), "!Wedged")],
    "neither time nor none ends it": [
        (0, wedged("rebind"), "!Wedged"),
        (10, wedged("none"), "!Wedged"),
        (86400, (SEEN, sampled()), "!Wedged"),
    ],
    "binding the driver does": [
        (0, wedged("rebind"), "!Wedged"),
        (10, BOUND, "!Wedged~"),
        (70, PASSED, ""),
    ],
    "a word nobody knows does not weaken it": [
        (0, wedged("rebind"), "!Wedged"),
        (1, wedged("incantation"), "!Wedged"),
        (2, BOUND, "!Wedged~"),
        (62, PASSED, ""),
    ],
    "acknowledged for good": [
        (0, wedged("rebind"), "!Wedged"),
        (1, KNOWN, "Wedged"),
        (86400, PASSED, "Wedged"),
        (86401, wedged("rebind"), "!Wedged"),
    ],
    "acknowledged for a while": [
        (0, wedged("rebind"), "!Wedged"),
        (1, Acknowledged("Wedged", "", EPOCH + 100), "Wedged"),
        (99, PASSED, "Wedged"),
        (100, PASSED, "!Wedged"),
    ],
    "acknowledged before it is so": [(0, KNOWN, ""), (1, wedged("rebind"), "!Wedged")],
    "the word for another condition": [
        (0, wedged("rebind"), "!Wedged"),
        (1, Acknowledged("BusError", "", None), "!Wedged"),
    ],
    "AER failed, then two good rounds": [
        (0, bus("failed"), "!BusError"),
        (30, sampled(), "!BusError"),
        (60, sampled(), "!BusError~"),
        (120, PASSED, ""),
    ],
    "AER failed on a bridge above": [(0, bus("failed", "devices/pci0000:00/0000:00:01.0"), "!BusError")],
    "AER failed, then a round that fails between good ones": [
        (0, bus("failed"), "!BusError"),
        (30, sampled(), "!BusError"),
        (60, sampled(FAILING), "!BusError"),
        (90, sampled(), "!BusError"),
        (120, sampled(RESETTING), "!BusError"),
        (150, sampled(), "!BusError"),
        (160, sampled(Tally(answered=19, failing=1)), "!BusError"),
        (170, sampled(), "!BusError"),
        (180, sampled(Tally()), "!BusError"),
        (210, sampled(), "!BusError~"),
    ],
    "AER failed, recovered later": [(0, bus("failed"), "!BusError"), (9, bus("recovered"), "!BusError~")],
    "AER failed, bound again": [(0, bus("failed"), "!BusError"), (9, BOUND, "!BusError~")],
    "AER failed again after good rounds": [
        (0, sampled(), ""),
        (30, sampled(), ""),
        (40, bus("failed"), "!BusError"),
        (60, sampled(), "!BusError"),
        (90, sampled(), "!BusError~"),
    ],
    "AER begun and silence": [
        (0, bus("begin"), ""),
        (30, sampled(), ""),
        (59.9, PASSED, ""),
        (60, PASSED, "!BusError"),
    ],
    "AER begun and recovered": [(0, bus("begin"), ""), (3, bus("recovered"), ""), (600, PASSED, "")],
    "AER begun and bound again": [(0, bus("begin"), ""), (3, BOUND, ""), (600, PASSED, "")],
    "AER begun, silence, then good rounds end it for good": [
        (0, bus("begin"), ""),
        (60, PASSED, "!BusError"),
        (90, sampled(), "!BusError"),
        (120, sampled(), "!BusError~"),
        (180, PASSED, ""),
    ],
    "AER begun, and we stood still: the outcome may be waiting": [
        (0, bus("begin"), ""),
        (70, Starved(65.0), "PluginStarved"),
        (70, bus("recovered"), "PluginStarved"),
    ],
    "BusError acknowledged, then failed again": [
        (0, bus("failed"), "!BusError"),
        (1, Acknowledged("BusError", "known", None), "BusError"),
        (2, bus("failed"), "!BusError"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("steps", TIMELINES.values(), ids=TIMELINES)
def test_what_is_told_along_a_timeline(steps: list[Step]) -> None:
    follow(steps)


@pytest.mark.parametrize(
    ("steps", "counted"),
    [
        ([(0, wedged("none"), "")], (1, 0)),
        ([(0, wedged("none"), ""), (0, wedged("none"), "")], (2, 0)),
        ([(0, wedged("rebind"), "!Wedged")], (1, 0)),
        ([(0, DUMPED, "")], (1, 1)),
        ([(0, wedged("none"), ""), (5, DUMPED, "")], (1, 1)),
        ([(0, wedged("none"), ""), (5.1, DUMPED, "")], (2, 1)),
        ([(0, DUMPED, ""), (5, wedged("none"), "")], (1, 1)),
        ([(0, DUMPED, ""), (5.1, wedged("none"), "")], (2, 1)),
        ([(0, DUMPED, ""), (1, wedged("none"), ""), (2, wedged("none"), "")], (2, 1)),
    ],
)
def test_resets_and_core_dumps_are_counted(steps: list[Step], counted: tuple[int, int]) -> None:
    found = status(follow(steps), 10)
    assert (found.resets, found.core_dumps) == counted


def test_an_acknowledged_condition_tells_why() -> None:
    health = follow([(0, wedged("rebind", "bus-reset"), "!Wedged"), (1, KNOWN, "Wedged")])
    detail = "WEDGED=rebind,bus-reset (acknowledged: ticket 7)"
    assert status(health, 1).conditions == (Condition("Wedged", detail, "uevent", EPOCH, "inform"),)


@pytest.mark.parametrize(
    ("steps", "detail"),
    [
        (
            [(0, bus("failed", "devices/pci0000:00/0000:00:01.0"), "!BusError")],
            "PCIe error recovery failed at 0000:00:01.0",
        ),
        (
            [(0, bus("begin"), ""), (60, PASSED, "!BusError")],
            "PCIe error recovery began and did not end within 60 s",
        ),
    ],
)
def test_a_bus_error_tells_what_was_heard(steps: list[Step], detail: str) -> None:
    assert str(status(follow(steps), 60).verdict) == f"BusError: {detail}"
