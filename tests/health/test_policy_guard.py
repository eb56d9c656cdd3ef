from typing import Any

import pytest

from amdgpu_plugin.health.evidence import Evidence, NoAnswer, Seen
from amdgpu_plugin.health.policy import Health, Rules, conclude, judge
from amdgpu_plugin.telemetry.presence import Bound
from tests.health.timelines import GONE, LEFT, PASSED, PATH, RULES, SEEN, SILENT, UNBOUND, moment, rules, told

HUNG, ANSWERS = NoAnswer(20), SEEN
NO_NODE = Seen(Bound(PATH, "SPX", missing_nodes=("renderD128",)))
ILL, TOLD, HELD = "!Unresponsive", "Unresponsive", "!Unresponsive~"
OVER = "Unresponsive~"

Step = tuple[float, dict[str, Evidence], dict[str, str], bool]
"""Seconds, what was learnt of which GPU then, what is told of each after it, and whether the guard is active."""


def follow(gpus: str, steps: list[Step], rules: Rules = RULES) -> dict[str, Health]:
    """The window of the default rules is 50 s, the hold 60 s."""
    healths = dict.fromkeys(gpus, Health())
    was, expected = [], []
    for seconds, learnt, then, active in steps:
        now = moment(seconds)
        healths = {gpu: judge(health, learnt.get(gpu, PASSED), rules, now) for gpu, health in healths.items()}
        found = conclude(healths, rules, now)
        was.append(
            (seconds, {gpu: told(status) for gpu, status in found.statuses.items()}, found.guard_active)
        )
        expected.append((seconds, then, active))
    assert was == expected
    return healths


def each(gpus: str, value: Any) -> dict[str, Any]:
    return dict.fromkeys(gpus, value)


TIMELINES: dict[str, tuple[str, list[Step]]] = {
    "the only GPU is never spared": ("a", [(0, {"a": HUNG}, {"a": ILL}, False), (99, {}, {"a": ILL}, False)]),
    "one of two": (
        "ab",
        [(0, {"a": HUNG}, {"a": ILL, "b": ""}, False), (99, {}, {"a": ILL, "b": ""}, False)],
    ),
    "both at once": ("ab", [(0, each("ab", HUNG), each("ab", TOLD), True), (999, {}, each("ab", TOLD), True)]),
    "both, one after the other": (
        "ab",
        [(0, {"a": HUNG}, {"a": ILL, "b": ""}, False), (50, {"b": HUNG}, each("ab", TOLD), True)],
    ),
    "both, further apart than the window": (
        "ab",
        [(0, {"a": HUNG}, {"a": ILL, "b": ""}, False), (50.1, {"b": HUNG}, each("ab", ILL), False)],
    ),
    "two of three: the second waits for the window": (
        "abc",
        [
            (0, {"a": HUNG}, {"a": ILL, "b": "", "c": ""}, False),
            (10, {"b": HUNG}, {"a": ILL, "b": TOLD, "c": ""}, False),
            (50, {}, {"a": ILL, "b": TOLD, "c": ""}, False),
            (50.1, {}, {"a": ILL, "b": ILL, "c": ""}, False),
        ],
    ),
    "two of three at once: one is told of": (
        "abc",
        [
            (0, {"a": HUNG, "b": HUNG}, {"a": ILL, "b": TOLD, "c": ""}, False),
            (51, {}, {"a": ILL, "b": ILL, "c": ""}, False),
        ],
    ),
    "who comes back while it waits was never ill": (
        "abc",
        [
            (0, {"a": HUNG}, {"a": ILL, "b": "", "c": ""}, False),
            (10, {"b": HUNG}, {"a": ILL, "b": TOLD, "c": ""}, False),
            (40, {"b": ANSWERS}, {"a": ILL, "b": OVER, "c": ""}, False),
            (60, {}, {"a": ILL, "b": OVER, "c": ""}, False),
            (100, {}, {"a": ILL, "b": "", "c": ""}, False),
        ],
    ),
    "three, one after the other": (
        "abc",
        [
            (0, {"a": HUNG}, {"a": ILL, "b": "", "c": ""}, False),
            (20, {"b": HUNG}, {"a": ILL, "b": TOLD, "c": ""}, False),
            (40, {"c": HUNG}, each("abc", TOLD), True),
        ],
    ),
    "they come back one after the other": (
        "abc",
        [
            (0, each("abc", HUNG), each("abc", TOLD), True),
            (100, {"a": ANSWERS}, {"a": OVER, "b": TOLD, "c": TOLD}, True),
            (140, {"b": ANSWERS}, {"a": OVER, "b": OVER, "c": TOLD}, True),
            (150, {"c": ANSWERS}, each("abc", OVER), True),
            (160, {}, {"a": "", "b": OVER, "c": OVER}, True),
            (200, {}, {"a": "", "b": "", "c": OVER}, True),
            (210, {}, each("abc", ""), False),
        ],
    ),
    "one does not come back": (
        "abc",
        [
            (0, each("abc", HUNG), each("abc", TOLD), True),
            (100, {"a": ANSWERS, "b": ANSWERS}, {"a": OVER, "b": OVER, "c": TOLD}, True),
            (150, {}, {"a": OVER, "b": OVER, "c": TOLD}, True),
            (150.1, {}, {"a": OVER, "b": OVER, "c": ILL}, True),
            (170, {}, {"a": "", "b": "", "c": ILL}, False),
            (180, {"c": ANSWERS}, {"a": "", "b": "", "c": HELD}, False),
        ],
    ),
    "one that came back hangs again later, by itself": (
        "ab",
        [
            (0, each("ab", HUNG), each("ab", TOLD), True),
            (10, each("ab", ANSWERS), each("ab", OVER), True),
            (70, {}, each("ab", ""), False),
            (80, {"a": HUNG}, {"a": ILL, "b": ""}, False),
        ],
    ),
    "a GPU without its driver takes no part": (
        "abc",
        [
            (0, {"c": LEFT}, {"a": "", "b": "", "c": "!DriverUnbound"}, False),
            (1, each("ab", HUNG), {"a": TOLD, "b": TOLD, "c": "!DriverUnbound"}, True),
        ],
    ),
    "a GPU that is gone takes no part, and alone is no company": (
        "ab",
        [
            (0, {"b": GONE}, {"a": "", "b": "!DeviceLost !DriverUnbound"}, False),
            (1, {"a": HUNG}, {"a": ILL, "b": "!DeviceLost !DriverUnbound"}, False),
        ],
    ),
    "a GPU that is lost though bound takes no part": (
        "abc",
        [
            (0, {"c": SILENT}, {"a": "", "b": "", "c": ""}, False),
            (1, {"c": SILENT}, {"a": "", "b": "", "c": "!DeviceLost"}, False),
            (2, each("ab", HUNG), {"a": TOLD, "b": TOLD, "c": "!DeviceLost"}, True),
        ],
    ),
    "a GPU that is back takes part": (
        "abc",
        [
            (0, {"c": UNBOUND}, {"a": "", "b": "", "c": "!DriverUnbound"}, False),
            (1, {"c": SEEN}, {"a": "", "b": "", "c": "!DriverUnbound~"}, False),
            (2, each("ab", HUNG), {"a": ILL, "b": TOLD, "c": "!DriverUnbound~"}, False),
        ],
    ),
    "unbinding all is nobody's mistake": (
        "ab",
        [(0, each("ab", UNBOUND), each("ab", "!DriverUnbound"), False)],
    ),
    "render nodes": (
        "ab",
        [
            (0, each("ab", NO_NODE), each("ab", ""), False),
            (5, {"a": NO_NODE}, {"a": "!RenderNodeMissing", "b": ""}, False),
            (6, {"b": NO_NODE}, each("ab", "RenderNodeMissing"), True),
        ],
    ),
    "each condition by itself": (
        "ab",
        [
            (0, each("ab", NO_NODE), each("ab", ""), False),
            (5, {"a": NO_NODE}, {"a": "!RenderNodeMissing", "b": ""}, False),
            (6, {"b": HUNG}, {"a": "!RenderNodeMissing", "b": ILL}, False),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("gpus", "steps"), TIMELINES.values(), ids=TIMELINES)
def test_what_is_told_of_all_along_a_timeline(gpus: str, steps: list[Step]) -> None:
    follow(gpus, steps)


def test_the_window_is_interval_and_deadline() -> None:
    wide = rules(interval_seconds=100, read_deadline_seconds=300)
    steps: list[Step] = [
        (0, {"a": HUNG}, {"a": ILL, "b": ""}, False),
        (400, {"b": HUNG}, each("ab", TOLD), True),
    ]
    follow("ab", steps, wide)


@pytest.mark.parametrize("effect", ["inform", "ignore"])
def test_what_informs_anyway_needs_no_guard(effect: str) -> None:
    mild = rules(Unresponsive={"effect": effect})
    follow("ab", [(0, each("ab", HUNG), each("ab", TOLD if effect == "inform" else ""), False)], mild)


def test_only_the_last_time_matters() -> None:
    steps: list[Step] = [
        (0, {"a": HUNG}, {"a": ILL, "b": ""}, False),
        (10, {"a": ANSWERS}, {"a": "", "b": ""}, False),
        (1000, {"a": HUNG}, {"a": ILL, "b": ""}, False),
        (1005, {"a": ANSWERS}, {"a": "", "b": ""}, False),
        (1010, {"b": HUNG}, {"a": "", "b": TOLD}, True),
        (1055.1, {}, {"a": "", "b": ILL}, False),
    ]
    follow("ab", steps, rules(hold_seconds=0))


def test_without_a_hold_they_come_back_one_after_the_other_as_well() -> None:
    steps: list[Step] = [
        (0, each("abc", HUNG), each("abc", TOLD), True),
        (100, {"a": ANSWERS}, {"a": "", "b": TOLD, "c": TOLD}, True),
        (140, {"b": ANSWERS}, {"a": "", "b": "", "c": TOLD}, True),
        (151, {}, {"a": "", "b": "", "c": ILL}, False),
    ]
    follow("abc", steps, rules(hold_seconds=0))
