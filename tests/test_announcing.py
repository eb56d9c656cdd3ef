"""The whole daemon on a simulated node, between a simulated kubelet and an API server over TLS."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from amdgpu_plugin import daemon
from amdgpu_plugin.commands.inputs import simulated_node
from amdgpu_plugin.config import load_config
from amdgpu_plugin.exposition.kubernetes import condition_keeper, service_account
from amdgpu_plugin.health.uevents import SocketUevents
from amdgpu_plugin.lanes import Lanes
from amdgpu_plugin.product_names import ProductNames
from amdgpu_plugin.simulation.kubelet import SimulatedKubelet
from amdgpu_plugin.simulation.kubelet_pod_resources import NAMESPACE
from amdgpu_plugin.simulation.node import SimulatedNode
from amdgpu_plugin.simulation.shapes import parse_shape
from tests.exposition.kubernetes.apiservers import ApiServer, Authority, account, api_server
from tests.exposition.kubernetes.timelines import soon
from tests.test_instruments import samples

GPU = "amd.com/gpu"
A, B = "0000:05:00.0", "0000:27:00.0"
ON = "kubernetes: {events: true, node_condition: true, node_condition_delay: 0}"
NODE, POD = ("Node", "worker-1"), ("Pod", "train")


@dataclass(slots=True)
class World:
    node: SimulatedNode
    kubelet: SimulatedKubelet
    daemon: daemon.Daemon


@pytest.fixture
async def api(
    authority: Authority, account_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ApiServer]:
    """Found as in a pod."""
    monkeypatch.setattr(service_account, "DIRECTORY", str(account(account_folder, authority)))
    monkeypatch.setattr(condition_keeper, "TICK_SECONDS", 0.02)
    async with api_server(authority) as started:
        monkeypatch.setenv("NODE_NAME", "worker-1")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(started.port))
        started.add_pod(f"{NAMESPACE}/train", "uid-1")
        yield started


@asynccontextmanager
async def running(scratch: Path, shape: str, text: str = ON) -> AsyncIterator[World]:
    folders = {name: scratch / name for name in ("p", "r", "s")}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    flags = {
        "--device-plugins-dir": str(folders["p"]),
        "--pod-resources-dir": str(folders["r"]),
        "--state-dir": str(folders["s"]),
        "--health-interval": "1",
        "--health-recovery-hold": "0",
        "--health-read-deadline": "1",
        "--simulate": shape,
    }
    config = load_config(flags, {}, text).config
    async with SimulatedKubelet(str(folders["p"]), pod_resources=str(folders["r"])) as kubelet:
        with simulated_node(str(scratch / "node"), parse_shape(shape)) as source:
            assert source.simulated is not None
            assert source.uevents is not None
            built = await daemon.build(
                config,
                sysfs=source.sysfs,
                lanes=Lanes(),
                names=ProductNames(amdgpu_ids="/dev/null", pci_ids="/dev/null"),
                simulated=source.simulated,
                listener=SocketUevents(source.uevents),
            )
            stop = asyncio.Event()
            task = asyncio.create_task(built.run(stop))
            try:
                yield World(source.simulated, kubelet, built)
            finally:
                stop.set()
                assert await task == 0


async def test_node_and_holder_get_just_the_events_of_a_fault_and_its_end(
    scratch: Path, api: ApiServer
) -> None:
    async with running(scratch, "mi300x:2") as world:
        await world.kubelet.sees(GPU, healthy=2)
        allocated = await world.kubelet.allocate(GPU, 1, pod="train")
        (held,) = allocated.device_ids
        other = B if held == A else A
        async for state in world.daemon.node.follow():
            if state.holders:
                break
        world.node.unbind(held)
        await api.until(lambda: len(api.events) == 2)
        world.node.unbind(other)
        await api.until(lambda: len(api.events) == 3)
        world.node.bind(held)
        await api.until(lambda: len(api.events) == 5)
        sent = world.daemon.instruments.kubernetes_events.labels("sent")
        await soon(lambda: sent._value.get() == 5)
        counted = samples(world.daemon.instruments, "amdgpu_plugin_kubernetes_events")
    assert api.told() == [
        (*NODE, "DriverUnbound"),
        (*POD, "DriverUnbound"),
        (*NODE, "DriverUnbound"),
        (*NODE, "DriverUnboundCleared"),
        (*POD, "DriverUnboundCleared"),
    ]
    told = [event["message"] for event in api.events] + [
        condition["message"]
        for asked in api.asked
        if asked.path.endswith("/status")
        for condition in asked.json.get("status", {}).get("conditions", ())
    ]
    assert len(told) > len(api.events)
    assert all(message.startswith("Simulated: ") for message in told)
    assert [held in event["message"] for event in api.events] == [True, True, False, True, True]
    assert counted == {
        ("kubernetes_events_total", "sent"): 5.0,
        ("kubernetes_events_total", "failed"): 0.0,
        ("kubernetes_events_total", "held_back"): 0.0,
        ("kubernetes_events_total", "dropped"): 0.0,
    }


async def test_partitioned_gpu_is_one_event_and_the_condition_follows(scratch: Path, api: ApiServer) -> None:
    async with running(scratch, "mi300x-cpx:1") as world:
        await world.kubelet.sees(GPU, healthy=8)
        world.node.unbind(A)
        await api.until(lambda: api.conditions.get("AMDGPUUnhealthy", {}).get("status") == "True")
        await api.until(lambda: api.events)
    assert api.told() == [(*NODE, "DriverUnbound")]
    assert f"{A}-cpx0" in api.events[0]["message"]
    assert api.conditions["AMDGPUUnhealthy"]["reason"] == "DriverUnbound"


async def test_another_daemon_of_this_boot_tells_nothing_twice(scratch: Path, api: ApiServer) -> None:
    async with running(scratch, "mi300x:2") as world:
        await world.kubelet.sees(GPU, healthy=2)
        world.node.wedge(A)
        await api.until(lambda: len(api.events) == 1)
        await soon((scratch / "s" / "events.json").exists)
    (scratch / "node").rename(scratch / "before")
    async with running(scratch, "mi300x:2") as world:
        await world.kubelet.sees(GPU, healthy=1)
        world.node.wedge(B)
        await api.until(lambda: len(api.events) == 2)
    assert [B in event["message"] for event in api.events] == [False, True]


async def test_off_there_is_nothing_of_it(scratch: Path, api: ApiServer) -> None:
    async with running(scratch, "mi300x:1", "") as world:
        await world.kubelet.sees(GPU, healthy=1)
        assert set(world.daemon.edges) == {"pod-resources", "state", "control"}
        assert samples(world.daemon.instruments, "amdgpu_plugin_kubernetes") == {}
    assert api.asked == []


def test_off_nothing_of_it_is_loaded() -> None:
    words = "import sys, amdgpu_plugin.cli, amdgpu_plugin.daemon; print([m for m in sys.modules if 'exposition.kubernetes' in m])"
    printed = subprocess.run([sys.executable, "-c", words], capture_output=True, check=True, text=True)
    assert printed.stdout == "[]\n"


async def test_without_a_name_it_is_said_and_gpus_are_served(
    scratch: Path, api: ApiServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("NODE_NAME")
    async with running(scratch, "mi300x:1") as world:
        await world.kubelet.sees(GPU, healthy=1)
        counted = samples(world.daemon.instruments, "amdgpu_plugin_kubernetes_errors")
    said = [getattr(record, "fields", {}) for record in caplog.records if "not told" in record.getMessage()]
    assert said == [
        {"error": "NODE_NAME is not set", "remedy": "set it from spec.nodeName, as the chart does"}
    ]
    assert counted["kubernetes_errors_total", "not_in_cluster"] == 1.0
    assert api.asked == []


@pytest.mark.parametrize(
    "name", ["\udcff", "../worker-1", "worker 1", "worker-1\n", "Worker", "w" * 254, "-"]
)
async def test_name_that_no_node_can_have_is_said_and_not_asked_for(
    name: str,
    scratch: Path,
    api: ApiServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("NODE_NAME", name)
    async with running(scratch, "mi300x:1") as world:
        world.node.wedge(A)
        await world.kubelet.sees_unhealthy(A)
    said = [getattr(record, "fields", {}) for record in caplog.records if "not told" in record.getMessage()]
    assert [each["error"] for each in said] == [f"NODE_NAME is no node's name: {name[:253]!r}"]
    assert api.asked == []
