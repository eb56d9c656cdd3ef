"""The node as JSON, against its schema and against what it must say."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from amdgpu_plugin.exposition.api import node_document
from amdgpu_plugin.exposition.snapshot import NOT_STARTED, Registration, Snapshot
from amdgpu_plugin.node import Condition, GpuStatus, Held, Holder, Verdict
from amdgpu_plugin.telemetry.readings import MetricsFormat, Readings
from tests.exposition.states import (
    ABOUT,
    GPU,
    MI300X,
    UNBOUND,
    A,
    B,
    largest,
    node,
    partitioned,
    shot,
    whole,
    without_gpu,
)

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "node.schema.json").read_text())
HOT = Condition("Hot", "junction 101 °C", "readings", 7.0, "inform", held=True)
WAITING = Registration(registered=False, streams=0, phase="waiting for the kubelet", detail="no kubelet.sock")


def document(snapshot: Snapshot) -> Any:
    """As it goes over the wire, and valid."""
    made = json.loads(json.dumps(node_document(snapshot), allow_nan=False))
    Draft202012Validator(SCHEMA).validate(made)
    return made


def test_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "snapshot",
    [
        largest(),
        shot(node()),
        shot(node(whole()), registrations={GPU: WAITING}),
        shot(node(whole()), registrations={}),
        shot(node(whole(product=None, pci_id=None, numa_node=None, left_out="devices.exclude"))),
        shot(without_gpu(node(replace(whole(A), verdict=UNBOUND), readings={A: MI300X}), A)),
        shot(node(whole(), readings={A: Readings(taken_at=1.0, asleep=True)})),
        shot(node(whole(), readings={A: Readings(taken_at=1.0, unknown_metrics=MetricsFormat(9, 9, 9))})),
        shot(node(whole(product='<b>"\\\n\udcff'))),
    ],
    ids=["largest", "empty", "waiting", "early", "unknown", "lost", "asleep", "format", "odd"],
)
def test_every_node_is_as_the_schema_says(snapshot: Snapshot) -> None:
    document(snapshot)


def test_schema_names_each_field_that_is_told_and_no_other() -> None:
    """With everything there, each property that the schema names must be in the document, at its place."""
    told = document(largest())

    def missing(schema: Any, value: Any, path: str) -> list[str]:
        if "$ref" in schema:
            return missing(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], value, path)
        if "anyOf" in schema:
            return [] if value is None else missing(schema["anyOf"][0], value, path)
        if schema.get("type") == "array" and value:
            return missing(schema["items"], value[0], f"{path}[]")
        found = [f"{path}.{name}" for name in schema.get("properties", {}) if name not in value]
        for name, inner in schema.get("properties", {}).items():
            found += missing(inner, value[name], f"{path}.{name}") if name in value else []
        return found

    assert missing(SCHEMA, told, "") == []


def test_document_of_a_small_node() -> None:
    state = node(
        replace(whole(A), verdict=UNBOUND),
        statuses={A: GpuStatus((HOT,), resets=1)},
        holders={Held(GPU, A): (Holder("team", "train", "main"),)},
        policy={"mode": "enforce"},
        revision=4,
    )
    told = document(shot(state))
    assert told.pop("gpus")[0].pop("conditions") == [
        {
            "name": "Hot",
            "detail": "junction 101 °C",
            "source": "readings",
            "since": 7.0,
            "effect": "inform",
            "held": True,
        }
    ]
    assert told == {
        "version": "1.2.3",
        "started_at": 1000.0,
        "simulated": False,
        "events": "none",
        "missed_events": 0,
        "expected_gpus": None,
        "revision": 4,
        "ready": True,
        "driver": {"name": "amdgpu", "version": "6.12.12", "kfd": "readable"},
        "health": {"guard_active": False, "policy": {"mode": "enforce"}},
        "resources": [
            {
                "name": GPU,
                "devices": 1,
                "healthy": 0,
                "registered": True,
                "phase": "registered",
                "detail": None,
                "streams": 1,
                "conflict": False,
            }
        ],
        "devices": [
            {
                "id": A,
                "gpu": A,
                "resource": GPU,
                "partition": None,
                "replicas": 1,
                "render_node": "renderD128",
                "card_node": None,
                "kfd_node": None,
                "healthy": False,
                "reason": {"condition": "DriverUnbound", "detail": "no driver is bound", "since": 5.0},
                "would_be": None,
                "holders": [{"namespace": "team", "pod": "train", "container": "main"}],
            }
        ],
        "links": [],
        "skipped": [],
    }


def test_observed_verdict_is_told_of_devices_that_the_kubelet_thinks_healthy() -> None:
    kept_back = Verdict("Overheated", "junction", 6.0)
    first, second, *_ = partitioned(A, 0)
    state = node(first, replace(second, verdict=UNBOUND), statuses={A: GpuStatus(would_be=kept_back)})
    told = document(shot(replace(state, policy={"mode": "observe"})))["devices"]
    assert [device["would_be"] and device["would_be"]["condition"] for device in told] == ["Overheated", None]


def test_holders_are_null_where_they_are_not_known_and_empty_where_there_are_none() -> None:
    known = document(shot(node(whole(), holders={})))["devices"][0]["holders"]
    assert (known, document(shot(node(whole())))["devices"][0]["holders"]) == ([], None)


def test_a_board_that_left_the_bus_is_told_as_last_seen() -> None:
    state = node(replace(whole(A), verdict=UNBOUND), whole(B), readings={A: MI300X, B: MI300X})
    gone, here = document(shot(without_gpu(state, A)))["gpus"]
    assert (gone["pci_address"], gone["product"], gone["present"], gone["readings"]) == (
        A,
        "AMD Instinct MI300X",
        False,
        None,
    )
    assert (here["present"], here["readings"]["power_watts"]) == (True, 140.0)


def test_a_number_that_json_has_not_is_null() -> None:
    readings = Readings(taken_at=1.0, power_watts=math.nan, energy_joules=math.inf)
    told = document(shot(node(whole(), readings={A: readings})))["gpus"][0]["readings"]
    assert (told["power_watts"], told["energy_joules"]) == (None, None)


def test_a_resource_not_yet_registered_is_there() -> None:
    told = document(shot(node(whole()), registrations={}))
    assert (told["ready"], told["resources"][0]["phase"]) == (False, NOT_STARTED.phase)


def test_example_in_the_docs_has_only_fields_of_the_schema() -> None:
    text = (DOCS / "api.md").read_text().split("```json\n")[1].split("```")[0]
    example = json.loads(text)
    assert example.keys() == SCHEMA["properties"].keys()
    for part in ("gpu", "device", "resource"):
        named = example[f"{part}s"][0].keys() - {"…"}
        assert named <= SCHEMA["$defs"][part]["properties"].keys()


def test_about_does_not_change_the_kubelets_view() -> None:
    told = document(
        shot(node(whole()), about=replace(ABOUT, simulated=True, expected_gpus=8, events="simulated"))
    )
    assert (told["simulated"], told["expected_gpus"], told["events"]) == (True, 8, "simulated")
