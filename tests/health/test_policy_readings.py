import math

import pytest

from amdgpu_plugin.health.evidence import Holding, NoAnswer, Sampled, Starved
from amdgpu_plugin.telemetry.readings import Memory, PcieLink, Readings, Tally, Temperature, Throttling
from tests.health.timelines import (
    BOUND,
    EPOCH,
    FAILING,
    GONE,
    NOT_SEEN,
    PASSED,
    RESETTING,
    SEEN,
    UNBOUND,
    Step,
    follow,
    heat,
    sampled,
    status,
)

ASLEEP = Sampled(Readings(EPOCH, asleep=True))
GIB = 1024**3
FREE, HELD, NOT_KNOWN = Holding(held=False), Holding(held=True), Holding(None)


def link(
    lanes: int, most: int = 16, *, busy: float | None = 0.9, giga: float = 32, best: float = 32
) -> Sampled:
    return sampled(pcie_link=PcieLink(giga * 1e9, lanes, best * 1e9, most), gfx_busy_ratio=busy)


def throttled(ticks: int, busy: float | None = 0.9, **causes: int) -> Sampled:
    return sampled(throttling=Throttling(ticks, causes), gfx_busy_ratio=busy)


def vram(used_gib: float, size_gib: float = 24) -> Sampled:
    return sampled(vram=Memory(int(size_gib * GIB), int(used_gib * GIB)))


def two(first: float, second: float) -> Sampled:
    return sampled(
        temperatures=(Temperature("edge", first, 100, 105), Temperature("junction", second, 110, 115))
    )


HEAT: dict[str, list[Step]] = {
    "at the emergency limit once": [(0, heat(110), ""), (30, heat(90), "")],
    "at the emergency limit twice": [(0, heat(110), ""), (30, heat(110), "!Overheated Hot")],
    "not twice in succession": [(0, heat(110), ""), (30, heat(99), ""), (60, heat(110), "")],
    "a reading that is missing does not count": [
        (0, heat(110), ""),
        (30, sampled(), ""),
        (60, heat(110), "!Overheated Hot"),
        (90, sampled(), "!Overheated Hot"),
    ],
    "cleared below the critical limit only": [
        (0, heat(111), ""),
        (30, heat(111), "!Overheated Hot"),
        (60, heat(100), "!Overheated Hot"),
        (90, heat(99.9), "!Overheated~ Hot~"),
        (150, PASSED, ""),
    ],
    "without a critical limit cleared below the emergency limit": [
        (0, heat(111, None), ""),
        (30, heat(111, None), "!Overheated"),
        (60, heat(109, None), "!Overheated~"),
    ],
    "a critical limit above the emergency limit does not make it flap": [
        (0, heat(111, 120, 110), ""),
        (30, heat(111, 120, 110), "!Overheated"),
        (60, heat(111, 120, 110), "!Overheated"),
    ],
    "limits that are not told for a while change nothing": [
        (0, heat(111), ""),
        (30, heat(111), "!Overheated Hot"),
        (60, heat(80, None, None), "!Overheated Hot"),
        (90, heat(80), "!Overheated~ Hot~"),
    ],
    "an old card's edge at its critical limit of 85": [(0, heat(85, 85, None), ""), (30, heat(95, 85, None), "Hot")],
    "hot": [(0, heat(100), ""), (30, heat(105), "Hot"), (60, heat(99), "Hot~")],
    "emergency limit 0": [(0, heat(50, None, 0), ""), (30, heat(50, None, 0), "")],
    "emergency limit 255": [(0, heat(149, None, 255), ""), (30, heat(149, None, 255), "")],
    "both limits 59": [(0, heat(70, 59, 59), ""), (30, heat(70, 59, 59), "")],
    "limits 60 and 150": [(0, heat(60, 60, 150), ""), (30, heat(60, 60, 150), "Hot"), (60, heat(150, 60, 150), "Hot"), (90, heat(150, 60, 150), "!Overheated Hot")],
    "critical limit 151": [(0, heat(150, 151, None), ""), (30, heat(150, 151, None), "")],
    "readings no chip survives": [(0, heat(511), ""), (30, heat(511), ""), (60, heat(math.nan), "")],
    "each sensor by itself": [
        (0, two(106, 90), ""),
        (30, two(90, 116), ""),
        (60, two(90, 116), "!Overheated Hot"),
        (90, two(90, 116), "!Overheated Hot"),
        (120, two(106, 90), "!Overheated~ Hot~"),
    ],
    "the heat of a GPU that is gone is not known to have gone": [
        (0, heat(111), ""),
        (30, heat(111), "!Overheated Hot"),
        (31, GONE, "!DeviceLost !DriverUnbound !Overheated Hot"),
        (40, SEEN, "!DeviceLost~ !DriverUnbound~ !Overheated Hot"),
        (60, heat(50), "!DeviceLost~ !DriverUnbound~ !Overheated~ Hot~"),
    ],
    "readings before the driver left do not count after": [
        (0, heat(111), ""),
        (1, BOUND, ""),
        (30, heat(111), ""),
    ],
}  # fmt: skip

THROTTLING: dict[str, list[Step]] = {
    "a tenth of the round": [(0, throttled(0, prochot=0), ""), (30, throttled(30_000, prochot=3_000), "")],
    "over a tenth of the round": [
        (0, throttled(0, hbm_thermal=0), ""),
        (30, throttled(30_000, hbm_thermal=3_001), "Throttled"),
        (60, throttled(60_000, hbm_thermal=3_001), "Throttled~"),
    ],
    "before the first look": [(0, throttled(30_000, prochot=30_000), "")],
    **{
        cause: [(0, throttled(0, **{cause: 0}), ""), (30, throttled(30_000, 0.1, **{cause: 9_000}), "Throttled")]
        for cause in ("prochot", "socket_thermal", "vr_thermal")
    },
    "by power after heat": [
        (0, throttled(0, prochot=0), ""),
        (30, throttled(30_000, prochot=9_000), "Throttled"),
        (60, throttled(60_000, ppt=0), "Throttled"),
        (90, throttled(90_000, prochot=9_000), "Throttled"),
        (120, throttled(120_000, prochot=9_000), "Throttled~"),
    ],
    "how busy it is is not known": [
        (0, throttled(0, None, prochot=0), ""),
        (30, throttled(30_000, None, prochot=9_000), "Throttled"),
        (60, sampled(), "Throttled"),
    ],
    "by power": [(0, throttled(0, ppt=0), ""), (30, throttled(30_000, ppt=29_000), "")],
    "while idle": [(0, throttled(0, prochot=0), ""), (30, throttled(30_000, 0.01, prochot=30_000), "")],
    "wrapped or begun anew": [
        (0, throttled(4_294_000_000, prochot=4_000_000_000), ""),
        (30, throttled(20_000, prochot=4_000_003_000), ""),
        (60, throttled(50_000, prochot=2_000), ""),
        (90, throttled(80_000, prochot=32_000), "Throttled"),
        (100, throttled(90_000, prochot=1_000), "Throttled"),
        (110, throttled(90_001, prochot=1_001), "Throttled"),
        (120, throttled(90_001, prochot=1_001), "Throttled"),
    ],
    "flags of older cards are not believed": [(0, sampled(throttled_by=("thermal",)), "")],
}  # fmt: skip

LINK: dict[str, list[Step]] = {
    "x8 of x16 idle": [(0, link(8, busy=0.0), ""), (30, link(8, busy=0.4), ""), (60, link(8, busy=None), "")],
    "x8 of x16 busy": [
        (0, link(8), ""),
        (30, link(8), "LinkDegraded"),
        (60, link(8, busy=0.0), "LinkDegraded"),
        (90, link(16, busy=0.0), "LinkDegraded~"),
    ],
    "idle rounds between": [(0, link(8), ""), (30, link(8, busy=0.0), ""), (60, link(8), "LinkDegraded")],
    "half busy": [(0, link(8, busy=0.5), ""), (30, link(8, busy=0.5), "LinkDegraded")],
    "some of it known": [
        (0, sampled(pcie_link=PcieLink(8e9, None, 8e9, 16), gfx_busy_ratio=0.9), ""),
        (1, sampled(pcie_link=PcieLink(8e9, 8, 8e9, None), gfx_busy_ratio=0.9), ""),
        (2, sampled(pcie_link=PcieLink(None, 16, 8e9, 16), gfx_busy_ratio=0.9), ""),
        (3, sampled(pcie_link=PcieLink(8e9, 16, None, 16), gfx_busy_ratio=0.9), ""),
    ],
    "busy once": [(0, link(8), ""), (30, link(16), ""), (60, link(8), "")],
    "slow": [(0, link(16, giga=8), ""), (30, link(16, giga=8), "LinkDegraded")],
    "behind a slot that can do no more": [(0, link(16, giga=16, best=16), ""), (30, link(16, giga=16, best=16), "")],
    "not known": [
        (0, link(8), ""),
        (30, sampled(pcie_link=PcieLink(None, None, None, None), gfx_busy_ratio=0.9), ""),
        (60, sampled(gfx_busy_ratio=0.9), ""),
        (90, link(8), "LinkDegraded"),
        (120, sampled(pcie_link=PcieLink(None, None, None, None), gfx_busy_ratio=0.9), "LinkDegraded"),
    ],
}  # fmt: skip

ANSWERS: dict[str, list[Step]] = {
    "reads hang": [
        (0, SEEN, ""),
        (20, NoAnswer(20), "!Unresponsive"),
        (90, SEEN, "!Unresponsive~"),
        (150, PASSED, ""),
    ],
    "reads hang, then a round ends": [(20, NoAnswer(20), "!Unresponsive"), (30, sampled(), "!Unresponsive~")],
    "reads hang, and what could not be looked at is no answer": [
        (20, NoAnswer(20), "!Unresponsive"),
        (30, NOT_SEEN, "!Unresponsive"),
        (40, BOUND, "!Unresponsive"),
    ],
    "reads hang, then a round ends that tells nothing": [
        (20, NoAnswer(20), "!Unresponsive"),
        (30, sampled(Tally()), "!Unresponsive~"),
    ],
    "busy for 10 minutes in three rounds": [
        (0, sampled(RESETTING), ""),
        (300, sampled(RESETTING), "Busy"),
        (600, sampled(RESETTING), "Busy"),
        (601, sampled(RESETTING), "!Unresponsive Busy"),
    ],
    "busy for 11 minutes in three rounds, by one read": [
        (0, sampled(Tally(busy=1)), ""),
        (300, sampled(Tally(busy=1)), "Busy"),
        (660, sampled(Tally(busy=1)), "!Unresponsive Busy"),
    ],
    "the only read fails": [(30.0 * turn, sampled(Tally(failing=1)), "" if turn < 2 else "!Unresponsive") for turn in range(4)],
    "we were late ourselves": [
        (40, Starved(40), "PluginStarved"),
        (41, SEEN, "PluginStarved~"),
        (50, Starved(40), "PluginStarved"),
        (51, sampled(), "PluginStarved~"),
        (111, PASSED, ""),
    ],
    "busy for 5 s": [(0, sampled(RESETTING), ""), (5, sampled(), "")],
    "busy for 11 minutes": [
        (0, sampled(), ""),
        *((30.0 * turn, sampled(RESETTING), "" if turn == 1 else "Busy") for turn in range(1, 22)),
        (660, sampled(RESETTING), "!Unresponsive Busy"),
        (665, SEEN, "!Unresponsive Busy"),
        (690, sampled(), "!Unresponsive~ Busy~"),
    ],
    "busy for 10 minutes at the last round, which was a while ago": [
        (0, sampled(RESETTING), ""),
        (300, sampled(RESETTING), "Busy"),
        (600, sampled(RESETTING), "Busy"),
        (629, SEEN, "Busy"),
    ],
    "busy twice, an hour apart": [(0, sampled(RESETTING), ""), (3600, sampled(RESETTING), "Busy")],
    "busy in some of what a reset guards": [
        (0, sampled(Tally(answered=8, guarded=1, busy=9)), ""),
        (900, sampled(Tally(answered=8, guarded=1, busy=9)), ""),
    ],
    "busy, asleep, busy": [(0, sampled(RESETTING), ""), (30, ASLEEP, ""), (60, sampled(RESETTING), "")],
    "every read fails in three rounds": [
        (0, sampled(FAILING), ""),
        (30, sampled(FAILING), ""),
        (60, sampled(FAILING), "!Unresponsive"),
        (65, SEEN, "!Unresponsive"),
        (90, sampled(), "!Unresponsive~"),
    ],
    "every read fails, but not three times in succession": [
        (0, sampled(FAILING), ""),
        (30, sampled(FAILING), ""),
        (60, sampled(Tally(answered=1, failing=19)), ""),
        (90, sampled(FAILING), ""),
        (120, sampled(FAILING), ""),
        (150, sampled(Tally(busy=1, failing=19)), ""),
        (180, sampled(FAILING), ""),
    ],
    "every read fails, and some rounds tell nothing": [
        (0, sampled(FAILING), ""),
        (30, sampled(FAILING), ""),
        (60, sampled(Tally()), ""),
        (90, sampled(FAILING), "!Unresponsive"),
    ],
    "every read fails, and then the driver is gone": [
        (0, sampled(FAILING), ""),
        (30, sampled(FAILING), ""),
        (60, sampled(FAILING), "!Unresponsive"),
        (61, UNBOUND, "!DriverUnbound !Unresponsive~"),
    ],
    "a suspended laptop GPU": [(30.0 * turn, (SEEN, ASLEEP), "") for turn in range(10)],
}  # fmt: skip

LEFTOVER: dict[str, list[Step]] = {
    "for 5 minutes": [
        (0, FREE, ""),
        (1, vram(1.5), ""),
        (300, vram(1.5), ""),
        (301, vram(1.5), "LeftoverMemory"),
        (331, vram(0.1), "LeftoverMemory~"),
    ],
    "not all the time": [(0, FREE, ""), (1, vram(1.5), ""), (200, vram(0.5), ""), (301, vram(1.5), ""), (601, vram(1.5), "LeftoverMemory")],
    "1 GiB": [(0, FREE, ""), (1, vram(1), ""), (301, vram(1), "")],
    "2 % of a large memory": [(0, FREE, ""), (1, vram(3.8, 192), ""), (301, vram(3.8, 192), "")],
    "somebody holds it": [(0, HELD, ""), (1, vram(9), ""), (301, vram(9), "")],
    "somebody begins to hold it": [
        (0, FREE, ""),
        (1, vram(9), ""),
        (301, vram(9), "LeftoverMemory"),
        (302, HELD, "LeftoverMemory~"),
        (303, FREE, "LeftoverMemory~"),
        (601, vram(9), ""),
    ],
    "who holds it is not known": [(0, NOT_KNOWN, ""), (1, vram(9), ""), (301, vram(9), "")],
    "who holds it is not known any more": [
        (0, FREE, ""),
        (1, vram(9), ""),
        (301, vram(9), "LeftoverMemory"),
        (302, NOT_KNOWN, "LeftoverMemory~"),
    ],
    "told again that nobody does": [(0, FREE, ""), (1, vram(9), ""), (200, FREE, ""), (301, vram(9), "LeftoverMemory")],
    "nobody ever said": [(1, vram(9), ""), (301, vram(9), "")],
    "unknown in between": [
        (0, FREE, ""),
        (1, vram(9), ""),
        (200, sampled(vram=Memory(None, GIB)), ""),
        (201, sampled(vram=Memory(24 * GIB, None)), ""),
        (301, vram(9), "LeftoverMemory"),
    ],
    "the driver is gone": [
        (0, FREE, ""),
        (1, vram(9), ""),
        (301, vram(9), "LeftoverMemory"),
        (302, UNBOUND, "!DriverUnbound LeftoverMemory~"),
    ],
}  # fmt: skip

TIMELINES = {
    f"{family}: {situation}": steps
    for family, timelines in {
        "heat": HEAT,
        "throttling": THROTTLING,
        "link": LINK,
        "answers": ANSWERS,
        "leftover": LEFTOVER,
    }.items()
    for situation, steps in timelines.items()
}


@pytest.mark.parametrize("steps", TIMELINES.values(), ids=TIMELINES)
def test_what_is_told_along_a_timeline(steps: list[Step]) -> None:
    follow(steps)


DETAILS: dict[str, list[Step]] = {
    "junction at or above the emergency limit": HEAT["at the emergency limit twice"],
    "by hbm_thermal": THROTTLING["over a tenth of the round"][:2],
    "x8 of x16": LINK["x8 of x16 busy"][:2],
    "8 of 32 GT/s": LINK["slow"],
    "no answer in 20 s": ANSWERS["reads hang"][:2],
    "busy for over 10 minutes": ANSWERS["busy for 11 minutes"][:-2],
    "every read of the driver fails (EIO)": ANSWERS["every read fails in three rounds"][:3],
    "our own reads were 40 s late": ANSWERS["we were late ourselves"][:1],
    "1.5 GiB of VRAM in use, and no container holds the GPU": LEFTOVER["for 5 minutes"][:4],
}


@pytest.mark.parametrize(("detail", "steps"), DETAILS.items(), ids=DETAILS)
def test_each_tells_what_was_seen(detail: str, steps: list[Step]) -> None:
    assert status(follow(steps), steps[-1][0]).conditions[0].detail == detail


def test_who_found_it() -> None:
    hung = status(follow(ANSWERS["reads hang"][:2]), 20)
    failing = status(follow(ANSWERS["every read fails in three rounds"][:3]), 60)
    assert (hung.conditions[0].source, failing.conditions[0].source) == ("lane", "readings")
