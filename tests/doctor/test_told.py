"""The daemon's answer as a NodeState: against the very document that the daemon makes, and against nonsense."""

import contextlib
import copy
import functools
import json
import operator
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amdgpu_plugin.doctor.findings import findings
from amdgpu_plugin.doctor.looked import Daemon, Registration
from amdgpu_plugin.doctor.telling import as_text
from amdgpu_plugin.doctor.told import SenselessAnswerError, Told, told
from amdgpu_plugin.exposition.api import node_document
from amdgpu_plugin.exposition.snapshot import About, Snapshot
from amdgpu_plugin.exposition.snapshot import Registration as Registered
from amdgpu_plugin.node import Condition, GpuStatus, NodeState, Verdict
from tests.doctor.looks import GPUS, WITH_DAEMON, A, gpu, node

CONFLICT = Registered(registered=False, streams=0, phase="waiting", detail="amd.com_gpu", conflict=True)
WEDGED = Verdict("Wedged", "rebind", 5.0)
BOTH = (*GPUS, gpu("0000:47:00.0", 137, partitions=2))


def document(state: NodeState, **about: Any) -> Any:
    """As it comes over the control socket."""
    snapshot = Snapshot(About("1.2.3", 1000.0, **about), state, {"amd.com/gpu": CONFLICT})
    return json.loads(json.dumps(node_document(snapshot)))


def ill() -> NodeState:
    """One device is ill, one is kept back by observe mode, one GPU has gone; who holds what is known."""
    state = node(*BOTH, guard_active=True, holders={})
    devices = (replace(state.devices[0], verdict=WEDGED), *state.devices[1:])
    hot = Condition("Hot", "junction 101 °C", "readings", 6.0, "inform", held=True)
    statuses = {
        A: GpuStatus(conditions=(hot,)),
        BOTH[1].pci_address: GpuStatus(would_be=replace(WEDGED, since=7.0)),
        BOTH[2].pci_address: GpuStatus(),
    }
    inventory = replace(state.inventory, gpus=BOTH[:2])
    return replace(state, inventory=inventory, devices=devices, statuses=statuses)


def test_a_node_comes_back_as_the_daemon_knows_it() -> None:
    state = ill()
    waits = Registration(
        "amd.com/gpu", registered=False, phase="waiting", detail="amd.com_gpu", conflict=True
    )
    cpx = Registration("amd.com/cpx_nps1", registered=False, phase="not started", detail=None, conflict=False)
    assert told(document(state, events="kernel", simulated=True, expected_gpus=4)) == Told(
        replace(state, holders=None),
        Daemon("1.2.3", simulated=True, events="kernel", holders_known=True, registrations=(cpx, waits)),
        4,
    )


def test_missed_events_are_told_by_those_who_count_them() -> None:
    counted = document(replace(ill(), missed_events=2))
    assert told(counted).daemon.missed_events == 2
    del counted["missed_events"]
    assert told(counted).daemon.missed_events == 0


def test_unknown_holders_are_unknown() -> None:
    assert not told(document(replace(ill(), holders=None))).daemon.holders_known


def test_what_a_newer_daemon_adds_is_passed_over() -> None:
    newer = document(ill())
    for each in (newer, newer["gpus"][0], newer["devices"][0], newer["resources"][0]):
        each["novelty"] = [1]
    assert told(newer) == told(document(ill()))


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        "nothing",
        [],
        {},
        {**document(ill()), "gpus": None},
        {**document(ill()), "devices": [1]},
        {**document(ill()), "gpus": []},
        {**document(ill()), "driver": "amdgpu"},
        {**document(ill()), "expected_gpus": "four"},
    ],
)
def test_nonsense_is_named(nonsense: Any) -> None:
    with pytest.raises(SenselessAnswerError):
        told(nonsense)


@pytest.mark.parametrize("since", [1e300, -1, float("nan"), "now", None])
def test_a_time_that_is_none_is_nonsense(since: Any) -> None:
    odd = document(ill())
    odd["devices"][0]["reason"]["since"] = since
    with pytest.raises(SenselessAnswerError):
        told(odd)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=2) | st.dictionaries(st.text(max_size=5), children, max_size=2)
    ),
    max_leaves=4,
)


def places(value: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a document."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, *path, key)


DOCUMENT = document(ill())


@given(st.sampled_from(list(places(DOCUMENT))), json_values)
def test_any_value_in_any_place_is_nonsense_or_gives_findings(path: tuple[Any, ...], value: Any) -> None:
    odd = copy.deepcopy(DOCUMENT)
    *above, last = path
    functools.reduce(operator.getitem, above, odd)[last] = value
    with contextlib.suppress(SenselessAnswerError):
        answer = told(odd)
        looked = replace(
            WITH_DAEMON, node=answer.node, daemon=answer.daemon, expected_gpus=answer.expected_gpus
        )
        as_text(looked, findings(looked))
