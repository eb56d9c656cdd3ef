"""The script in examples/remediation.yaml: what it decides for a fleet, and what it asks of the API server."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

EXAMPLE = Path(__file__).parents[2] / "examples" / "remediation.yaml"
NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
MARK = "gpu-remediation.example.com/cordoned"

Node = dict[str, Any]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    (text,) = (
        each["data"]["remediate.py"]
        for each in yaml.safe_load_all(EXAMPLE.read_text())
        if each["kind"] == "ConfigMap"
    )
    module = ModuleType("remediate")
    exec(compile(text, "remediate.py", "exec"), module.__dict__)
    return module


def node(
    name: str,
    status: str | None,
    *,
    minutes: float = 60,
    silent: float = 5,
    cordoned: bool = False,
    marked: bool = False,
) -> Node:
    """With the condition as it has been for `minutes`, told last `silent` minutes ago; None: without."""
    since, heartbeat = (
        (NOW - timedelta(minutes=ago)).strftime("%Y-%m-%dT%H:%M:%SZ") for ago in (minutes, silent)
    )
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": since}
    ours = {"type": "AMDGPUUnhealthy", "status": status, "lastTransitionTime": since}
    ours["lastHeartbeatTime"] = heartbeat
    return {
        "metadata": {
            "name": name,
            "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {MARK: "true"} if marked else {},
        },
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {"conditions": [ready, ours] if status else [ready]},
    }


def planned(script: ModuleType, nodes: Iterable[Node], *, most: int = 1) -> dict[str, tuple[str, str]]:
    return {
        each["metadata"]["name"]: (what, why) for each, what, why in script.plan(list(nodes), most, 30, NOW)
    }


def test_nothing_is_said_of_nodes_that_are_well_or_unknown(script: ModuleType) -> None:
    assert planned(script, [node("a", "False"), node("b", None), node("c", "Unknown")]) == {}


def test_longest_unhealthy_are_cordoned_up_to_the_cap(script: ModuleType) -> None:
    fleet = [node("a", "True", minutes=40), node("b", "True", minutes=90), node("c", "True", minutes=60)]
    assert planned(script, fleet, most=2) == {
        "b": ("cordon", "unhealthy for 90 min"),
        "c": ("cordon", "unhealthy for 60 min"),
        "a": ("leave", "the cap: 2 cordoned by this job, at most 2"),
    }


def test_own_cordons_of_before_count(script: ModuleType) -> None:
    fleet = [node("a", "True", cordoned=True, marked=True), node("b", "True")]
    assert planned(script, fleet) == {
        "a": ("leave", "cordoned by this job; AMDGPUUnhealthy is True"),
        "b": ("leave", "the cap: 1 cordoned by this job, at most 1"),
    }


def test_room_made_now_is_used_by_the_next_run_only(script: ModuleType) -> None:
    fleet = [node("a", "False", cordoned=True, marked=True), node("b", "True")]
    assert planned(script, fleet) == {
        "a": ("un-cordon", "its GPUs are well"),
        "b": ("leave", "the cap: 1 cordoned by this job, at most 1"),
    }


def test_young_condition_is_waited_for(script: ModuleType) -> None:
    assert planned(script, [node("a", "True", minutes=29), node("b", "True", minutes=30)]) == {
        "a": ("leave", "unhealthy for 29 min, not yet 30"),
        "b": ("cordon", "unhealthy for 30 min"),
    }


@pytest.mark.parametrize("status", [None, "Unknown"])
def test_own_cordon_stays_while_nobody_says_that_it_is_well(script: ModuleType, status: str | None) -> None:
    (said,) = planned(script, [node("a", status, cordoned=True, marked=True)]).values()
    assert said == ("leave", f"cordoned by this job; AMDGPUUnhealthy is {status or 'not set'}")


def test_condition_that_nobody_tells_any_more_changes_nothing(script: ModuleType) -> None:
    """As after an uninstall, which leaves its last word."""
    fleet = [
        node("a", "True", silent=15),
        node("b", "True", silent=16),
        node("c", "False", silent=16, cordoned=True, marked=True),
        node("d", "False", silent=16),
    ]
    assert planned(script, fleet, most=9) == {
        "a": ("cordon", "unhealthy for 60 min"),
        "b": ("leave", "AMDGPUUnhealthy is True, told last 16 min ago"),
        "c": ("leave", "AMDGPUUnhealthy is False, told last 16 min ago"),
    }


def test_what_a_person_did_is_left_alone(script: ModuleType) -> None:
    fleet = [
        node("cordoned", "True", cordoned=True),
        node("cordoned-and-well", "False", cordoned=True),
        node("un-cordoned", "True", marked=True),
        # which takes no room, as it takes pods
        node("other", "True", minutes=50),
    ]
    assert planned(script, fleet) == {
        "cordoned": ("leave", "cordoned by somebody else"),
        "un-cordoned": ("leave", "a person has un-cordoned it"),
        "other": ("cordon", "unhealthy for 50 min"),
    }


def test_cap_of_0_cordons_none_and_still_takes_back(script: ModuleType) -> None:
    fleet = [node("a", "False", cordoned=True, marked=True), node("b", "True")]
    assert [what for what, _ in planned(script, fleet, most=0).values()] == ["un-cordon", "leave"]


def test_patch_is_tied_to_the_version_looked_at(script: ModuleType) -> None:
    assert [script.patch_for(node("a", "True"), cordon) for cordon in (True, False)] == [
        {"metadata": {"resourceVersion": "7", "labels": {MARK: "true"}}, "spec": {"unschedulable": True}},
        {"metadata": {"resourceVersion": "7", "labels": {MARK: None}}, "spec": {"unschedulable": None}},
    ]


def test_all_pages_are_read(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {
        "": {"items": [node("a", "True"), node("plain", None)], "metadata": {"continue": "x=/"}},
        "x%3D/": {"items": [node("b", "False")], "metadata": {}},
    }
    monkeypatch.setattr(script, "api", lambda _method, path: pages[path.partition("continue=")[2]])
    assert [each["metadata"]["name"] for each in script.gpu_nodes()] == ["a", "b"]
