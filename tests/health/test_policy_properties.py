"""What holds for any history of a GPU."""

import json
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amdgpu_plugin.health.conditions import CONDITIONS
from amdgpu_plugin.health.evidence import (
    Acknowledged,
    Evidence,
    Holding,
    NoAnswer,
    Passed,
    Sampled,
    Seen,
    Starved,
)
from amdgpu_plugin.health.policy import Health, conclude, judge, kept, kept_from_json, restored, transitions
from amdgpu_plugin.telemetry.presence import Bound
from amdgpu_plugin.telemetry.readings import (
    BadPages,
    Memory,
    PcieLink,
    RasCounts,
    Readings,
    Tally,
    Temperature,
    Throttling,
)
from tests.health.timelines import (
    BOUND,
    DUMPED,
    EPOCH,
    FAILING,
    GONE,
    GOOD,
    GPU,
    LEFT,
    NOT_SEEN,
    PATH,
    REMOVED,
    RESETTING,
    RULES,
    SEEN,
    SILENT,
    UNBOUND,
    bus,
    moment,
    rules,
    sampled,
    status,
    wedged,
)

QUICK = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
BOARD = frozenset({"BadPageThreshold", "PendingPages", "Overheated", "Hot"})
LATCHED = frozenset({"Wedged", "BusError", "UncorrectableErrors"})

UNKNOWN: list[Evidence] = [
    NOT_SEEN,
    sampled(Tally()),
    Sampled(Readings(EPOCH, asleep=True)),
    sampled(Tally(), ras_unknown=("umc",)),
    Starved(40.0),
    Passed(),
]
EVENTS = [LEFT, BOUND, REMOVED, DUMPED, bus("begin"), bus("failed"), bus("recovered")] + [
    wedged(*words) for words in ([], ["none"], ["rebind", "bus-reset"], ["unknown"], ["x"])
]
LOOKS = [SEEN, SILENT, UNBOUND, GONE, Seen(Bound(PATH, None, missing_nodes=("renderD128",)))]

counts = st.builds(RasCounts, st.integers(0, 3), st.integers(0, 30), st.none() | st.integers(0, 9))
ratios = st.none() | st.sampled_from([0.0, 0.3, 0.9])
celsius = st.sampled_from([-10.0, 50.0, 99.0, 100.0, 109.0, 110.0, 130.0, 511.0, float("nan")])
limits = st.none() | st.sampled_from([0.0, 59.0, 100.0, 110.0, 255.0])
readings = st.builds(
    Readings,
    taken_at=st.just(EPOCH),
    asleep=st.booleans(),
    tally=st.sampled_from([GOOD, FAILING, RESETTING, Tally(), Tally(answered=1, failing=1)]),
    ras=st.dictionaries(st.sampled_from(["umc", "gfx"]), counts, max_size=2),
    bad_pages=st.none() | st.builds(BadPages, st.integers(0, 20), st.integers(0, 2), st.integers(0, 2)),
    bad_page_threshold=st.none() | st.integers(-2, 20),
    temperatures=st.tuples(st.builds(Temperature, st.just("junction"), celsius, limits, limits)) | st.just(()),
    gfx_busy_ratio=ratios,
    vram=st.none() | st.builds(Memory, st.none() | st.just(2**35), st.none() | st.sampled_from([0, 2**33])),
    pcie_link=st.none()
    | st.builds(PcieLink, st.none() | st.just(16e9), st.sampled_from([None, 8, 16]), st.just(16e9), st.just(16)),
    throttling=st.none()
    | st.builds(Throttling, st.integers(0, 10**6), st.dictionaries(st.sampled_from(["ppt", "prochot"]), st.integers(0, 10**6))),
)  # fmt: skip
words = st.builds(
    Acknowledged,
    st.sampled_from([*CONDITIONS, "Nonsense"]),
    st.just("known"),
    st.none() | st.floats(EPOCH, EPOCH + 10_000),
)
evidence: st.SearchStrategy[Evidence] = (
    st.sampled_from([*EVENTS, *LOOKS, *UNKNOWN, NoAnswer(20), *map(Holding, (True, False, None))])
    | st.builds(Sampled, readings)
    | words
)
histories = st.lists(st.tuples(st.sampled_from([0.0, 1.0, 5.0, 30.0, 60.0, 4000.0]), evidence), max_size=25)


def after(history: list[tuple[float, Evidence]], health: Health | None = None) -> tuple[Health, float]:
    """The Health after a history of (seconds since the last, evidence), and when it ended."""
    health, seconds = health or Health(), 0.0
    for pause, learnt in history:
        seconds += pause
        health = judge(health, learnt, RULES, moment(seconds))
    return health, seconds


@QUICK
@given(histories)
def test_whatever_happens_there_is_a_verdict_that_fits_its_conditions(
    history: list[tuple[float, Evidence]],
) -> None:
    health, seconds = after(history)
    found = status(health, seconds)
    names = [condition.name for condition in found.conditions]
    grave = [condition.name for condition in found.conditions if condition.effect == "unhealthy"]
    assert names == [name for name in CONDITIONS if name in names]
    assert (found.verdict is None) == (not grave)
    assert found.verdict is None or found.verdict.condition in grave
    assert all(EPOCH <= condition.since <= EPOCH + seconds for condition in found.conditions)


@QUICK
@given(histories, st.sampled_from(UNKNOWN))
def test_what_is_not_known_changes_no_verdict(
    history: list[tuple[float, Evidence]], unknown: Evidence
) -> None:
    health, seconds = after([*history, (0.0, Passed())])
    later = judge(health, unknown, RULES, moment(seconds))
    assert status(later, seconds).verdict == status(health, seconds).verdict


@QUICK
@given(st.lists(st.tuples(st.floats(0, 4000), st.sampled_from(UNKNOWN)), max_size=25))
def test_what_is_not_known_never_makes_unhealthy(history: list[tuple[float, Evidence]]) -> None:
    health, seconds = after(history)
    assert status(health, seconds).verdict is None


@QUICK
@given(histories)
def test_observe_mode_keeps_back_what_enforce_mode_would_tell(history: list[tuple[float, Evidence]]) -> None:
    health, seconds = after(history)
    enforced, observed = status(health, seconds), status(health, seconds, rules(mode="observe"))
    assert (observed.would_be or observed.verdict) == enforced.verdict
    assert observed.verdict is None or observed.verdict.condition in {"DriverUnbound", "DeviceLost"}


@QUICK
@given(histories, histories)
def test_transitions_say_all_that_changed(
    first: list[tuple[float, Evidence]], second: list[tuple[float, Evidence]]
) -> None:
    health, seconds = after(first)
    before = conclude({GPU: health}, RULES, moment(seconds)).statuses
    for pause, learnt in second:
        seconds += pause
        health = judge(health, learnt, RULES, moment(seconds))
    now = conclude({GPU: health}, RULES, moment(seconds)).statuses
    effects = {condition.name: condition.effect for condition in before[GPU].conditions}
    for each in transitions(before, now):
        if each.raised:
            effects[each.condition] = each.effect
        else:
            del effects[each.condition]
    assert effects == {condition.name: condition.effect for condition in now[GPU].conditions}


@QUICK
@given(histories)
def test_a_restart_keeps_what_is_latched(history: list[tuple[float, Evidence]]) -> None:
    health, seconds = after([*history, (0.0, Passed())])
    later = restored(kept_from_json(json.loads(json.dumps(kept(health).as_json()))), moment(seconds))
    later = judge(later, Passed(), RULES, moment(seconds))
    latched = [each for each in status(health, seconds).conditions if each.name in LATCHED]
    assert list(status(later, seconds).conditions) == latched


final_readings = st.builds(
    Readings,
    taken_at=st.just(EPOCH),
    tally=st.sampled_from([GOOD, FAILING, RESETTING]),
    ras=st.fixed_dictionaries({"umc": counts, "gfx": counts}),
    bad_pages=st.builds(BadPages, st.integers(0, 20), st.integers(0, 2), st.integers(0, 2)),
    bad_page_threshold=st.integers(1, 20),
    temperatures=st.tuples(
        st.builds(
            Temperature, st.just("junction"), st.sampled_from([50.0, 110.0]), st.just(100.0), st.just(110.0)
        )
    ),
    gfx_busy_ratio=st.just(0.9),
    vram=st.builds(Memory, st.just(2**35), st.sampled_from([0, 2**33])),
    pcie_link=st.builds(PcieLink, st.just(16e9), st.sampled_from([8, 16]), st.just(16e9), st.just(16)),
)


def settle(health: Health, start: float, look: Seen, last: Readings, *, held: bool, share: float) -> Health:
    """The same again and again, for longer than any hold, hour or ack; a driver that is there is read."""
    for turn in range(40):
        seconds = start + turn * 600.0
        told: list[Any] = [look, Holding(held)]
        if isinstance(look.presence, Bound):
            ticks = 600_000 * (turn + 10)
            throttling = Throttling(ticks, {"prochot": int(share * ticks), "ppt": ticks})
            told.append(Sampled(replace(last, throttling=throttling)))
        for learnt in told:
            health = judge(health, learnt, RULES, moment(seconds))
    return health


def names(health: Health, seconds: float) -> dict[str, str]:
    return {each.name: each.effect for each in status(health, seconds).conditions}


@QUICK
@given(histories, st.sampled_from(LOOKS), final_readings, st.booleans(), st.sampled_from([0.05, 0.5]))
def test_once_all_settles_the_past_shows_only_in_what_is_latched(
    history: list[tuple[float, Evidence]],
    look: Seen,
    last: Readings,
    held: bool,  # noqa: FBT001
    share: float,
) -> None:
    history = [step for step in history if not isinstance(step[1], Acknowledged)]
    health, start = after(history)
    long, end = settle(health, start, look, last, held=held, share=share), start + 40 * 600.0
    fresh = settle(Health(), start, look, last, held=held, share=share)
    past = LATCHED if isinstance(look.presence, Bound) else LATCHED | BOARD
    if isinstance(look.presence, Bound) and last.tally == GOOD:
        past -= {"BusError"}
    differ = set(names(long, end).items()) ^ set(names(fresh, end).items())
    assert {name for name, _ in differ} <= past
