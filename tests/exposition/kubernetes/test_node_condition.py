"""Timelines of the node condition, and the patches that an API server gets of it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from amdgpu_plugin.exposition.kubernetes import node_condition, service_account
from amdgpu_plugin.exposition.kubernetes.condition_keeper import ConditionKeeper
from amdgpu_plugin.exposition.kubernetes.node_condition import Ill, Wording
from amdgpu_plugin.exposition.kubernetes.rest import Client
from amdgpu_plugin.exposition.kubernetes.speaking import Speaker
from amdgpu_plugin.health.evidence import Moment
from amdgpu_plugin.instruments import Instruments
from amdgpu_plugin.node import Latest, NodeState, Verdict
from tests.exposition.kubernetes.apiservers import ApiServer, Authority, account, api_server, refusal
from tests.exposition.kubernetes.timelines import UNIX, Time, ill, moment, soon, state
from tests.exposition.states import A, B, partitioned, whole

WELL = state({})
HOT = state({A: (ill("Overheated"),)})
FINE = Wording("False", "GPUsHealthy", "no GPU is unhealthy")
TYPE = "AMDGPUUnhealthy"


def words(
    seen: NodeState,
    seconds: float,
    *,
    delay: float = 300.0,
    settled: bool = True,
    simulated: bool = False,
    before: dict[str, Ill] | None = None,
    now: Moment | None = None,
) -> Wording | None:
    now = now or moment(seconds)
    ills = node_condition.ill(before or {}, seen, now)
    return node_condition.wording(
        ills, seen, now=now.monotonic, delay_seconds=delay, settled=settled, simulated=simulated
    )


# -- When --


def test_false_when_all_is_well_and_nothing_before_all_was_looked_at() -> None:
    assert words(WELL, 10) == FINE
    assert words(WELL, 10, settled=False) is None


def test_true_after_the_delay_and_until_then_as_it_was() -> None:
    assert words(HOT, 299) is None
    assert words(HOT, 300) == Wording("True", "Overheated", f"{A} (AMD Instinct MI300X): Overheated")
    assert words(HOT, 300, settled=False) == words(HOT, 300)


def test_delay_may_be_nothing() -> None:
    said = words(HOT, 0, delay=0)
    assert said is not None
    assert said.status == "True"


def test_only_gpus_that_have_been_ill_for_so_long_are_named() -> None:
    both = state({A: (ill("Overheated"),), B: (ill("Wedged", at=200),)})
    assert words(both, 400) == Wording("True", "Overheated", f"{A} (AMD Instinct MI300X): Overheated")
    assert words(both, 500) == Wording(
        "True",
        "SeveralConditions",
        f"{A} (AMD Instinct MI300X): Overheated; {B} (AMD Instinct MI300X): Wedged",
    )


def test_one_condition_after_another_is_one_time() -> None:
    before = node_condition.ill({}, HOT, moment(0))
    after = state({A: (ill("Wedged", at=250),)})
    assert node_condition.ill(before, after, moment(250)) == {A: Ill("Wedged", 0.0)}
    assert words(after, 300, before=before) is not None
    assert node_condition.ill(before, WELL, moment(300)) == {}


@pytest.mark.parametrize("jump", [-86400.0, 86400.0])
def test_clock_that_jumps_neither_cuts_the_delay_nor_draws_it_out(jump: float) -> None:
    before = node_condition.ill({}, HOT, moment(1))
    assert words(HOT, 299, before=before, now=Moment(299, UNIX + jump + 299)) is None
    assert words(HOT, 300, before=before, now=Moment(300, UNIX + jump + 300)) == words(HOT, 300)


def test_trouble_of_a_clock_that_was_ahead_began_at_most_now() -> None:
    assert node_condition.ill({}, HOT, Moment(50, UNIX - 86400)) == {A: Ill("Overheated", 50)}


@pytest.mark.parametrize("fact", ["Retired", "HeldElsewhere"])
def test_facts_about_ids_are_no_illness(fact: str) -> None:
    verdict = Verdict(fact, "so it is", UNIX)
    assert words(state({}, devices=(replace(whole(A), verdict=verdict),)), 10_000) == FINE


def test_what_informs_is_no_illness() -> None:
    assert words(state({A: (ill("Overheated", effect="inform"),)}), 10_000) == FINE


def test_partitions_are_one_gpu() -> None:
    seen = state({A: (ill("Overheated"),)}, devices=partitioned(A, 0))
    said = words(seen, 300)
    assert said is not None
    assert said.message == f"{A} (AMD Instinct MI300X): Overheated"


@pytest.mark.parametrize("seen", [WELL, HOT])
def test_simulated_gpus_are_said_to_be_such(seen: NodeState) -> None:
    real, simulated = words(seen, 300), words(seen, 300, simulated=True)
    assert real is not None
    assert simulated == replace(real, message=f"Simulated: {real.message}")


def test_message_of_many_gpus_is_cut() -> None:
    devices = tuple(whole(f"0000:{bus:02x}:00.0") for bus in range(64))
    said = words(state({each.id: (ill("DriverUnbound"),) for each in devices}, devices=devices), 300)
    assert said is not None
    assert len(said.message.encode()) <= 1024


@pytest.mark.parametrize("node", [None, [], {}, {"status": None}, {"status": {"conditions": [{}]}}])
def test_node_that_makes_no_sense_has_no_such_condition(node: object) -> None:
    assert node_condition.status_in(node) is None


# -- What the API server gets --


@pytest.fixture
async def api(authority: Authority) -> AsyncIterator[ApiServer]:
    async with api_server(authority) as started:
        yield started


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def node(
    api: ApiServer, authority: Authority, account_folder: Path, time: Time
) -> AsyncIterator[Latest[NodeState]]:
    """What a keeper follows that runs."""
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.port)}
    place = partial(service_account.api_server, environ, str(account(account_folder, authority)))
    latest = Latest(WELL)
    keeper = ConditionKeeper(
        node=latest,
        name="worker-1",
        speaker=Speaker(Client(place), Instruments()),
        delay_seconds=300.0,
        settled_at=110.0,
        moment=time.moment,
        sleep=time.sleep,
    )
    task = asyncio.create_task(keeper.run())
    yield latest
    task.cancel()
    await asyncio.wait([task])


async def until(time: Time, seconds: float) -> None:
    """Let the keeper look every 5 s until then."""
    while time.now < seconds:
        await time.asleep(1)
        time.go_on(5)
    await time.asleep(1)


def said(api: ApiServer) -> list[tuple[str, str | None, str]]:
    """Each patch: status, transition, heartbeat; times as in `14:13:20`."""
    patches = [asked.json["status"]["conditions"][0] for asked in api.asked if "status" in asked.json]
    return [
        (each["status"], each.get("lastTransitionTime", "")[11:19] or None, each["lastHeartbeatTime"][11:19])
        for each in patches
    ]


async def test_a_fault_and_its_end(api: ApiServer, node: Latest[NodeState], time: Time) -> None:
    await until(time, 105)
    assert api.asked == []
    await until(time, 110)
    assert said(api) == [("False", "14:15:10", "14:15:10")]
    await until(time, 200)
    node.set(state({A: (ill("Overheated", at=200),)}))
    await until(time, 495)
    # the heartbeat goes on meanwhile
    assert said(api)[1:] == [("False", None, "14:20:10")]
    await until(time, 500)
    assert said(api)[2:] == [("True", "14:21:40", "14:21:40")]
    assert api.conditions[TYPE] == {
        "type": TYPE,
        "status": "True",
        "reason": "Overheated",
        "message": f"{A} (AMD Instinct MI300X): Overheated",
        "lastHeartbeatTime": "2026-09-21T14:21:40Z",
        "lastTransitionTime": "2026-09-21T14:21:40Z",
    }
    node.set(WELL)
    await until(time, 505)
    assert said(api)[3:] == [("False", "14:21:45", "14:21:45")]
    assert {(asked.method, asked.path, asked.headers["content-type"]) for asked in api.asked} == {
        ("PATCH", "/api/v1/nodes/worker-1/status", "application/strategic-merge-patch+json")
    }


async def test_what_an_earlier_daemon_said_keeps_its_time(
    api: ApiServer, node: Latest[NodeState], time: Time
) -> None:
    api.conditions[TYPE] = {"type": TYPE, "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    await until(time, 110)
    assert api.asked[0].json == {}
    assert said(api) == [("False", None, "14:15:10")]
    assert api.conditions[TYPE]["lastTransitionTime"] == "2026-01-01T00:00:00Z"


async def test_a_fault_that_an_earlier_daemon_told_stays_until_it_is_known_to_be_over(
    api: ApiServer, node: Latest[NodeState], time: Time
) -> None:
    api.conditions[TYPE] = {"type": TYPE, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    await until(time, 20)
    node.set(state({A: (ill("Overheated", at=20),)}))
    await until(time, 315)
    assert api.asked == []
    await until(time, 320)
    assert said(api) == [("True", None, "14:18:40")]
    node.set(WELL)
    await until(time, 325)
    assert said(api)[1:] == [("False", "14:18:45", "14:18:45")]


async def test_forbidden_is_said_once_and_tried_slowly(
    api: ApiServer, node: Latest[NodeState], time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    api.refuse = lambda _asked: refusal(403, "no")
    await until(time, 1000)
    assert len(api.asked) == 3
    (record,) = caplog.records
    assert "not allowed to patch nodes/status of worker-1" in getattr(record, "fields", {})["error"]
    api.refuse = lambda _asked: None
    await until(time, 1300)
    assert api.conditions[TYPE]["status"] == "False"


@pytest.mark.parametrize("status", [503, 409])
async def test_api_server_that_is_away_or_busy_with_another_is_tried_again_soon(
    api: ApiServer, node: Latest[NodeState], time: Time, status: int
) -> None:
    api.refuse = lambda _asked: refusal(status, "no")
    await until(time, 110)
    api.refuse = lambda _asked: None
    time.go_on(1)
    await soon(lambda: TYPE in api.conditions)
