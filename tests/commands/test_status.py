"""`status` as people read it, of documents as the daemon makes them."""

import json
from dataclasses import replace

import pytest

from amdgpu_plugin.commands.status import as_table
from amdgpu_plugin.discovery.inventory import Skipped
from amdgpu_plugin.exposition.api import node_document
from amdgpu_plugin.exposition.snapshot import Registration, Snapshot
from tests.exposition.states import GPU, REGISTERED, A, node, shot, whole

HEAD = "amdgpu-plugin 1.2.3, kernel events: none, health: enforce"


def table(snapshot: Snapshot) -> list[str]:
    snapshot = replace(snapshot, state=replace(snapshot.state, policy={"mode": "enforce"}))
    document = json.loads(json.dumps(node_document(snapshot)))
    return as_table(document).split("\n")


def without_stream(phase: str, detail: str = "") -> Registration:
    return Registration(registered=phase == "registered", streams=0, phase=phase, detail=detail)


@pytest.mark.parametrize(
    ("registration", "told"),
    [
        (REGISTERED, "registered"),
        (
            without_stream("waiting for the kubelet", "/p/kubelet.sock is not there"),
            "not registered: waiting for the kubelet (/p/kubelet.sock is not there)",
        ),
        (without_stream("starting"), "not registered: starting"),
        (
            without_stream("not registered", "the ListAndWatch stream was lost"),
            "not registered: the ListAndWatch stream was lost",
        ),
        (without_stream("not registered"), "not registered"),
        (without_stream("registered"), "not registered: the kubelet does not listen"),
    ],
)
def test_a_resource_that_is_not_registered_says_so_and_why(registration: Registration, told: str) -> None:
    shown = table(shot(node(whole()), registrations={GPU: registration}))
    assert shown[1] == f"{GPU}: 1 of 1 healthy, {told}"


def test_a_node_without_a_gpu_has_one_blank_line_before_what_was_skipped() -> None:
    skipped = (Skipped("class/drm/card1", "is not amdgpu's"), Skipped(A, "left out"))
    empty = node()
    state = replace(empty, inventory=replace(empty.inventory, skipped=skipped))
    assert table(shot(empty)) == [HEAD, "no GPU to serve"]
    assert table(shot(state))[1:] == [
        "no GPU to serve",
        "",
        "Skipped",
        "  class/drm/card1  is not amdgpu's",
        f"  {A}     left out",
    ]


def test_devices_stand_between_blank_lines() -> None:
    state = node(whole())
    state = replace(state, inventory=replace(state.inventory, skipped=(Skipped("x", "why"),)))
    shown = table(shot(state))
    assert [shown[2], shown[3].split()[0], shown[4].split()[0], *shown[5:]] == (
        ["", "DEVICE", A, "", "Skipped", "  x  why"]
    )
