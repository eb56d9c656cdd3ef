import pytest

from amdgpu_plugin.health.conditions import CONDITIONS
from amdgpu_plugin.health.evidence import Acknowledged, Evidence, NoAnswer
from amdgpu_plugin.health.policy import (
    Conclusion,
    Health,
    Transition,
    conclude,
    is_acknowledged,
    judge,
    transitions,
)
from amdgpu_plugin.node import Condition, GpuStatus, Verdict
from amdgpu_plugin.telemetry.readings import BadPages
from tests.health.timelines import (
    EPOCH,
    GONE,
    GPU,
    LEFT,
    RULES,
    SEEN,
    UNBOUND,
    Step,
    bus,
    follow,
    heat,
    moment,
    ras,
    rules,
    sampled,
    status,
    told,
    wedged,
)

OBSERVE = rules(mode="observe")
HUNG = NoAnswer(20)


def test_nothing_known_is_not_ill() -> None:
    assert conclude({GPU: Health()}, RULES, moment(0)) == Conclusion({GPU: GpuStatus()}, guard_active=False)


def test_the_first_in_the_table_names_the_verdict() -> None:
    health = follow(
        [(0, wedged("rebind"), "!Wedged"), (1, HUNG, "!Wedged !Unresponsive"), (2, bus("failed"), "!Wedged !BusError !Unresponsive")]
    )  # fmt: skip
    assert status(health, 2).verdict == Verdict("Wedged", "WEDGED=rebind", EPOCH)


def test_what_is_held_names_it_only_if_nothing_else_does() -> None:
    health = follow(
        [(0, UNBOUND, "!DriverUnbound"), (5, SEEN, "!DriverUnbound~"), (9, HUNG, "!DriverUnbound~ !Unresponsive")]
    )  # fmt: skip
    assert status(health, 9).verdict == Verdict("Unresponsive", "no answer in 20 s", EPOCH + 9)


def test_the_beginning_of_a_verdict_stays() -> None:
    health = follow(
        [(0, LEFT, "!DriverUnbound"), (5, UNBOUND, "!DriverUnbound"), (9, SEEN, "!DriverUnbound~")]
    )
    assert {status(health, seconds).verdict for seconds in (0, 5, 9)} == {
        Verdict("DriverUnbound", "bound to no driver", EPOCH)
    }


def test_the_fuller_form_of_a_condition_is_told() -> None:
    follow(
        [
            (0, wedged("incantation"), "Wedged"),
            (1, wedged("rebind"), "!Wedged"),
            (2, ras(umc=5), "!Wedged UncorrectableErrors"),
            (3, ras(umc=6), "!Wedged !UncorrectableErrors"),
        ]
    )


def test_an_effect_of_ignore_leaves_it_out_and_inform_keeps_it_from_the_kubelet() -> None:
    mild = rules(Wedged={"effect": "ignore"}, BusError={"effect": "inform"})
    health = follow([(0, wedged("rebind"), ""), (1, bus("failed"), "BusError")], rules=mild)
    assert status(health, 1, mild).verdict is None


def test_an_effect_of_unhealthy_makes_an_informing_condition_count() -> None:
    strict = rules(Hot={"effect": "unhealthy"})
    follow([(0, heat(100), ""), (30, heat(100), "!Hot")], rules=strict)


def test_what_informs_only_does_so_whatever_the_effect() -> None:
    follow([(0, ras(umc=5), "UncorrectableErrors")], rules=rules(UncorrectableErrors={"effect": "unhealthy"}))


@pytest.mark.parametrize(
    ("learnt", "verdict", "would_be"),
    [
        (UNBOUND, Verdict("DriverUnbound", "bound to no driver", EPOCH), None),
        (GONE, Verdict("DeviceLost", "not on the PCI bus", EPOCH), None),
        (wedged("rebind"), None, Verdict("Wedged", "WEDGED=rebind", EPOCH)),
        (bus("failed"), None, Verdict("BusError", "PCIe error recovery failed at 0000:05:00.0", EPOCH)),
        (HUNG, None, Verdict("Unresponsive", "no answer in 20 s", EPOCH)),
        (ras(umc=5), None, None),
        (SEEN, None, None),
    ],
)
def test_observe_mode_tells_only_of_what_is_not_there(
    learnt: Evidence, verdict: Verdict | None, would_be: Verdict | None
) -> None:
    found = status(judge(Health(), learnt, OBSERVE, moment(0)), 0, OBSERVE)
    assert (found.verdict, found.would_be) == (verdict, would_be)


def test_in_observe_mode_what_is_kept_back_informs() -> None:
    health = follow([(0, wedged("rebind"), "Wedged"), (1, UNBOUND, "!DriverUnbound Wedged")], rules=OBSERVE)
    assert told(status(health, 1)) == "!DriverUnbound !Wedged"


def test_enforce_mode_keeps_nothing_back() -> None:
    health = follow([(0, wedged("rebind"), "!Wedged")])
    assert status(health, 0).would_be is None


def condition(name: str, effect: str = "unhealthy", **rest: object) -> Condition:
    return Condition(name, f"{name} it is", "readings", 10.0, effect, **rest)  # type: ignore[arg-type]


def transition(gpu: str, name: str, effect: str, *, raised: bool) -> Transition:
    return Transition(gpu, name, f"{name} it is", "readings", 10.0, effect, raised)  # type: ignore[arg-type]


def test_transitions_are_what_came_changed_its_effect_or_went() -> None:
    before = {
        "a": GpuStatus((condition("Wedged"), condition("Unresponsive"), condition("Hot", "inform"))),
        "c": GpuStatus((condition("Busy", "inform"),)),
    }
    after = {
        "b": GpuStatus((condition("BusError"),)),
        "a": GpuStatus(
            (condition("Wedged", held=True), condition("Overheated"), condition("Unresponsive", "inform"))
        ),
    }
    assert transitions(before, after) == (
        transition("a", "Overheated", "unhealthy", raised=True),
        transition("a", "Unresponsive", "inform", raised=True),
        transition("a", "Hot", "inform", raised=False),
        transition("b", "BusError", "unhealthy", raised=True),
        transition("c", "Busy", "inform", raised=False),
    )


def test_no_transition_where_only_the_detail_differs() -> None:
    first = GpuStatus((Condition("Wedged", "a", "uevent", 10.0, "unhealthy"),))
    second = GpuStatus((Condition("Wedged", "b", "uevent", 10.0, "unhealthy"),), resets=1)
    assert transitions({GPU: first}, {GPU: second}) == ()


def test_every_condition_the_policy_raises_is_in_the_table() -> None:
    assert set(RULES.effects) == {name for name, kind in CONDITIONS.items() if kind.effect is not None}


FOR_100_S = EPOCH + 100


def said(condition: str, until: float | None = None) -> Acknowledged:
    return Acknowledged(condition, "known", until)


@pytest.mark.parametrize(
    ("steps", "condition", "stands"),
    [
        ([(0, wedged("rebind"), "!Wedged")], "Wedged", (False, False)),
        ([(0, wedged("rebind"), "!Wedged"), (1, said("Wedged"), "Wedged")], "Wedged", (True, True)),
        ([(0, wedged("rebind"), "!Wedged"), (1, said("Wedged"), "Wedged")], "BusError", (False, False)),
        (
            [(0, wedged("rebind"), "!Wedged"), (1, said("Wedged", FOR_100_S), "Wedged")],
            "Wedged",
            (True, False),
        ),
        (
            [(0, ras(umc=5), "UncorrectableErrors"), (1, said("UncorrectableErrors"), "")],
            "UncorrectableErrors",
            (True, True),
        ),
        ([(0, ras(umc=0), ""), (1, said("UncorrectableErrors"), "")], "UncorrectableErrors", (False, False)),
        (
            [
                (0, sampled(bad_pages=BadPages(9, 0, 0), bad_page_threshold=8), "!BadPageThreshold"),
                (1, said("BadPageThreshold", FOR_100_S), ""),
            ],
            "BadPageThreshold",
            (True, False),
        ),
    ],
)
def test_an_operators_word_counts_until_its_time_is_up(
    steps: list[Step], condition: str, stands: tuple[bool, bool]
) -> None:
    health = follow(steps)
    assert tuple(is_acknowledged(health, condition, moment(seconds)) for seconds in (99, 100)) == stands
