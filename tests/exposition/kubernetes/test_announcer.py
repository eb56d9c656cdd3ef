"""The edge between a node's states and an API server over TLS; time is the test's."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from amdgpu_plugin.exposition.kubernetes import announcer as module
from amdgpu_plugin.exposition.kubernetes import service_account
from amdgpu_plugin.exposition.kubernetes.announcer import Announcer
from amdgpu_plugin.exposition.kubernetes.outbox import Outbox
from amdgpu_plugin.exposition.kubernetes.rest import Client, Limits
from amdgpu_plugin.exposition.kubernetes.speaking import Speaker
from amdgpu_plugin.exposition.kubernetes.standing import Subject
from amdgpu_plugin.exposition.kubernetes.story import Story, Told
from amdgpu_plugin.instruments import Instruments
from amdgpu_plugin.node import Latest, NodeState
from tests.exposition.kubernetes.apiservers import (
    Answer,
    ApiServer,
    Asked,
    Authority,
    account,
    api_server,
    refusal,
)
from tests.exposition.kubernetes.timelines import UNIX, Time, held, ill, soon, state
from tests.exposition.states import A, B, whole
from tests.test_instruments import samples

WELL = state({})
HOT = state({A: (ill("Overheated"),)})
BOTH = state({A: (ill("Overheated"),), B: (ill("Wedged"),)})
HELD = held(whole(A), "train")
NODE = ("Node", "worker-1")


@dataclass(slots=True)
class World:
    """An announcer that runs. `kept` is what a later daemon would find."""

    api: ApiServer
    node: Latest[NodeState]
    time: Time
    instruments: Instruments
    kept: list[dict[Subject, Told]] = field(default_factory=list)

    def counted(self, what: str) -> dict[str, float]:
        found = samples(self.instruments, f"amdgpu_plugin_kubernetes_{what}")
        return {key[1]: value for key, value in found.items() if value}

    async def keep(self, told: dict[Subject, Told]) -> None:
        self.kept.append(told)

    async def sent(self, count: int) -> None:
        await soon(lambda: self.counted("events").get("sent", 0) >= count)


@asynccontextmanager
async def announcing(
    api: ApiServer,
    folder: Path,
    first: NodeState = WELL,
    *,
    told: dict[Subject, Told] | None = None,
    room: int = 256,
) -> AsyncIterator[World]:
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.port)}
    client = Client(partial(service_account.api_server, environ, str(folder)), Limits())
    time, instruments = Time(), Instruments()
    world = World(api, Latest(first), time, instruments)
    edge = Announcer(
        node=world.node,
        name="worker-1",
        speaker=Speaker(client, instruments),
        story=Story(told or {}, settled_at=0.0),
        instruments=instruments,
        keep=world.keep,
        moment=time.moment,
        sleep=time.sleep,
        outbox=Outbox(room),
    )
    task = asyncio.create_task(edge.run())
    try:
        await time.asleep(1)
        yield world
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def api(authority: Authority) -> AsyncIterator[ApiServer]:
    async with api_server(authority) as started:
        yield started


@pytest.fixture
async def world(api: ApiServer, authority: Authority, account_folder: Path) -> AsyncIterator[World]:
    async with announcing(api, account(account_folder, authority)) as started:
        yield started


async def test_node_and_pod_are_told_of_a_fault_and_of_its_end(world: World) -> None:
    world.api.add_pod("team/train", "uid-1")
    world.node.set(state({A: (ill("Overheated"),)}, holders=HELD))
    await world.sent(2)
    world.node.set(state({}, holders=HELD))
    await world.sent(4)
    pod = ("Pod", "train")
    assert world.api.told() == [
        (*NODE, "Overheated"),
        (*pod, "Overheated"),
        (*NODE, "OverheatedCleared"),
        (*pod, "OverheatedCleared"),
    ]
    assert [event["involvedObject"]["uid"] for event in world.api.events] == ["worker-1", "uid-1"] * 2
    assert len({event["metadata"]["name"] for event in world.api.events}) == 4
    assert [asked.path for asked in world.api.asked[:3]] == [
        "/api/v1/namespaces/default/events",
        "/api/v1/namespaces/team/pods/train",
        "/api/v1/namespaces/team/events",
    ]
    assert (world.counted("events"), world.counted("errors")) == ({"sent": 4}, {})


async def test_what_was_sent_is_kept_for_a_later_daemon(world: World) -> None:
    world.node.set(HOT)
    await world.sent(1)
    world.node.set(WELL)
    await world.sent(2)
    assert world.kept == [{Subject(A, "Overheated"): Told("unhealthy", UNIX)}, {}]


async def test_what_is_not_sent_yet_is_not_kept(world: World) -> None:
    world.api.refuse = lambda _asked: refusal(503, "starting")
    world.node.set(HOT)
    await world.time.asleep(2)
    assert world.kept == []


async def test_api_server_that_is_away_is_waited_for_and_told_when_it_happened(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world.api.refuse = lambda _asked: refusal(503, "starting")
    world.node.set(HOT)
    tries: list[float] = []
    for _ in range(200):
        await world.time.asleep(2)
        if len(world.api.asked) > len(tries):
            tries.append(world.time.now)
        world.time.go_on(1)
    assert tries == [0, 1, 3, 7, 15, 31, 63, 123, 183]
    await world.time.asleep(2)
    world.node.set(WELL)
    await asyncio.sleep(0)
    world.api.refuse = lambda _asked: None
    world.time.go_on(60)
    await world.sent(2)
    assert world.api.events[0]["firstTimestamp"] == "2026-09-21T14:13:20Z"
    assert world.api.told() == [(*NODE, "Overheated"), (*NODE, "OverheatedCleared")]
    said = [record.getMessage() for record in caplog.records]
    assert said == ["Kubernetes is not told", "Kubernetes is told again"]
    assert set(world.counted("errors")) == {"server"}


async def test_throttled_waits_as_long_as_it_is_asked_to(world: World) -> None:
    world.api.refuse = lambda _asked: Answer(429, {}, (("Retry-After", "37"),))
    world.node.set(HOT)
    await world.time.asleep(2)
    assert max(world.time.pauses) == 37


async def test_forbidden_is_said_once_and_tried_every_five_minutes(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.api.refuse = lambda _asked: refusal(403, "events is forbidden")
    world.node.set(BOTH)
    await world.time.asleep(2)
    for _ in range(120):
        await world.time.asleep(2)
        world.time.go_on(5)
    await world.time.asleep(2)
    # ten minutes: at once, and twice
    assert len(world.api.asked) in {2, 3}
    (record,) = caplog.records
    assert record.getMessage() == "Kubernetes is not told"
    fields = getattr(record, "fields", {})
    assert "not allowed to create events in namespace default" in fields["error"]
    assert "kubernetesEvents.enabled" in fields["remedy"]
    world.api.refuse = lambda _asked: None
    world.time.go_on(300)
    await world.sent(2)
    assert world.api.told() == [(*NODE, "Overheated"), (*NODE, "Wedged")]


async def test_pods_that_may_not_be_asked_for_keep_the_node_s_events_going(world: World) -> None:
    world.api.refuse = lambda asked: refusal(403, "no") if "/pods/" in asked.path else None
    world.node.set(state({A: (ill("Overheated"),)}, holders=HELD))
    await world.sent(1)
    await world.time.asleep(2)
    world.node.set(state({}, holders=HELD))
    await asyncio.sleep(0)
    world.time.go_on(5)
    await world.sent(2)
    assert world.api.told() == [(*NODE, "Overheated"), (*NODE, "OverheatedCleared")]
    assert world.counted("errors") == {"forbidden": 1}


async def test_namespace_whose_webhook_is_broken_keeps_the_node_s_events_going(world: World) -> None:
    world.api.add_pod("team/train", "uid-1")
    broken = "/api/v1/namespaces/team/events"
    world.api.refuse = lambda asked: refusal(500, "failed calling webhook") if asked.path == broken else None
    world.node.set(state({A: (ill("Overheated"),)}, holders=HELD))
    await world.sent(1)
    await world.time.asleep(2)
    assert world.counted("errors") == {"server": 1}
    world.node.set(state({A: (ill("Overheated"),), B: (ill("Wedged"),)}, holders=HELD))
    await world.time.asleep(2)
    tries = [world.time.now]
    world.time.go_on(5)
    await world.sent(2)
    for _ in range(120):
        await world.time.asleep(2)
        if sum(asked.path == broken for asked in world.api.asked) > len(tries):
            tries.append(world.time.now)
        world.time.go_on(5)
    assert tries == [0, 5, 10, 15, 25, 45, 80, 140, 200, 260, 320, 380, 440, 500, 560]
    world.api.refuse = lambda _asked: None
    await world.time.asleep(2)
    world.time.go_on(60)
    await world.sent(3)
    assert world.api.told() == [(*NODE, "Overheated"), (*NODE, "Wedged"), ("Pod", "train", "Overheated")]


@pytest.mark.parametrize("made", [None, "2026-09-21T14:20:00Z"])
async def test_pod_that_is_gone_or_another_of_its_name_is_not_told(world: World, made: str | None) -> None:
    if made is not None:
        world.api.add_pod("team/train", "of-another", made)
    world.node.set(state({A: (ill("Overheated"),)}, holders=HELD))
    await world.sent(1)
    await world.api.until(lambda: len(world.api.asked) == 2)
    world.node.set(state({B: (ill("Wedged"),)}, holders={}))
    await world.sent(3)
    assert [kind for kind, *_ in world.api.told()] == ["Node"] * 3
    assert world.counted("events") == {"sent": 3, "failed": 1}


async def test_pod_that_is_younger_than_the_trouble_is_told(world: World) -> None:
    """Wedged was acknowledged for a while, and in that while the GPU was given to a new pod."""
    world.node.set(HOT)
    await world.sent(1)
    world.time.now = 3600
    world.api.add_pod("team/train", "uid-1", made="2026-09-21T15:10:00Z")
    world.node.set(state({A: (ill("Overheated"),)}, holders=HELD))
    await world.sent(2)
    assert world.api.told()[1:] == [("Pod", "train", "Overheated")]


async def test_namespace_that_ends_is_given_up_without_a_word(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    details = {"causes": [{"reason": "NamespaceTerminating"}]}

    def refuse(asked: Asked) -> Answer | None:
        return refusal(403, "ends", details=details) if asked.path.endswith("/team/events") else None

    world.api.refuse = refuse
    world.api.add_pod("team/train", "uid-1")
    world.node.set(state({A: (ill("Overheated"),)}, holders=HELD))
    await world.api.until(lambda: len(world.api.asked) == 3)
    world.node.set(state({B: (ill("Wedged"),)}, holders={}))
    await world.sent(3)
    assert world.counted("events") == {"sent": 3, "failed": 1}
    assert caplog.records == []


async def test_event_that_is_there_already_was_sent(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.api.refuse = lambda _asked: refusal(409, "already exists")
    world.node.set(HOT)
    await soon(lambda: world.kept)
    assert world.counted("events") == {"sent": 1}
    assert caplog.records == []


async def test_refused_for_good_is_given_up_and_said(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.api.refuse = lambda _asked: refusal(422, "ValidatingAdmissionPolicy denied request")
    world.node.set(HOT)
    await world.api.until(lambda: world.api.asked)
    world.api.refuse = lambda _asked: None
    world.node.set(BOTH)
    await world.sent(1)
    assert world.counted("events") == {"sent": 1, "failed": 1}
    (record, *_) = caplog.records
    assert "denied request" in getattr(record, "fields", {})["error"]


async def test_too_many_that_wait_cost_the_oldest(
    api: ApiServer, account_folder: Path, authority: Authority
) -> None:
    api.refuse = lambda _asked: refusal(503, "starting")
    names = ("BusError", "DeviceLost", "Overheated", "Unresponsive", "Wedged")
    async with announcing(
        api, account(account_folder, authority), state({A: tuple(map(ill, names))}), room=3
    ) as world:
        await world.time.asleep(2)
        assert world.counted("events") == {"dropped": 2}
        api.refuse = lambda _asked: None
        world.time.go_on(1)
        await world.sent(3)
    assert [reason for *_, reason in api.told()] == ["Overheated", "Unresponsive", "Wedged"]


async def test_no_pod_around_us_is_said_once_and_looked_for_again(
    api: ApiServer, account_folder: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    account_folder.mkdir()
    async with announcing(api, account_folder, HOT) as world:
        await world.time.asleep(2)
        world.time.go_on(1)
        await world.time.asleep(2)
        assert len(caplog.records) == 1
        assert "automountServiceAccountToken" in getattr(caplog.records[0], "fields", {})["remedy"]
        account(account_folder, authority)
        world.time.go_on(60)
        await world.sent(1)
        assert world.counted("errors") == {"not_in_cluster": 2}


async def test_what_an_earlier_daemon_told_is_not_told_again(
    api: ApiServer, account_folder: Path, authority: Authority
) -> None:
    told = {Subject(A, "Overheated"): Told("unhealthy", UNIX)}
    async with announcing(api, account(account_folder, authority), HOT, told=told) as world:
        world.node.set(BOTH)
        await world.sent(1)
        assert api.told() == [(*NODE, "Wedged")]
        assert world.kept[-1].keys() == {Subject(A, "Overheated"), Subject(B, "Wedged")}


async def test_what_was_held_back_is_told_with_the_clock(world: World) -> None:
    for number in range(8):
        world.node.set(WELL if number % 2 else HOT)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    world.node.set(HOT)
    await world.sent(6)
    await asyncio.sleep(0)
    assert world.counted("events") == {"sent": 6, "held_back": 3}
    for _ in range(60):
        await world.time.asleep(1)
        world.time.go_on(module.TICK_SECONDS)
    await world.sent(7)
    assert "2 changes of it before this one were not told." in world.api.events[-1]["message"]
