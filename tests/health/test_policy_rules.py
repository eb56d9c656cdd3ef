import json

from amdgpu_plugin.health.conditions import CONDITIONS
from tests.health.timelines import RULES, rules

CHANGED = rules(
    mode="observe",
    interval_seconds=7.5,
    hold_seconds=0,
    read_deadline_seconds=300,
    Hot={"effect": "ignore"},
    UncorrectableErrors={"threshold": 3},
    BadPageThreshold={"effect": "inform", "limit": 64},
)


def test_defaults_are_the_tables() -> None:
    assert dict(RULES.effects) == {name: kind.effect for name, kind in CONDITIONS.items() if kind.effect}
    assert dict(RULES.numbers) == {
        "UncorrectableErrors": 1,
        "BadPageThreshold": None,
        "CorrectableErrors": 10,
    }


def test_settings_change_what_they_name_and_nothing_else() -> None:
    assert dict(CHANGED.effects) == {**RULES.effects, "Hot": "ignore", "BadPageThreshold": "inform"}
    assert dict(CHANGED.numbers) == {
        "UncorrectableErrors": 3,
        "BadPageThreshold": 64,
        "CorrectableErrors": 10,
    }


def test_lines_for_people() -> None:
    assert CHANGED.lines() == (
        "mode observe, interval 7.5 s, recovery hold 0 s, read deadline 300 s",
        "DeviceLost: unhealthy",
        "DriverUnbound: unhealthy",
        "Wedged: unhealthy",
        "BusError: unhealthy",
        "UncorrectableErrors: unhealthy, threshold 3",
        "BadPageThreshold: inform, limit 64",
        "Overheated: unhealthy",
        "Unresponsive: unhealthy",
        "RenderNodeMissing: unhealthy",
        "CorrectableErrors: inform, threshold 10",
        "LinkDegraded: inform",
        "Throttled: inform",
        "Hot: ignore",
        "Busy: inform",
        "PendingPages: inform",
        "LeftoverMemory: inform",
        "PluginStarved: inform",
    )
    assert "BadPageThreshold: unhealthy, limit unset" in RULES.lines()


def test_the_same_for_json() -> None:
    said = CHANGED.as_json()
    assert json.loads(json.dumps(said)) == said
    conditions = said.pop("conditions")
    assert said == {
        "mode": "observe",
        "interval_seconds": 7.5,
        "recovery_hold_seconds": 0,
        "read_deadline_seconds": 300,
    }
    assert list(conditions) == [name for name, kind in CONDITIONS.items() if kind.effect]
    assert conditions["BadPageThreshold"] == {"effect": "inform", "limit": 64}
    assert conditions["Hot"] == {"effect": "ignore"}
