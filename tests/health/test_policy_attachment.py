import pytest

from amdgpu_plugin.health.evidence import Holding, Passed, Sampled, Seen
from amdgpu_plugin.health.policy import Health, judge
from amdgpu_plugin.node import Condition, GpuStatus, Verdict
from amdgpu_plugin.telemetry.presence import Bound, Unbound
from amdgpu_plugin.telemetry.readings import BadPages, Memory, PcieLink, RasCounts, Temperature, Throttling
from tests.health.timelines import (
    BOUND,
    EPOCH,
    FAILING,
    GONE,
    LEFT,
    NOT_SEEN,
    PASSED,
    PATH,
    REMOVED,
    RULES,
    SEEN,
    SILENT,
    UNBOUND,
    Step,
    follow,
    moment,
    ras,
    rules,
    sampled,
    status,
    wedged,
)


def missing(*nodes: str) -> Seen:
    return Seen(Bound(PATH, "SPX", missing_nodes=nodes))


TIMELINES: dict[str, list[Step]] = {
    "unbind by event, then bound again": [
        (0, SEEN, ""),
        (1, LEFT, "!DriverUnbound"),
        (1, UNBOUND, "!DriverUnbound"),
        (9, BOUND, "!DriverUnbound"),
        (10, SEEN, "!DriverUnbound~"),
        (69.9, PASSED, "!DriverUnbound~"),
        (70, PASSED, ""),
    ],
    "unbind without event": [(0, SEEN, ""), (5, UNBOUND, "!DriverUnbound")],
    "removed by event, rescanned, bound": [
        (0, LEFT, "!DriverUnbound"),
        (0, REMOVED, "!DeviceLost !DriverUnbound"),
        (1, GONE, "!DeviceLost !DriverUnbound"),
        (5, UNBOUND, "!DeviceLost~ !DriverUnbound"),
        (10, SEEN, "!DeviceLost~ !DriverUnbound~"),
        (65, SEEN, "!DriverUnbound~"),
        (70, SEEN, ""),
    ],
    "removed without event": [(0, SEEN, ""), (5, GONE, "!DeviceLost !DriverUnbound")],
    "what could not be looked at changes nothing": [
        (0, NOT_SEEN, ""),
        (1, UNBOUND, "!DriverUnbound"),
        (2, NOT_SEEN, "!DriverUnbound"),
    ],
    "header reads all ones once": [(0, SILENT, ""), (5, SEEN, ""), (10, SILENT, "")],
    "header reads all ones twice": [
        (0, SILENT, ""),
        (5, NOT_SEEN, ""),
        (10, SILENT, "!DeviceLost"),
        (15, SEEN, "!DeviceLost~"),
        (20, SILENT, "!DeviceLost~"),
        (25, SILENT, "!DeviceLost"),
    ],
    "nodes missing once, as while the driver binds": [(0, missing("renderD128"), ""), (5, SEEN, "")],
    "others missing each time, as while partitions appear": [
        (0, missing("renderD128"), ""),
        (5, missing("renderD129"), ""),
    ],
    "a node missing twice": [
        (0, missing("renderD128", "renderD129"), ""),
        (5, missing("renderD129"), "!RenderNodeMissing"),
        (10, missing("renderD130"), "!RenderNodeMissing"),
        (15, SEEN, "!RenderNodeMissing~"),
    ],
    "a node missing, and then the driver": [
        (0, missing("renderD128"), ""),
        (5, missing("renderD128"), "!RenderNodeMissing"),
        (10, UNBOUND, "!DriverUnbound !RenderNodeMissing~"),
    ],
    "looks before the driver left do not count after it came back": [
        (0, missing("renderD128"), ""),
        (5, UNBOUND, "!DriverUnbound"),
        (9, missing("renderD128"), "!DriverUnbound~"),
    ],
    "polling alone finds that the driver was loaded anew": [
        (0, (SEEN, wedged("rebind")), "!Wedged"),
        (5, UNBOUND, "!DriverUnbound !Wedged"),
        (10, SEEN, "!DriverUnbound~ !Wedged~"),
        (11, wedged("rebind"), "!DriverUnbound~ !Wedged"),
        (15, SEEN, "!DriverUnbound~ !Wedged"),
    ],
    "a look that finds it bound without its having left loads nothing anew": [
        (0, (SEEN, wedged("rebind")), "!Wedged"),
        (5, SEEN, "!Wedged"),
    ],
    "a bind that was heard is not taken for a second one when looked at": [
        (0, LEFT, "!DriverUnbound"),
        (1, BOUND, "!DriverUnbound"),
        (1.1, wedged("rebind"), "!DriverUnbound !Wedged"),
        (1.2, SEEN, "!DriverUnbound~ !Wedged"),
    ],
    "the driver counts from 0 again": [
        (0, ras(umc=5), "UncorrectableErrors"),
        (30, ras(umc=6), "!UncorrectableErrors"),
        (40, (LEFT, UNBOUND, BOUND, SEEN), "!DriverUnbound~ !UncorrectableErrors~"),
        (60, ras(umc=0), "!DriverUnbound~ !UncorrectableErrors~"),
        (100, PASSED, ""),
        (101, ras(umc=1), "!UncorrectableErrors"),
    ],
}


@pytest.mark.parametrize("steps", TIMELINES.values(), ids=TIMELINES)
def test_what_is_told_along_a_timeline(steps: list[Step]) -> None:
    follow(steps)


def test_unbind_event_gives_the_whole_status() -> None:
    health = follow([(1, LEFT, "!DriverUnbound"), (2, PASSED, "!DriverUnbound")])
    since = EPOCH + 1
    assert status(health, 2) == GpuStatus(
        conditions=(Condition("DriverUnbound", "bound to no driver", "uevent", since, "unhealthy"),),
        verdict=Verdict("DriverUnbound", "bound to no driver", since),
    )


def test_a_look_tells_who_has_it_instead() -> None:
    health = follow([(0, Seen(Unbound("vfio-pci")), "!DriverUnbound")])
    assert str(status(health, 0).verdict) == "DriverUnbound: bound to vfio-pci, not amdgpu"


def test_the_event_found_it_though_the_look_tells_more() -> None:
    health = follow([(1, LEFT, "!DriverUnbound"), (2, Seen(Unbound("vfio-pci")), "!DriverUnbound")])
    detail = "bound to vfio-pci, not amdgpu"
    assert status(health, 2).conditions == (
        Condition("DriverUnbound", detail, "uevent", EPOCH + 1, "unhealthy"),
    )


def test_flapping_every_second_for_a_minute_is_one_unhealthy_and_one_healthy_after_the_hold() -> None:
    health, verdicts = Health(), []
    for second in range(200):
        learnt = (LEFT, UNBOUND) if second % 2 == 0 else (BOUND, SEEN)
        for evidence in learnt if second < 60 else (Passed(),):
            health = judge(health, evidence, RULES, moment(second))
            verdicts.append((second, status(health, second).verdict))
    changes = [
        (second, verdict)
        for (_, before), (second, verdict) in zip([(0, None), *verdicts], verdicts, strict=False)
        if verdict != before
    ]
    assert changes == [(0, Verdict("DriverUnbound", "bound to no driver", EPOCH)), (119, None)]
    assert status(health, 200).flaps == 29


def test_without_a_hold_it_is_healthy_as_soon_as_it_is_seen_bound() -> None:
    health = follow(
        [
            (0, LEFT, "!DriverUnbound"),
            (1, BOUND, "!DriverUnbound"),
            (1, SEEN, ""),
            (2, LEFT, "!DriverUnbound"),
        ],
        rules=rules(hold_seconds=0),
    )
    assert status(health, 2).flaps == 0


def test_what_comes_back_after_the_hold_is_new_and_no_flap() -> None:
    health = follow(
        [(0, UNBOUND, "!DriverUnbound"), (5, SEEN, "!DriverUnbound~"), (65, UNBOUND, "!DriverUnbound")]
    )
    found = status(health, 65)
    assert (found.flaps, found.conditions[0].since) == (0, EPOCH + 65)


def test_informing_conditions_do_not_flap() -> None:
    inform = rules(DriverUnbound={"effect": "inform"})
    health = follow(
        [(0, UNBOUND, "DriverUnbound"), (5, SEEN, "DriverUnbound~"), (6, UNBOUND, "DriverUnbound")],
        rules=inform,
    )
    assert status(health, 6, inform).flaps == 0


def everything(ticks: int, *, corrected: int) -> Sampled:
    return sampled(
        ras={"umc": RasCounts(0, corrected)},
        bad_pages=BadPages(9, 1, 0),
        bad_page_threshold=9,
        temperatures=(Temperature("junction", 111, 100, 110),),
        gfx_busy_ratio=0.9,
        pcie_link=PcieLink(32e9, 8, 32e9, 16),
        throttling=Throttling(ticks, {"prochot": ticks}),
        vram=Memory(24 * 1024**3, 9 * 1024**3),
    )


BOARD = "!BadPageThreshold !Overheated"
ALL = f"{BOARD} CorrectableErrors LinkDegraded Throttled Hot PendingPages LeftoverMemory"
ENDING = f"{BOARD} CorrectableErrors~ LinkDegraded~ Throttled~ Hot PendingPages LeftoverMemory~"


@pytest.mark.parametrize(
    ("look", "there"), [(GONE, "!DeviceLost !DriverUnbound"), (UNBOUND, "!DriverUnbound")]
)
def test_what_only_the_driver_tells_ends_with_it_and_what_is_known_of_the_board_stays(
    look: Seen, there: str
) -> None:
    again = f"{there.replace('Lost', 'Lost~').replace('Unbound', 'Unbound~')} {BOARD}"
    follow(
        [
            (0, Holding(held=False), ""),
            (0, everything(1000, corrected=0), "!BadPageThreshold PendingPages"),
            (300, everything(2000, corrected=99), ALL),
            (301, look, f"{there} {ENDING}"),
            (400, look, f"{there} {BOARD} Hot PendingPages"),
            (401, SEEN, f"{again} Hot PendingPages"),
            (402, everything(3000, corrected=200), f"{again} Hot PendingPages"),
        ]
    )


def test_rounds_before_the_driver_left_do_not_count_after() -> None:
    fails = sampled(FAILING)
    follow([(0, fails, ""), (30, fails, ""), (40, BOUND, ""), (60, fails, ""), (90, fails, "")])


def test_who_found_it_again_is_told() -> None:
    health = follow(
        [(0, LEFT, "!DriverUnbound"), (1, SEEN, "!DriverUnbound~"), (2, UNBOUND, "!DriverUnbound")]
    )
    assert status(health, 2).conditions[0].source == "presence"


def test_what_informs_only_does_not_flap() -> None:
    word = wedged("incantation")
    health = follow([(0, word, "Wedged"), (1, BOUND, "Wedged~"), (2, word, "Wedged")])
    assert status(health, 2).flaps == 0
