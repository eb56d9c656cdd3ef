"""Whatever an earlier daemon's file holds, this one starts, and can tell what it made of it."""

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amdgpu_plugin import remembering
from amdgpu_plugin.config import Config, default_config
from amdgpu_plugin.discovery.inventory import Driver, Inventory
from amdgpu_plugin.discovery.naming import name_resources
from amdgpu_plugin.doctor.health import about_health
from amdgpu_plugin.doctor.looked import Looked
from amdgpu_plugin.doctor.told import told
from amdgpu_plugin.exposition.api import node_document
from amdgpu_plugin.exposition.rendering import exposed, node_metrics
from amdgpu_plugin.health import policy
from amdgpu_plugin.health.events import Wedged
from amdgpu_plugin.health.evidence import Acknowledged, Happened, Moment
from amdgpu_plugin.health.listing import with_earlier, with_verdicts
from amdgpu_plugin.health.monitor import Remembered
from amdgpu_plugin.kubelet.service import device_list
from amdgpu_plugin.node import NodeState
from amdgpu_plugin.remembering import remembered, state_file
from amdgpu_plugin.simulation.node import SimulatedNode
from amdgpu_plugin.state import Memory
from tests.exposition.states import shot
from tests.health.worlds import INTERVAL, NOW, A, B, monitoring, world
from tests.kubelet.worlds import GUARD_SECONDS, running

RULES = policy.rules_of(mode="enforce", interval_seconds=30, hold_seconds=60, read_deadline_seconds=20)
Keys = tuple[str | int, ...]

NASTY: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 255, 1 << 31, (1 << 63) - 1, 1 << 64, 10**400),
    *(-0.5, 0.1, 1e18, 1e308, float("nan"), float("inf")),
    *("", "0", "\0", "\ud800", "\n", "../../x", "x" * 300, "x" * 70_000, "٣", "amd.com/gpu", A, f"{A}-cpx3"),
    *([], {}, [[]], [{}], {"a": 1}, ["Wedged"]),
)
"""What may stand anywhere in a file by mistake or malice."""


def config_of(folder: Path) -> Config:
    return replace(default_config(), state_dir=str(folder), simulate="radeon:1")


async def as_written(node: SimulatedNode, config: Config) -> dict[str, Any]:
    """A file with something in every part of it."""
    async with monitoring(node) as it:
        it.monitor.hear([Wedged(A, ("rebind",))], 0.0)
        known = it.monitor.remembered
    health = policy.Health()
    for evidence in (Happened(Wedged(A, ("rebind",))), Acknowledged("Wedged", "seen", NOW + 60)):
        health = policy.judge(health, evidence, RULES, Moment(0.0, NOW))
    blocks = (
        {"name": "umc", "baseline": 3, "count": 5, "acked": {"for_good": 1, "for_now": 0, "until": 0.0}},
    )
    kept = policy.kept(health).as_json() | {"errors": blocks}
    file = state_file(config)
    file.save(Memory({A: kept}, known.listed, known.given))
    said: dict[str, Any] = json.loads(Path(file.path).read_text())
    return said


def places(said: Any, path: Keys = ()) -> Iterator[Keys]:
    """Of every value in it."""
    yield path
    for key, value in (
        said.items() if isinstance(said, dict) else enumerate(said) if isinstance(said, list) else ()
    ):
        yield from places(value, (*path, key))


def with_value(said: Any, path: Keys, value: Any) -> Any:
    if not path:
        return value
    copied: Any = list(said) if isinstance(said, list) else dict(said)
    copied[path[0]] = with_value(said[path[0]], path[1:], value)
    return copied


@pytest.fixture(scope="module")
def written(memory: Path) -> tuple[SimulatedNode, Config, dict[str, Any]]:
    folder = memory / "remembering"
    os.mkdir(folder)
    node, config = SimulatedNode.create(folder / "node", "mi300x:2"), config_of(folder)
    said = asyncio.run(as_written(node, config))
    node.remove(B)  # what is known of it is what the file says
    return node, config, said


async def starts_with(node: SimulatedNode, config: Config) -> None:
    """All of what a start does with it."""
    async with monitoring(node, earlier=remembered(state_file(config), config)) as it:
        await it.survey_rounds(1)
        state = it.state.value
    assert A in {listed.id for listed in state.devices}
    is_told(state)


def is_told(state: NodeState) -> None:
    """To the kubelet, to people and to Prometheus."""
    for resource in state.resources:
        device_list(state, resource).SerializeToString()
    document = node_document(shot(state))
    json.dumps(document, allow_nan=False).encode()
    list(about_health(Looked("daemon", "", told(document).node, shares_one_name=True)))
    exposed(node_metrics(shot(state)), "openmetrics")


def is_made_use_of(known: Remembered) -> None:
    """As by a start on a node without GPUs, where all that is told is what was kept."""
    now = Moment(0.0, NOW)
    healths = {address: policy.restored(kept, now) for address, kept in known.kept.items()}
    nothing = Inventory(Driver("amdgpu", None, "absent"), (), (), ())
    name_resources(nothing, "single", {} if known.given is None else known.given.names)
    statuses = policy.conclude(healths, RULES, now).statuses
    listed = with_verdicts(with_earlier(known.listed, nothing), statuses, {}, now=NOW)
    is_told(NodeState(nothing, listed, statuses=statuses))


def test_what_was_written_is_understood(
    written: tuple[SimulatedNode, Config, dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    node, config, said = written
    Path(config.state_dir, "state.json").write_text(json.dumps(said))
    known = remembered(state_file(config), config)
    assert ([each.id for each in known.listed], known.given is not None) == ([A, B], True)
    assert policy.kept_from_json(said["gpus"][A]) == known.kept[A]
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []
    asyncio.run(starts_with(node, config))


async def test_a_state_directory_that_is_deleted_is_made_and_filled_again(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembering, "SAVE_PAUSE_SECONDS", 0)
    config = config_of(scratch / "state")
    file = state_file(config)
    async with (
        world(scratch, "radeon:1", interval=INTERVAL) as it,
        running(remembering.keep_saved(file, it.monitor, it.lanes["state"])),
    ):
        for _ in range(2):
            await until_there(file.path)
            shutil.rmtree(config.state_dir)
            await it.round()
        await until_there(file.path)
        assert [each.id for each in file.load().listed] == [each.id for each in it.state.value.devices]


async def until_there(path: str) -> None:
    async with asyncio.timeout(GUARD_SECONDS):
        while not os.path.exists(path):  # noqa: ASYNC110 - a file has no event to wait for
            await asyncio.sleep(0)


def test_no_value_anywhere_in_the_file_is_too_odd(
    written: tuple[SimulatedNode, Config, dict[str, Any]],
) -> None:
    _, config, said = written
    file = Path(config.state_dir, "state.json")
    for path in places(said):
        for value in NASTY:
            file.write_text(json.dumps(with_value(said, path, value)))
            is_made_use_of(remembered(state_file(config), config))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_daemon_starts_whatever_stands_in_the_file(
    written: tuple[SimulatedNode, Config, dict[str, Any]], data: st.DataObject
) -> None:
    node, config, said = written
    for _ in range(data.draw(st.integers(1, 2))):
        said = with_value(
            said, data.draw(st.sampled_from(sorted(places(said), key=str))), data.draw(st.sampled_from(NASTY))
        )
        if not isinstance(said, dict):
            break
    Path(config.state_dir, "state.json").write_text(json.dumps(said))
    asyncio.run(starts_with(node, config))
