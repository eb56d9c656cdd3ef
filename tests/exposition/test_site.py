"""The pages over a real socket, of a node that changes."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_classic

from amdgpu_plugin.exposition import rendering
from amdgpu_plugin.exposition.api import node_document
from amdgpu_plugin.exposition.metrics import families
from amdgpu_plugin.exposition.rendering import Renderer
from amdgpu_plugin.exposition.site import CLASSIC, OPENMETRICS, Site
from amdgpu_plugin.exposition.snapshot import Snapshot
from amdgpu_plugin.instruments import Instruments
from amdgpu_plugin.lanes import Lane
from tests.exposition.clients import Answered, Listener, listening
from tests.exposition.states import ABOUT, GPU, MI300X, REGISTERED, UNBOUND, A, node, shot, whole


@dataclass(slots=True)
class Served:
    """What is served, to be replaced by the test, and how often pages of it were made."""

    snapshot: Snapshot
    instruments: Instruments
    listener: Listener
    asked: int = 0

    async def get(self, path: str, *, headers: str = "", method: str = "GET") -> Answered:
        return await (await self.listener.connect()).ask(path, headers=headers, method=method)


@asynccontextmanager
async def serving(snapshot: Snapshot, *, status_page: bool = True) -> AsyncIterator[Served]:
    instruments = Instruments()

    def now() -> Snapshot:
        return served.snapshot

    renderer = Renderer(now, instruments, Lane("render"))
    async with listening(Site(now, renderer, status_page=status_page).answer) as listener:
        served = Served(snapshot, instruments, listener)
        yield served


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which expensive pages were made, in order, and in which thread."""
    done: list[str] = []

    def noted_families(snapshot: Snapshot) -> Iterator[Metric]:
        done.append(f"metrics in {threading.current_thread().name}")
        return families(snapshot)

    def noted_document(snapshot: Snapshot) -> dict[str, Any]:
        done.append(f"node in {threading.current_thread().name}")
        return node_document(snapshot)

    monkeypatch.setattr(rendering, "families", noted_families)
    monkeypatch.setattr(rendering, "node_document", noted_document)
    return done


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/", b"heard from the kernel"),
        ("/metrics", b'events="kernel"'),
        ("/api/v1/node", b'"events": "kernel"'),
    ],
)
async def test_that_nobody_listens_any_more_shows_on_a_node_that_does_not_change(
    path: str, told: bytes
) -> None:
    heard = shot(node(whole()), about=replace(ABOUT, events="kernel"))
    async with serving(heard) as served:
        before = await served.get(path)
        served.snapshot = replace(heard, about=replace(ABOUT, events="none"))
        after = await served.get(path)
    assert (told in before.body, told in after.body) == (True, False)


async def test_metrics_are_the_nodes_and_the_daemons_in_the_classic_format() -> None:
    async with serving(shot(node(whole(), readings={A: MI300X}))) as served:
        served.instruments.heard("unbind", "pci")
        answered = await served.get("/metrics")
    assert (answered.status, answered.headers["content-type"]) == (200, CLASSIC)
    samples = {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in parse_classic(answered.body.decode())
        for sample in family.samples
    }
    assert samples["amdgpu_power_watts", (A,)] == 140.0
    assert samples["amdgpu_plugin_uevents_total", ("unbind", "pci")] == 1.0


async def test_openmetrics_is_one_valid_page() -> None:
    async with serving(shot(node(whole(), readings={A: MI300X}))) as served:
        answered = await served.get(
            "/metrics", headers="Accept: application/openmetrics-text;version=1.0.0\r\n"
        )
    assert answered.headers["content-type"] == OPENMETRICS
    families = list(parse_openmetrics(answered.body.decode()))  # type: ignore[no-untyped-call]
    names = [family.name for family in families]
    assert len(set(names)) == len(names)
    assert {"amdgpu_power_watts", "amdgpu_plugin_uevents"} <= set(names)


async def test_a_page_is_made_off_the_loop_and_only_when_the_node_changed(made: list[str]) -> None:
    state = node(whole())
    async with serving(shot(state)) as served:
        for _ in range(3):
            await served.get("/metrics")
            await served.get("/api/v1/node")
        assert made == ["metrics in render", "node in render"]
        served.snapshot = shot(replace(state, devices=(replace(whole(), verdict=UNBOUND),)))
        body = (await served.get("/metrics")).body
        assert f'amdgpu_device_healthy{{device="{A}",gpu="{A}"}} 0.0'.encode() in body
        assert len(made) == 3


async def test_many_scrapes_at_once_make_one_page(made: list[str]) -> None:
    async with serving(shot(node(whole()))) as served:
        bodies = [
            answered.body for answered in await asyncio.gather(*(served.get("/metrics") for _ in range(20)))
        ]
    assert made == ["metrics in render"]
    assert all(b"amdgpu_device_healthy" in body for body in bodies)


async def test_a_lost_stream_is_on_the_page_though_the_node_is_the_same() -> None:
    state = node(whole())
    async with serving(shot(state)) as served:
        assert b'amdgpu_plugin_registered{resource="amd.com/gpu"} 1.0' in (await served.get("/metrics")).body
        served.snapshot = shot(state, registrations={GPU: replace(REGISTERED, streams=0)})
        assert b'amdgpu_plugin_registered{resource="amd.com/gpu"} 0.0' in (await served.get("/metrics")).body


async def test_the_daemons_counters_are_fresh_though_the_node_is_the_same() -> None:
    async with serving(shot(node(whole()))) as served:
        await served.get("/metrics")
        served.instruments.uevent_overruns.inc()
        assert b"amdgpu_plugin_uevent_overruns_total 1.0" in (await served.get("/metrics")).body


async def test_ready_follows_the_registration() -> None:
    state = node(whole())
    async with serving(shot(state)) as served:
        answered = await served.get("/readyz")
        assert (answered.status, answered.body) == (200, b"ready\namd.com/gpu: registered\n")
        served.snapshot = shot(state, registrations={GPU: replace(REGISTERED, streams=0)})
        answered = await served.get("/readyz")
        assert (answered.status, answered.body) == (
            503,
            b"not ready\namd.com/gpu: registered, without a stream\n",
        )


async def test_nothing_to_serve_is_ready_with_the_reason() -> None:
    async with serving(shot(node())) as served:
        answered = await served.get("/readyz")
    assert (answered.status, answered.body) == (
        200,
        b"ready\nnothing to serve: no GPU to offer was found (0 skipped)\n",
    )


async def test_probes_are_answered_while_rendering_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, goes = threading.Event(), threading.Event()

    def stuck(_snapshot: Snapshot) -> object:
        begun.set()
        goes.wait(10)
        return {}

    monkeypatch.setattr(rendering, "node_document", stuck)
    async with serving(shot(node(whole()))) as served:
        waiting = asyncio.create_task(served.get("/api/v1/node"))
        await asyncio.to_thread(begun.wait, 10)
        assert [(await served.get(path)).status for path in ("/healthz", "/readyz")] == [200, 200]
        goes.set()
        assert (await waiting).status == 200


async def test_a_page_not_made_in_time_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    goes = threading.Event()
    monkeypatch.setattr(rendering, "RENDER_SECONDS", 0.02)
    monkeypatch.setattr(rendering, "node_document", lambda _snapshot: goes.wait(10))
    async with serving(shot(node(whole()))) as served:
        try:
            assert (await served.get("/api/v1/node")).status == 503
        finally:
            goes.set()


async def test_node_is_json() -> None:
    async with serving(shot(node(whole()))) as served:
        answered = await served.get("/api/v1/node")
    assert answered.headers["content-type"] == "application/json"
    assert [device["id"] for device in json.loads(answered.body)["devices"]] == [A]


@pytest.mark.parametrize(
    "path", ["/nothing", "/metrics/", "/METRICS", "/api/v1", "/api/v1/../../metrics", "*"]
)
async def test_paths_that_are_none_are_404(path: str) -> None:
    async with serving(shot(node())) as served:
        assert (await served.get(path)).status == 404


async def test_status_page_leads_to_the_others_and_can_be_switched_off() -> None:
    async with serving(shot(node(whole()))) as served:
        page = (await served.get("/")).body.decode()
        links = {part.split('"')[0] for part in page.split('href="')[1:]} - {f"#gpu-{A}", "#devices"}
        assert links == {"metrics", "api/v1/node", "healthz", "readyz", "page.css", "picture.css", "icon.svg"}
        assert [(await served.get(f"/{link}")).status for link in sorted(links)] == [200] * 7
        assert (await served.get("/page.js")).headers["content-type"] == "text/javascript; charset=utf-8"
    async with serving(shot(node()), status_page=False) as served:
        off = ("/", "/page.css", "/page.js", "/picture.css", "/icon.svg")
        assert [(await served.get(path)).status for path in off] == [404] * 5
        assert (await served.get("/metrics")).status == 200


async def test_status_page_allows_its_own_files_and_no_code_or_style_within() -> None:
    async with serving(shot(node(whole()))) as served:
        policy = (await served.get("/")).headers["content-security-policy"]
    assert policy == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


async def test_who_has_the_page_is_told_that_it_did_not_change() -> None:
    state = node(whole())
    async with serving(shot(state)) as served:
        client = await served.listener.connect()
        tag = (await client.ask("/")).headers["etag"]
        for asks in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = await client.ask("/", headers=f"If-None-Match: {asks}\r\n", method="HEAD")
            assert (again.status, again.headers["etag"]) == (304, tag)
            assert "content-length" not in again.headers
        served.snapshot = shot(replace(state, devices=(replace(whole(), verdict=UNBOUND),)))
        changed = await client.ask("/", headers=f"If-None-Match: {tag}\r\n")
    assert changed.status == 200
    assert changed.headers["etag"] != tag
    assert b"DriverUnbound" in changed.body


@pytest.mark.parametrize(
    "path", ["/metrics", "/healthz", "/readyz", "/api/v1/node", "/", "/page.css", "/nothing"]
)
async def test_head_is_as_get_without_the_body(path: str) -> None:
    async with serving(shot(node(whole()))) as served:
        client = await served.listener.connect()
        head = await client.ask(path, method="HEAD")
        got = await client.ask(path)
    assert (head.status, head.headers["content-type"]) == (got.status, got.headers["content-type"])
    assert head.body == b""
