"""A real Prometheus, fed by simulated nodes with pods and faults, answers each query of the chart's dashboards."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError

import pytest

from amdgpu_plugin.control import ask
from amdgpu_plugin.simulation.kubelet import SimulatedKubelet
from amdgpu_plugin.simulation.node import SimulatedNode
from e2e import podmonitor, prometheus
from e2e.prometheus import Prometheus
from tests.monitoring.generate import FOLDER
from tests.monitoring.grafana import ALL, Asked, Json, asked, panels, put_in, variables
from tests.monitoring.test_prometheus import chart, free_port, pod_of
from tests.processes import Running, run

BOARDS: dict[str, Json] = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}


@dataclass(frozen=True, slots=True)
class Node:
    """A simulated node: how many devices it has, who gets how many of them, and faults by device.

    `aside`: its tree is made beside the daemon, which takes it for real.
    """

    name: str
    shape: str
    devices: int
    pods: Mapping[str, int]
    faults: tuple[tuple[str, str], ...]
    settings: str = ""
    aside: bool = False


A, B, C = "0000:05:00.0", "0000:27:00.0", "0000:47:00.0"
RADEON = "0000:03:00.0"
NODES = (
    Node(
        "n1",
        "mi300x:3",
        3,
        {"train": 2},
        (
            (A, "Overheated"),
            (A, "UncorrectableErrors"),
            (A, "Throttled"),
            (A, "LinkDegraded"),
            (C, "BusError"),
            (B, "unbind"),
        ),
        "devices: {expect: 4}\nkubernetes: {events: true}",
    ),
    Node(
        "n2",
        "mi300x-cpx:1",
        8,
        {"few": 3, "one": 1},
        ((A, "CorrectableErrors"), (A, "PendingPages"), (A, "Wedged")),
    ),
    Node("n3", "radeon:1", 1, {}, (), "health: {mode: observe}", aside=True),
)
IN_FORCE = {
    *("Overheated", "UncorrectableErrors", "Throttled", "LinkDegraded", "BusError", "DriverUnbound"),
    *("CorrectableErrors", "PendingPages", "Wedged", "Hot"),
}
# n1 lacks one board and has lost another; n3 only observes, so its board is healthy; n4 is silent.
FLEET = {
    "Nodes": 3,
    "GPUs": 4,
    "Missing GPUs": 2,
    "Healthy devices": 1,
    "Allocated devices": 6,
    "Unhealthy devices": 11,
    "Unhealthy, in use": 6,
    "Silent nodes": 1,
}
FIRST = {
    "GPUs": 2,
    "Missing GPUs": 2,
    "Healthy devices": 0,
    "Allocated devices": 2,
    "Unhealthy devices": 3,
    "Unhealthy, in use": 2,
    "Registered": 1,
}
PARTITIONED = {"Health": 0, "Holders": 4}
GONE = Node("n4", "apu:1", 1, {}, ())
"""Its daemon ends: what it told is seen in the past only."""
THROTTLED_BY = slice(116, 117)
"""Bits 32 to 39 of the causes in gpu_metrics 1.3, which are thermal."""
WITHIN_S = 25.0
RATE_INTERVAL = "5s"
SHOWN_S, STEP = 60.0, "1s"


@asynccontextmanager
async def simulated(node: Node, folder: Path, port: int) -> AsyncIterator[tuple[SimulatedKubelet, Running]]:
    plugins, pods, state = folder / "p", folder / "r", folder / "s"
    config = folder / "c.yaml"
    config.write_text(node.settings or "{}")
    tree = ("--sysfs-root", hot_and_throttled(folder)) if node.aside else ("--simulate", node.shape)
    options = ("--device-plugins-dir", plugins, "--pod-resources-dir", pods, "--state-dir", state)
    more = ("--config", config, "--health-interval", "1", *tree)
    async with (
        SimulatedKubelet(str(plugins), pod_resources=str(pods)) as kubelet,
        run(*map(str, (*options, *more)), "--http-address", f"127.0.0.1:{port}") as daemon,
    ):
        yield kubelet, daemon


def hot_and_throttled(folder: Path) -> str:
    """A tree of a board that shuts down soon, and that tells what holds its clocks down by bits."""
    node = SimulatedNode.create(folder / "t", "radeon:1")
    node.heat(RADEON, "junction", node.limits["junction"]["emergency"] + 1)
    metrics = Path(node.path_of(RADEON)) / "gpu_metrics"
    told = bytearray(metrics.read_bytes())
    told[THROTTLED_BY] = bytes([1 << 2])
    metrics.write_bytes(told)
    return node.root


async def allocate(kubelet: SimulatedKubelet, node: Node) -> None:
    for pod, size in node.pods.items():
        await kubelet.allocate("amd.com/gpu", size, pod=pod)


async def go_wrong(node: Node, folder: Path) -> None:
    for device, what in node.faults:
        await inject(node.name, folder.parent, device, what)


async def inject(node: str, scratch: Path, device: str, what: str) -> None:
    request = {"verb": "inject", "device": device, "what": what, "seconds": None}
    await asyncio.to_thread(ask, str(scratch / node / "s"), request)


def selections(name: str, prom: Prometheus) -> Iterator[list[dict[str, str]]]:
    """Lists of what is chosen: each query is to find data in one of each list."""
    nodes = prom.label_values("node", "amdgpu_gpu_info")
    boards = [
        {"cluster": ALL, "node": node, "gpu": gpu, "namespace": ALL}
        for node in nodes
        for gpu in prom.label_values("gpu", f'amdgpu_gpu_info{{node="{node}"}}')
    ]
    if name == "fleet":
        yield [{"cluster": ALL, "node": ALL, "namespace": ALL}]
        yield [{"cluster": ALL, "node": node, "namespace": "default"} for node in nodes]
        return
    if name == "node":
        yield [{"cluster": ALL, "node": node, "gpu": ALL, "namespace": ALL} for node in nodes]
        boards = [board | {"namespace": "default"} for board in boards]
    yield boards


def has_data(prom: Prometheus, query: str, *, now: bool) -> bool:
    try:
        if now:
            values = [each["value"][1] for each in prom.query(query)]
        else:
            found = prom.query_range(query, seconds=SHOWN_S, step=STEP)
            values = [value for each in found for _, value in each["values"]]
    except HTTPError as error:
        error.add_note(f"{query}\n{error.read().decode()}")
        raise
    return any(not math.isnan(float(value)) for value in values)


def without_data(prom: Prometheus, pending: Sequence[tuple[str, Asked, int]]) -> list[tuple[str, Asked, int]]:
    """Those that find nothing in any selection of their list."""
    chosen = {name: list(selections(name, prom)) for name in BOARDS}
    return [
        (name, each, which)
        for name, each, which in pending
        if not any(
            has_data(prom, put_in(each.expr, BOARDS[name], choice, rate_interval=RATE_INTERVAL), now=each.now)
            for choice in chosen[name][which]
        )
    ]


async def all_find(prom: Prometheus) -> None:
    """Returns when all have found data in each list of selections, though not all at once."""
    lists = {"fleet": 2, "node": 2, "gpu": 1}
    pending = [
        (name, each, which)
        for name, board in BOARDS.items()
        for each in asked(board)
        for which in range(lists[name])
    ]

    def left(_: Prometheus) -> list[str]:
        pending[:] = without_data(prom, pending)
        return [f"{name}: {each.where} (selection {which})" for name, each, which in pending]

    await asyncio.to_thread(prom.until, left, lambda found: found == [], within_s=WITHIN_S)


def told(prom: Prometheus, name: str, **chosen: str) -> dict[str, float]:
    """What the first row's numbers are, by title."""
    every = dict.fromkeys(variables(BOARDS[name]), ALL)
    found: dict[str, float] = {}
    for panel in panels(BOARDS[name]):
        if panel["type"] == "stat" and panel["gridPos"]["y"] == 1:
            target = panel["targets"][0]
            query = put_in(target["expr"], BOARDS[name], every | chosen, rate_interval=RATE_INTERVAL)
            for each in prom.query(query):
                found[panel["title"]] = float(each["value"][1])
    return found


@pytest.mark.timeout(150)
@pytest.mark.skipif(
    prometheus.program() is None,
    reason="prometheus is not installed here; on Debian: apt-get install prometheus",
)
async def test_every_query_finds_data_on_simulated_nodes_with_faults(scratch: Path) -> None:
    objects, rules, found = chart(), scratch / "rules.yaml", scratch / "targets.json"
    rules.write_text("groups: []")
    ports = {node.name: free_port() for node in (*NODES, GONE)}
    pods = [pod_of(objects, port, node=name) for name, port in ports.items()]
    # As during a rollout with a surge: two pods tell of one node. No board is counted twice, no join fails.
    pods.append(pods[0] | {"status": pods[0]["status"] | {"podIP": "localhost"}})
    found.write_text(json.dumps(podmonitor.targets(pods)))
    job = podmonitor.scrape_job(objects["PodMonitor"], str(found))
    async with AsyncExitStack() as stack:
        scraping = stack.enter_context(prometheus.running(scratch, [job], rules))
        kubelets = {}
        for node in (*NODES, GONE):
            (scratch / node.name).mkdir()
            starting = simulated(node, scratch / node.name, ports[node.name])
            kubelets[node.name], last = await stack.enter_async_context(starting)
        for node in NODES:
            await kubelets[node.name].sees("amd.com/gpu", healthy=node.devices, within=WITHIN_S)
        await comes(scraping, "amdgpu_plugin_gpus", "node", set(ports))
        await comes(scraping, "amdgpu_vcn_busy_ratio", "node", {GONE.name})
        assert await last.stop() == 0
        for node in NODES:
            await allocate(kubelets[node.name], node)
            await go_wrong(node, scratch / node.name)
        await comes(scraping, "amdgpu_gpu_condition == 1", "condition", IN_FORCE)
        await flap(scraping, scratch)
        # from here on nothing new is told of n2's board and of n3's kubelet
        await inject("n2", scratch, A, "Unresponsive")
        await kubelets["n3"].stop()
        await all_find(scraping)
        await settles(scraping, "fleet", FLEET)
        await settles(scraping, "node", FIRST, node="n1")
        await settles(scraping, "gpu", PARTITIONED, node="n2", gpu=A)
        theirs, boards = await asyncio.to_thread(
            scraping.until, power, lambda found: len(found) == 2, within_s=WITHIN_S
        )
        assert theirs == pytest.approx(boards)


def power(prom: Prometheus) -> list[float]:
    """Of the namespace that holds everything that is held; and of the boards that are held, each once."""
    (panel,) = (each for each in panels(BOARDS["fleet"]) if each["title"] == "Namespaces")
    (expr,) = (each["expr"] for each in panel["targets"] if "power" in each["expr"])
    every = dict.fromkeys(variables(BOARDS["fleet"]), ALL)
    query = put_in(expr, BOARDS["fleet"], every, rate_interval=RATE_INTERVAL)
    boards = "max by (node, gpu) (amdgpu_power_watts) and on (node, gpu) amdgpu_device_allocated"
    return [
        float(each["value"][1]) for asked_for in (query, f"sum({boards})") for each in prom.query(asked_for)
    ]


async def settles(prom: Prometheus, name: str, wanted: Mapping[str, float], **chosen: str) -> None:
    """Returns when these numbers are as wanted: on a loaded machine a scrape may fail now and then."""
    await asyncio.to_thread(
        prom.until,
        lambda each: {title: told(each, name, **chosen).get(title) for title in wanted},
        lambda found: found == wanted,
        within_s=WITHIN_S,
    )


async def flap(prom: Prometheus, scratch: Path) -> None:
    """The trouble of n1's second board goes, is held, and comes back."""
    for _ in range(20):
        await inject("n1", scratch, B, "bind")
        await comes(prom, 'amdgpu_plugin_gpus{node="n1"} == 3', "node", {"n1"})
        await inject("n1", scratch, B, "unbind")
        await comes(prom, 'amdgpu_plugin_gpus{node="n1"} == 2', "node", {"n1"})
        if prom.query("amdgpu_health_flaps_total > 0"):
            return
    raise AssertionError("never counted")


async def comes(prom: Prometheus, query: str, label: str, wanted: set[str]) -> None:
    """Returns when what the query finds has at least these values of the label."""
    await asyncio.to_thread(
        prom.until,
        lambda each: {found["metric"][label] for found in each.query(query)},
        lambda found: found >= wanted,
        within_s=WITHIN_S,
    )
